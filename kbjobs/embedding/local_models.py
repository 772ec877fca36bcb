"""The local models on this machine: in packages, in the home and in the Hugging Face cache. Cheap to import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kbjobs.embedding.hub_cache import hub_cache_dir
from kbjobs.embedding.model_catalogue import KNOWN_MODELS, find_known, package_folder

MODULES = "modules.json"  # marks a folder as a model of sentence-transformers


def list_present(models_dir: Path) -> list[str]:
    """List the names of all models here, whole or not, each once; the known ones come first."""
    found = dict.fromkeys(model.name for model in KNOWN_MODELS if model.package and package_folder(model.package))
    for name in (*_names_below(models_dir), *_names_in_cache()):
        known = find_known(name)
        found.setdefault(known.name if known else name)
    order = [model.name for model in KNOWN_MODELS]
    return sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))


def format_place(path: Path, models_dir: Path) -> str:
    """Name the place of a model's folder: "home", "hub cache" or "package"."""
    if path.is_relative_to(models_dir):
        return "home"
    return "hub cache" if path.is_relative_to(hub_cache_dir()) else "package"


def folder_size(path: Path) -> int:
    """Sum the bytes of the files in a folder, including the targets of links."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _names_below(models_dir: Path) -> Iterator[str]:
    for folder in sorted(_folders(models_dir)):
        if (folder / MODULES).is_file():
            yield folder.name
        else:
            yield from (f"{folder.name}/{inner.name}" for inner in sorted(_folders(folder)) if _is_model(inner))


def _names_in_cache() -> Iterator[str]:
    """Yield the cached models that have a snapshot which may be of sentence-transformers."""
    for repository in sorted(_folders(hub_cache_dir())):
        kind, _, name = repository.name.partition("--")
        if kind == "models" and name and any(map(_is_model, _folders(repository / "snapshots"))):
            yield name.replace("--", "/", 1)


def _is_model(folder: Path) -> bool:
    return (folder / MODULES).is_file()


def _folders(path: Path) -> list[Path]:
    try:
        return [folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    except OSError:
        return []
