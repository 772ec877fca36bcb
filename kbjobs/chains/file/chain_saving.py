"""Chain files of the home: written whole or not at all, and never over somebody else's change."""

from __future__ import annotations

import hashlib
from pathlib import Path

from filelock import FileLock

from kbjobs.chains.file.chain_building import is_name
from kbjobs.chains.file.chain_reading import parse_chain
from kbjobs.chains.file.model import NAME_EXPECTED
from kbjobs.chains.library import SUFFIX
from kbjobs.config.home import Home
from kbjobs.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from kbjobs.phases.registry import is_taken
from kbjobs.system.files import write_text


def version_of(text: str | bytes) -> str:
    """Fingerprint the text of a chain file, to tell whether it has changed."""
    raw = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    return hashlib.sha256(raw).hexdigest()[:16]


def save_chain(home: Home, name: str, text: str, before: str | None) -> Path:
    """Write a chain file into chains/ of the home, and return its path.

    Args:
        home: the home.
        name: the chain's name, which the file is named after.
        text: the file's new text.
        before: the :func:`version_of` the text that the file has now; None if there must be no file.

    Raises:
        UsageError: the name is not valid for a chain, or the text is not a chain.
        ConflictError: the file does not hold the text of ``before``.
        UnavailableError: the file cannot be written.
    """
    path = _path_of(home, name)
    if is_taken(path.stem):
        raise UsageError(f"{name!r} is the name of a job type", "Choose another name for the chain.")
    chain = parse_chain(text, path.name, path.stem)
    if chain.name != path.stem:
        raise UsageError(f"the text calls the chain {chain.name!r}, not {name!r}", f'Write name = "{path.stem}".')
    home.prepare()
    with FileLock(home.chains_lock, mode=0o600):
        now = _read(path)
        if (None if now is None else version_of(now)) != before:
            raise ConflictError(
                f"{path.name} was changed by someone else and is not overwritten"
                if now is not None
                else f"{path.name} no longer exists",
                "Open it again, or save under another name.",
            )
        try:
            write_text(path, text)
        except OSError as error:
            raise UnavailableError(f"{path} cannot be written: {error.strerror}", "Free some space.") from error
    return path


def delete_chain(home: Home, name: str) -> None:
    """Delete a chain file of the home. Raises NotFoundError, also for a built-in chain."""
    path = _path_of(home, name)
    try:
        path.unlink()
    except FileNotFoundError:
        raise NotFoundError(
            f"there is no chain {name!r} in chains/ of the home", "Built-in chains cannot be deleted."
        ) from None


def _path_of(home: Home, name: str) -> Path:
    if not is_name(name):
        raise UsageError(f"{name!r} is not a name for a chain", f"It has {NAME_EXPECTED}.")
    return home.chains / f"{name.replace('-', '_')}{SUFFIX}"


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
