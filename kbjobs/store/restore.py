"""Restoring a backup. The archive is not trusted: all of it is checked before anything changes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from kbjobs.config.home import Home
from kbjobs.errors import ConflictError, NotFoundError, UnavailableError
from kbjobs.store.backup import FORMAT, HEAD_NAME, INDEX_NAME, MAX_INDEX_BYTES, find_damage, is_allowed, open_tar
from kbjobs.store.connection import is_disk_full
from kbjobs.store.ledger import LEDGER_VERSION
from kbjobs.store.state import STATE_VERSION

Index = dict[str, dict[str, Any]]


def restore_backup(home: Home, file: Path, replace: bool) -> list[str]:
    """Check a backup's files and put them into the home. The caller holds the daemon's lock.

    Args:
        home: the home.
        file: the archive.
        replace: whether the home need not be empty; its old contents are moved into a new folder inside it.

    Returns:
        The names of the files restored.

    Raises:
        ConflictError: the home is not empty, without ``replace``.
        NotFoundError: there is no such file.
        UnavailableError: the archive is damaged, is not a backup, was written by a newer kbjobs, or cannot be unpacked
            for lack of space or permission.
    """
    home.prepare()
    state = [path for path in home.path.glob("state.db*") if path.suffix != ".lock"]  # also a log without its file
    held = [path for path in (*state, home.config_file, *home.sources.iterdir()) if path.exists()]
    with tempfile.TemporaryDirectory(prefix=".restoring-", dir=home.path) as folder:
        with _readable(file) as tar:
            index = _read_index(tar, file)
            brings_chains = any(name.startswith("chains/") for name in index)
            if brings_chains:  # otherwise the home's chains stay in place
                held += home.chains.glob("*")
            if held and not replace:
                raise ConflictError(
                    f"the home {home.path} is not empty ({held[0].name})",
                    "Restore into another KBJOBS_HOME, or give --replace: the old contents are moved aside, not"
                    " deleted.",
                )
            _unpack(tar, index, file, Path(folder))
        if held:
            _move_aside(home, brings_chains)
        home.sources.mkdir(mode=0o700, exist_ok=True)
        for top in sorted({"/".join(name.split("/")[: 2 if name.startswith("sources/") else 1]) for name in index}):
            (Path(folder) / top).rename(home.path / top)
    return list(index)


def _move_aside(home: Home, brings_chains: bool) -> None:
    aside = Path(tempfile.mkdtemp(prefix="replaced-", dir=home.path))
    chains = [home.chains] if brings_chains else []
    # Move the database with its write-ahead log, or the last commits would be lost.
    for path in (*home.path.glob("state.db*"), home.config_file, home.sources, *chains):
        if path.exists():
            path.rename(aside / path.name)


def _unpack(tar: tarfile.TarFile, index: Index, file: Path, folder: Path) -> None:
    """Unpack exactly the files that the archive's index names into ``folder``, and check each."""
    free = shutil.disk_usage(folder).free
    total = sum(entry["size"] for entry in index.values())
    if total > free:
        raise UnavailableError(f"{file} holds {total / 1e6:.0f} MB, {free / 1e6:.0f} MB are free", "Free some space.")
    left = dict(index)
    for member in tar:
        if member.name in (HEAD_NAME, INDEX_NAME):
            continue
        entry = left.pop(member.name, None)
        content = tar.extractfile(member) if member.isreg() else None
        if entry is None or content is None or member.size != entry["size"]:
            raise _damaged(file, f"its entry {member.name!r} is not what its index says")
        target = folder / member.name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_checked(content, target, entry["sha256"], file)
    if left:
        raise _damaged(file, f"it lacks {next(iter(left))!r}")
    for name in index:
        newest = STATE_VERSION if name == "state.db" else LEDGER_VERSION
        is_database = name == "state.db" or name.split("/")[2:] == ["source.db"]
        if is_database and (damage := find_damage(folder / name, newest)) is not None:
            raise _damaged(file, f"its {name} {damage}")
    os.sync()  # once, because a sync after each page would take minutes


@contextmanager
def _readable(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with open_tar(file, "r") as tar:
            yield tar
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}", "Name the file that kbjobs backup wrote.") from None
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(file, str(error)) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise _damaged(file, "one of its files stands where another needs a folder") from error
    except OSError as error:
        if is_disk_full(error):
            raise UnavailableError(f"the disk is too full to unpack {file}", "Free some space.") from error
        raise UnavailableError(f"cannot unpack {file}: {error.strerror}", "Check its permissions.") from error


def _read_index(tar: tarfile.TarFile, file: Path) -> Index:
    """Size and sha256 of each file of the archive."""
    head = _read_json(tar, tar.next(), HEAD_NAME, file)
    try:
        if head["format"] > FORMAT:
            raise UnavailableError(f"{file} was written by a newer kbjobs", "Upgrade kbjobs.")
        last = head if head["format"] == 1 else _read_json(tar, tar.getmembers()[-1], INDEX_NAME, file)
        index: Index = last["files"]
        for name, entry in index.items():
            if not is_allowed(name) or not isinstance(entry["size"], int) or entry["size"] < 0:
                raise _damaged(file, f"its index names {name!r}")
            if not re.fullmatch("[0-9a-f]{64}", entry["sha256"]):
                raise _damaged(file, f"its index has no sha256 of {name!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(file, f"its index cannot be read: {error}") from error
    return index


def _read_json(tar: tarfile.TarFile, member: tarfile.TarInfo | None, name: str, file: Path) -> Any:
    content = tar.extractfile(member) if member is not None and member.isreg() else None
    if member is None or content is None or member.name != name or member.size > MAX_INDEX_BYTES:
        raise _damaged(file, f"it has no {name}")
    try:
        return json.load(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"its {name} cannot be read: {error}") from error


def _write_checked(content: IO[bytes], target: Path, sha256: str, file: Path) -> None:
    digest = hashlib.sha256()
    with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as out:
        while part := content.read(1 << 20):
            digest.update(part)
            out.write(part)
    if digest.hexdigest() != sha256:
        raise _damaged(file, f"{target.name} was changed")


def _damaged(file: Path, what: str) -> UnavailableError:
    return UnavailableError(f"{file} is not a backup that can be used: {what}", "Nothing was changed.")
