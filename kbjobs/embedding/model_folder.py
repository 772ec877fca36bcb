"""Read a model's folder on disk.

The layout is sentence-transformers' own: ``modules.json`` lists the steps, the first is the transformer, the second
the pooling (https://sbert.net/docs/package_reference/sentence_transformer/models.html). Only the standard library is
used, so that a submit can check a model without waiting.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbjobs.embedding.model_note import ModelNote, read_note
from kbjobs.embedding.safetensors_file import DamagedWeightsError, read_header
from kbjobs.embedding.variants import split_variant
from kbjobs.errors import MissingRequirementError

# The names that sentence-transformers itself looks for, in its order.
_WINDOW_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Families whose positions are counted from the padding token's id + 1.
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "longformer"})
_LIGHT_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})


@dataclass(frozen=True)
class ModelFolder:
    """A complete model on disk, as its configuration files describe it."""

    name: str
    """As in the catalogue, ``organisation/name``, or the folder's own name."""
    path: Path
    dimension: int
    max_tokens: int
    """The window, special tokens included."""
    pooling: str = "mean"
    """``mean``, ``cls``, or another that only sentence-transformers supports."""
    normalises: bool = True
    """Whether the model itself returns unit length (vectors are scaled to it in any case)."""
    query_prompt: str = ""
    passage_prompt: str = ""
    lowers_case: bool = False
    """Whether texts are lower-cased before the tokenizer."""
    pad_token_id: int = 0
    tokenizer_file: Path = Path()
    weights: Path = Path()
    """The file whose sha256 is the model's identity."""
    onnx: Path | None = None
    other_modules: tuple[str, ...] = ()
    """Steps beyond transformer, pooling and normalisation."""
    variant: str = ""
    """What the key of its vectors has in addition to the weights; see :mod:`kbjobs.embedding.identity`."""
    note: ModelNote | None = None
    """The note of a model that kbjobs downloaded."""
    is_int8: bool = False
    """Whether it is run with its matrices in eight bits; see :mod:`kbjobs.embedding.variants`."""

    @property
    def has_safetensors(self) -> bool:
        """Whether sentence-transformers can load it."""
        return self.weights.suffix == ".safetensors"

    @property
    def exact_name(self) -> str:
        """The name without that of a variant."""
        return split_variant(self.name)[0]

    @property
    def slug(self) -> str:
        """The exact model's name in a form for file names; only the last part of a path."""
        name = self.exact_name
        name = name.rpartition("/")[2] if name.startswith("/") else name.replace("/", "--")
        return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "model"

    @property
    def is_plain(self) -> bool:
        """Whether a light engine can run it: only a transformer with mean or cls pooling."""
        return not self.other_modules and self.pooling in {"mean", "cls"}


def read_model_folder(
    name: str, path: Path, remedy: str, prompts: tuple[str, str] = ("", ""), *, has_weights: bool = True
) -> ModelFolder:
    """Read the configuration of the model in ``path``.

    Args:
        name: the model's name.
        path: its folder.
        remedy: what a person can do if a file is missing; becomes the error's hint.
        prompts: prompts of query and passage, used if the folder itself names none.
        has_weights: whether its weights must be there.

    Raises:
        MissingRequirementError: a file is missing, torn or cannot be understood.
    """
    reader = _Reader(path, remedy)
    transformer_dir, pooling_dir, normalises, others = _read_modules(reader)
    reader.need(transformer_dir / "config.json")
    config = reader.read(transformer_dir / "config.json")
    reader.need(transformer_dir / "tokenizer.json")
    pooling, includes_prompt, dimension = _read_pooling(reader, pooling_dir, config)
    window, lowers_case = _read_window(reader, transformer_dir, config)
    onnx = next(
        (file for file in (path / "onnx/model.onnx", transformer_dir / "onnx/model.onnx") if file.is_file()),
        None,
    )
    safetensors = transformer_dir / "model.safetensors"
    if safetensors.is_file():
        _check_safetensors(reader, safetensors)
    elif onnx is None and has_weights:
        reader.need(safetensors, " (nor onnx/model.onnx)")
    own_prompts = _choose_prompts(reader.read_if_there(path / "config_sentence_transformers.json"))
    query_prompt, passage_prompt = own_prompts if any(own_prompts) else prompts
    note = read_note(path)
    variants = [note.variant] if note is not None and note.variant else []
    if passage_prompt and not any(own_prompts):
        variants.append(f"p{hashlib.sha256(passage_prompt.encode()).hexdigest()[:8]}")  # older versions had none
    if not includes_prompt and (query_prompt or passage_prompt):
        others = (*others, "Pooling without prompt")
    return ModelFolder(
        name=name,
        path=path,
        dimension=dimension,
        max_tokens=window,
        pooling=pooling,
        normalises=normalises,
        query_prompt=query_prompt,
        passage_prompt=passage_prompt,
        lowers_case=lowers_case,
        pad_token_id=int(config.get("pad_token_id") or 0),
        tokenizer_file=transformer_dir / "tokenizer.json",
        weights=safetensors if safetensors.is_file() else onnx or safetensors,
        onnx=onnx,
        other_modules=others,
        variant="-".join(variants),
        note=note,
    )


