"""Choose the files of a model's revision: never pickled weights, since loading them runs code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from kbjobs.downloads.hub import HubFile, HubModel
from kbjobs.embedding.engines import has_torch, suggest_install, why_not_built
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.errors import DownloadError, MissingRequirementError

MODULES = "modules.json"
ONNX = "onnx/model.onnx"
_MAX_SMALL = 64 * 1024 * 1024  # bytes; tokenizers for many languages have 17 MB
_TOP = (MODULES, "config_sentence_transformers.json")
_OF_TRANSFORMER = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    *(
        f"sentence_{kind}_config.json"
        for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    ),
)


def choose_small(model: HubModel, files: Mapping[str, HubFile], modules_file: Path) -> list[HubFile]:
    """Choose the files that describe the model: configuration and tokenizer.

    Args:
        model: the model on the hub.
        files: all of its files.
        modules_file: its ``modules.json``, which was fetched already.
    Raises:
        DownloadError: kbjobs cannot read such a model.
    """
    wanted = [*_TOP]
    for number, (kind, folder) in enumerate(_read_modules(model, modules_file)):
        names = _OF_TRANSFORMER if number == 0 or kind == "Transformer" else ("config.json",)
        wanted += [f"{folder}/{name}" if folder else name for name in names]
    chosen = [files[name] for name in dict.fromkeys(wanted) if name in files]
    large = [file.path for file in chosen if file.size > _MAX_SMALL]
    if large:
        raise DownloadError(
            f"{large[0]} of {model.hub_id} has more than {_MAX_SMALL / 1e6:,.0f} MB, too large for such a file",
            "Name another --revision, or another model.",
        )
    return chosen


def choose_weights(model: HubModel, files: Mapping[str, HubFile], folder: ModelFolder) -> list[HubFile]:
    """Choose the files of weights: ONNX if a light engine can run it, so that torch is not needed; else safetensors.

    Args:
        model: the model on the hub.
        files: all of its files.
        folder: the model as its small files describe it.
    Raises:
        DownloadError: it has weights only in other formats.
        MissingRequirementError: no installed engine could run it; the hint names the extra.
    """
    below = folder.tokenizer_file.parent.relative_to(folder.path).as_posix()
    start = "" if below == "." else f"{below}/"
    onnx = next((name for name in (ONNX, f"{start}{ONNX}") if name in files), None)
    if folder.is_plain and onnx is not None:
        return [files[name] for name in (onnx, f"{onnx}_data") if name in files]
    needed = [f"{start}model.safetensors"]
    if needed[0] not in files:
        raise DownloadError(
            f"{model.hub_id} has neither {needed[0]} nor {ONNX}, and other formats are refused: pickled weights run"
            " code when they are loaded",
            "Name a --revision that has one of them, or another model.",
        )
    if not has_torch() and (reason := why_not_built(folder, has_weights=False)):
        raise MissingRequirementError(
            f"no engine that is installed could run {model.hub_id}, which ships no ONNX file: {reason}"
            if folder.is_plain
            else f"{model.hub_id} needs torch: only sentence-transformers can run it",
            suggest_install(reason),
        )
    modules = (name for name in files if name.endswith("/model.safetensors") and not name.startswith("onnx/"))
    others = [name for name in modules if folder.other_modules and name.count("/") == 1 and name != needed[0]]
    return [files[name] for name in (*needed, *others)]


def find_safetensors(files: Mapping[str, HubFile], folder: ModelFolder) -> HubFile | None:
    """Find the same weights as safetensors; None if the revision lacks them."""
    below = folder.tokenizer_file.parent.relative_to(folder.path).as_posix()
    return files.get("model.safetensors" if below == "." else f"{below}/model.safetensors")


def _read_modules(model: HubModel, file: Path) -> list[tuple[str, str]]:
    """Read the kind and the folder of each module."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return [(str(one["type"]).rpartition(".")[2], str(one["path"]).strip("/")) for one in content]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DownloadError(f"{MODULES} of {model.hub_id} cannot be read", "Name another revision or model.") from error
