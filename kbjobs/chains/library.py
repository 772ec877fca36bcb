"""Find chain files: by a path, in the home, or among the built-in ones."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal, NamedTuple

from kbjobs.config.home import Home
from kbjobs.errors import NotFoundError

TEMPLATES = Path(__file__).with_name("templates")
SUFFIX = ".toml"

WITHOUT_KEY = {"generate_source": "generate_offline"}
"""Built-in chains that need a key, each with the one that does the same without the paid phases."""

Origin = Literal["home", "built-in"]


class ListedChain(NamedTuple):
    """A chain that can be run by its name."""

    name: str
    origin: Origin
    path: Path


def built_in_names() -> tuple[str, ...]:
    """The names of the chains that come with kbjobs."""
    return tuple(sorted(path.stem for path in TEMPLATES.glob(f"*{SUFFIX}")))


def find_built_in(name: str) -> Path:
    """The file of a built-in chain."""
    return TEMPLATES / f"{name}{SUFFIX}"


def list_chain_files(home: Home) -> list[ListedChain]:
    """List the chain files of the home and the built-in ones, by name.

    The home's chain hides a built-in one of the same name. No file is read, so a broken one is listed too.
    """
    found = {path.stem: ListedChain(path.stem, "built-in", path) for path in TEMPLATES.glob(f"*{SUFFIX}")}
    folder = home.chains
    if folder.is_dir():
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            if path.is_file():
                name = _plain(path.stem)
                found[name] = ListedChain(name, "home", path)
    return sorted(found.values())


def find_chain_file(home: Home, name_or_path: str) -> Path:
    """Find a chain's file: at that path, or else by name in the home, or else a built-in one.

    The name may have dashes or underscores, and may end in .toml. Raises NotFoundError.
    """
    path = Path(name_or_path)
    looks_like_path = "/" in name_or_path
    if (looks_like_path or path.suffix == SUFFIX) and _is_there(path):
        return path
    if not looks_like_path:
        wanted = _plain(name_or_path.removesuffix(SUFFIX))
        for listed in list_chain_files(home):
            if listed.name == wanted:
                return listed.path
        if path.suffix != SUFFIX and _is_there(path):
            return path
    raise NotFoundError(f"there is no chain {name_or_path!r}", _near(home, path))


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _is_there(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # a name that is too long or invalid
        return False


def _near(home: Home, path: Path) -> str:
    from difflib import get_close_matches

    if path.parent != Path():
        try:
            files = [entry.name for entry in path.parent.iterdir() if entry.suffix == SUFFIX]
        except OSError:
            return f"{path.parent} is not a folder that can be read."
        near = get_close_matches(path.name, files, 1)
        return f"Did you mean {path.parent / near[0]}?" if near else "See kbjobs chains list."
    known = [listed.name.replace("_", "-") for listed in list_chain_files(home)]
    with contextlib.suppress(OSError):
        known += [entry.name for entry in Path().iterdir() if entry.suffix == SUFFIX]
    near = get_close_matches(path.name.replace("_", "-"), known, 1)
    return (f"Did you mean {near[0]}? " if near else "") + "kbjobs chains list shows them."