class _Reader:
    """Reads JSON files of a folder; every error names the file and the remedy."""

    def __init__(self, path: Path, remedy: str) -> None:
        self.path = path
        self.remedy = remedy

    def need(self, file: Path, addition: str = "") -> None:
        if not file.is_file():
            raise MissingRequirementError(
                f"the model folder {self.path} has no {self._short(file)}{addition}", self.remedy
            )

    def complain(self, file: Path, reason: str) -> MissingRequirementError:
        return MissingRequirementError(f"{self._short(file)} in the model folder {self.path} {reason}", self.remedy)

    def read(self, file: Path) -> dict[str, Any]:
        content = self.read_any(file)
        if not isinstance(content, dict):
            raise self.complain(file, "is not a JSON object")
        return content

    def read_any(self, file: Path) -> Any:
        self.need(file)
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self.complain(file, f"cannot be read: {error}") from error

    def read_if_there(self, file: Path) -> dict[str, Any]:
        return self.read(file) if file.is_file() else {}

    def _short(self, file: Path) -> str:
        return str(file.relative_to(self.path)) if file.is_relative_to(self.path) else str(file)


def _read_modules(reader: _Reader) -> tuple[Path, Path, bool, tuple[str, ...]]:
    """Return the folders of transformer and pooling, whether the model normalises, and the names of unknown steps."""
    file = reader.path / "modules.json"
    modules = reader.read_any(file)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise reader.complain(file, "is not a list of modules")
    kinds: dict[str, Path] = {}
    others = []
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind in _LIGHT_MODULES and kind not in kinds:
            folder = (reader.path / str(module.get("path", ""))).resolve()
            if not folder.is_relative_to(reader.path.resolve()):
                raise reader.complain(file, f"names a folder outside: {module.get('path')}")
            kinds[kind] = reader.path / str(module.get("path", ""))
        else:
            others.append(kind or "unnamed")
    for kind in ("Transformer", "Pooling"):
        if kind not in kinds and not others:
            raise reader.complain(file, f"lists no {kind}")
    pooling = kinds.get("Pooling", reader.path / "1_Pooling")
    return kinds.get("Transformer", reader.path), pooling, "Normalize" in kinds, tuple(others)


def _read_pooling(reader: _Reader, folder: Path, config: dict[str, Any]) -> tuple[str, bool, int]:
    """Return the pooling, whether it includes the prompt's tokens, and the dimension."""
    file = folder / "config.json"
    content = reader.read(file)
    mode = content.get("pooling_mode")
    if mode is None:
        mode = [name for key, name in _OLD_POOLINGS.items() if content.get(key)] or ["mean"]
    modes = [mode] if isinstance(mode, str) else list(mode)
    width = content.get("embedding_dimension") or content.get("word_embedding_dimension")
    width = width or config.get("hidden_size") or config.get("dim")
    if not isinstance(width, int) or width < 1:
        raise reader.complain(file, "does not tell the dimension")
    return "+".join(modes), bool(content.get("include_prompt", True)), width * len(modes)


def _read_window(reader: _Reader, folder: Path, config: dict[str, Any]) -> tuple[int, bool]:
    """Return the window and whether texts are lower-cased first."""
    settings: dict[str, Any] = {}
    for name in _WINDOW_FILES:
        settings = reader.read_if_there(folder / name)
        if settings:
            break
    limits = []
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and positions > 0:
        if config.get("model_type") in _OFFSET_POSITIONS:
            positions -= int(config.get("pad_token_id") or 0) + 1
        limits.append(positions)
    # An explicit window takes precedence over the tokenizer's (all-MiniLM-L6-v2: 256 against 512).
    window = settings.get("max_seq_length")
    if window is None:
        window = reader.read_if_there(folder / "tokenizer_config.json").get("model_max_length")
    if isinstance(window, int | float) and 2 < window < 1e9:
        limits.append(int(window))
    if not limits:
        raise reader.complain(folder / "config.json", "does not tell how many tokens the model reads")
    return min(limits), bool(settings.get("do_lower_case", False))


def _choose_prompts(content: dict[str, Any]) -> tuple[str, str]:
    """Return the prompts of query and passage, chosen as encode_query and encode_document do."""
    prompts = content.get("prompts")
    if not isinstance(prompts, dict):
        return "", ""
    default = prompts.get(content.get("default_prompt_name") or "") or ""
    query = prompts.get("query")
    passage = next((prompts[key] for key in ("document", "passage", "corpus") if prompts.get(key) is not None), None)
    return str(default if query is None else query), str(default if passage is None else passage)


def _check_safetensors(reader: _Reader, file: Path) -> None:
    """Refuse a torn weights file, whose length does not match its header."""
    try:
        read_header(file)
    except (OSError, DamagedWeightsError) as error:
        raise reader.complain(file, f"is damaged: {error}") from error
