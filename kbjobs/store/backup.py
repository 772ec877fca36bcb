"""Backup and restore of the state and all ledgers, consistent while jobs run.

The archive is a plain tar: ``kbjobs-backup.json`` (format, sizes, sha256), then ``state.db``, ``config.toml`` and
each source's ``manifest.json`` and ``source.db``. Vector stores are not in it: they are rebuilt from the ledgers
without a model. Nor are secrets, logs, models and copied pages.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from kbjobs.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from kbjobs.settings import Home
from kbjobs.store.clocks import now_text
from kbjobs.store.connection import explain
from kbjobs.store.ledger import LEDGER_VERSION
from kbjobs.store.queue import STATE_VERSION
from kbjobs.store.sources import SOURCE_ID, is_source_id, list_sources

FORMAT = 1
INDEX_NAME = "kbjobs-backup.json"
MAX_INDEX_BYTES = 16 * 1024 * 1024
_MEMBER = re.compile(rf"state\.db|config\.toml|sources/{SOURCE_ID.pattern}/(?:manifest\.json|source\.db)")


def create_backup(home: Home, file: Path) -> list[str]:
    """Write the archive whole or not at all; returns the names of what it holds.

    The state is copied before the ledgers: a ledger that is ahead of the state is no harm, since doing
    a step again changes nothing.
    """
    if not home.state_file.exists() and not home.sources.exists():
        raise NotFoundError(f"there is nothing to back up in {home.path}", "kbjobs config path shows the home in use.")
    file = file.absolute()
    if file.is_dir():
        raise UsageError(f"{file} is a folder", "Name the file to write.")
    try:
        with tempfile.TemporaryDirectory(prefix=".kbjobs-backup-", dir=file.parent) as folder:
            copies = list(_copy_all(home, Path(folder)))
            index = {
                "format": FORMAT,
                "created_at": now_text(),
                "files": {name: {"size": copy.stat().st_size, "sha256": _sha256(copy)} for name, copy in copies},
            }
            archive = Path(folder, "archive.tar")
            with tarfile.open(archive, "w") as tar:
                text = json.dumps(index, indent=1).encode()
                header = tarfile.TarInfo(INDEX_NAME)
                header.size, header.mode = len(text), 0o600
                tar.addfile(header, io.BytesIO(text))
                for name, copy in copies:
                    tar.add(copy, name)
            archive.chmod(0o600)
            with archive.open("rb") as written:
                os.fsync(written.fileno())
            archive.rename(file)
    except sqlite3.Error as error:
        raise explain(error, home.path) from error
    except OSError as error:
        raise UnavailableError(f"cannot write {file}: {error.strerror}", "Nothing was left there.") from error
    return [name for name, _ in copies]


def _copy_all(home: Home, folder: Path) -> Iterator[tuple[str, Path]]:
    files = [("state.db", home.state_file), ("config.toml", home.config_file)]
    for source in list_sources(home.sources):
        where = home.sources / source.id
        files += [(f"sources/{source.id}/{name}", where / name) for name in ("manifest.json", "source.db")]
    for name, path in files:
        if not path.exists():
            continue
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".db":
            with closing(sqlite3.connect(path)) as source_db, closing(sqlite3.connect(copy)) as copy_db:
                source_db.backup(copy_db)
        else:
            shutil.copyfile(path, copy)
        yield name, copy


def restore_backup(home: Home, file: Path, replace: bool) -> list[str]:
    """Put the archive's files into the home, after all of them were checked; returns their names.

    A home in use is refused, one that holds something too unless ``replace`` is given; then what it held is
    moved into a folder beside. The caller holds the daemon's lock.
    """
    home.prepare()
    state = [path for path in home.path.glob("state.db*") if path.suffix != ".lock"]  # also a log without its file
    held = [path for path in (*state, home.config_file, *home.sources.iterdir()) if path.exists()]
    if held and not replace:
        raise ConflictError(
            f"the home {home.path} is not empty ({held[0].name})",
            "Restore into another KBJOBS_HOME, or give --replace: what is there is moved aside, not deleted.",
        )
    with tempfile.TemporaryDirectory(prefix=".restoring-", dir=home.path) as folder:
        names = _unpack(file, Path(folder))
        if held:
            _move_aside(home)
        for name in names:
            target = home.path / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (Path(folder) / name).rename(target)
    return names


def _move_aside(home: Home) -> None:
    aside = Path(tempfile.mkdtemp(prefix="replaced-", dir=home.path))
    # The database with its write-ahead log, or what was committed last would be lost.
    for path in (*home.path.glob("state.db*"), home.config_file, home.sources):
        if path.exists():
            path.rename(aside / path.name)


def _unpack(file: Path, folder: Path) -> list[str]:
    """Unpack into ``folder`` what the archive's index names and nothing else; everything is checked."""
    with _readable(file) as tar:
        index = _read_index(tar, file)
        free = shutil.disk_usage(folder).free
        total = sum(entry["size"] for entry in index.values())
        if total > free:
            raise UnavailableError(
                f"{file} holds {total / 1e6:.0f} MB, {free / 1e6:.0f} MB are free", "Free some space."
            )
        left = dict(index)
        for member in tar:
            if member.offset == 0:
                continue  # the index
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
        if name.endswith(".db"):
            _check_database(folder / name, STATE_VERSION if name == "state.db" else LEDGER_VERSION, file)
    return list(index)


@contextmanager
def _readable(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file, "r:") as tar:
            yield tar
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}", "Name the file that kbjobs backup wrote.") from None
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(file, str(error)) from error
    except OSError as error:
        raise UnavailableError(f"cannot read {file}: {error.strerror}", "Check its permissions.") from error


def _read_index(tar: tarfile.TarFile, file: Path) -> dict[str, dict[str, Any]]:
    first = tar.next()
    content = tar.extractfile(first) if first is not None and first.isreg() else None
    if first is None or content is None or first.name != INDEX_NAME or first.size > MAX_INDEX_BYTES:
        raise _damaged(file, "it does not begin with an index")
    try:
        index = json.load(content)
        if index["format"] > FORMAT:
            raise UnavailableError(f"{file} was written by a newer kbjobs", "Upgrade kbjobs.")
        files: dict[str, dict[str, Any]] = index["files"]
        for name, entry in files.items():
            if not _is_allowed(name) or not isinstance(entry["size"], int) or entry["size"] < 0:
                raise _damaged(file, f"its index names {name!r}")
            if not re.fullmatch("[0-9a-f]{64}", entry["sha256"]):
                raise _damaged(file, f"its index has no sha256 of {name!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(file, f"its index cannot be read: {error}") from error
    return files


def _is_allowed(name: str) -> bool:
    return _MEMBER.fullmatch(name) is not None and (not name.startswith("sources/") or is_source_id(name.split("/")[1]))


def _write_checked(content: IO[bytes], target: Path, sha256: str, file: Path) -> None:
    digest = hashlib.sha256()
    with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as out:
        while part := content.read(1 << 20):
            digest.update(part)
            out.write(part)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != sha256:
        raise _damaged(file, f"{target.name} was changed")


def _check_database(path: Path, newest: int, file: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if not 1 <= version <= newest:
                raise _damaged(file, f"its {path.name} has format {version}, this program knows {newest}")
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise _damaged(file, f"its {path.name} is damaged: {found}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(file: Path, what: str) -> UnavailableError:
    return UnavailableError(f"{file} is not a backup that can be used: {what}", "Nothing was changed.")
