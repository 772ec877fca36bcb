"""Backup of the state, the ledgers, the chains and the copied pages into one file, consistent while jobs run.

The archive is a plain tar. It begins with ``kbjobs-backup.json`` (format and time) and ends with
``kbjobs-index.json`` (size and sha256 of each file between them). Between them are ``state.db``, ``config.toml``,
``chains/*.toml``, and for each source ``manifest.json``, ``source.db``, ``pages/`` and ``assets/``. In format 1 the
index was part of the first file, and there were neither chains nor pages. Vector stores are left out: they are rebuilt
from the ledgers without a model.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sqlite3
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import quote

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError, NotFoundError, UnavailableError, UsageError
from kbjobs.store.clocks import now_text
from kbjobs.store.connection import explain, is_disk_full
from kbjobs.store.ledger import LEDGER_VERSION
from kbjobs.store.sources import SOURCE_ID, SourceFolder, is_source_id, list_source_ids
from kbjobs.store.state import STATE_VERSION

FORMAT = 2
HEAD_NAME = "kbjobs-backup.json"
INDEX_NAME = "kbjobs-index.json"
MAX_INDEX_BYTES = 256 * 1024 * 1024  # about a million pages
IN_MEMORY_BYTES = 32 * 1024 * 1024  # a larger file is copied to the disk first
NEVER_IN_IT = ("vector stores", "models", "engines", "maps", "logs", "secrets")
_MEMBER = re.compile(
    r"state\.db|config\.toml|chains/[^/]+\.toml"
    rf"|sources/{SOURCE_ID.pattern}/(?:manifest\.json|source\.db|(?:pages|assets)/.+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished archive: its size in bytes, the number of its files, and what it leaves out.

    ``damaged`` holds the sources that could not be read completely, each with the reason.
    """

    file: Path
    size: int
    files: int
    left_out: tuple[str, ...]
    damaged: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The backup as the JSON that ``--json`` prints."""
        return {
            "file": str(self.file),
            "bytes": self.size,
            "files": self.files,
            "left_out": list(self.left_out),
            "damaged": list(self.damaged),
        }


def create_backup(home: Home, file: Path, with_pages: bool = True) -> Backup:
    """Write a backup of the home, complete or not at all.

    The state is copied before the ledgers: a ledger that is ahead of the state does no harm, since repeating a step
    changes nothing. A damaged source does not stop the backup: its readable parts are included.

    Args:
        home: the home to back up.
        file: the archive to write, outside the home's sources.
        with_pages: whether to include the pages of scrapes.

    Raises:
        NotFoundError: the home is empty.
        UsageError: the file is a folder, or is inside the folder that is backed up.
        UnavailableError: the archive cannot be written.
    """
    if not home.state_file.exists() and not home.sources.exists():
        raise NotFoundError(f"there is nothing to back up in {home.path}", "kbjobs config path shows the home in use.")
    file = file.absolute()
    if file.is_dir():
        raise UsageError(f"{file} is a folder", "Name the file to write.")
    if file.parent.resolve().is_relative_to(home.sources.resolve()):
        raise UsageError(f"{file} is inside the folder that is backed up", "Name a file outside the home.")
    try:
        with tempfile.TemporaryDirectory(prefix=".kbjobs-backup-", dir=file.parent) as folder:
            unfinished = Path(folder, "archive.tar")
            with open_tar(unfinished, "w") as tar:
                collector = _Collector(tar, Path(folder))
                collector.collect(home, with_pages)
            unfinished.chmod(0o600)
            with unfinished.open("rb") as written:
                os.fsync(written.fileno())
                size = os.fstat(written.fileno()).st_size
            unfinished.rename(file)
    except sqlite3.Error as error:
        raise explain(error, home.path) from error
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        raise UnavailableError(f"cannot write {file}: {what}", "Nothing was left there.") from error
    return Backup(file, size, len(collector.index), tuple(collector.left_out), collector.damaged)


class _Collector:
    """Adds a home's files to a tar one by one; records the size and hash of each, and what could not be added."""

    def __init__(self, tar: tarfile.TarFile, folder: Path) -> None:
        self.index: dict[str, dict[str, Any]] = {}
        self.left_out = list(NEVER_IN_IT)
        self.damaged: dict[str, str] = {}
        self._tar = tar
        self._folder = folder

    def collect(self, home: Home, with_pages: bool) -> None:
        self._put_json(HEAD_NAME, {"format": FORMAT, "created_at": now_text()})
        if home.state_file.exists():
            self._copy_database("state.db", home.state_file, STATE_VERSION)
        for path in (home.config_file, *sorted(home.chains.glob("*.toml"))):
            if path.is_file():
                self._copy(path.relative_to(home.path).as_posix(), path)
        for source_id in list_source_ids(home.sources):
            with suppress(FileNotFoundError):  # the source may have been removed meanwhile
                self._collect_source(SourceFolder(home.sources, source_id), with_pages)
        self._put_json(INDEX_NAME, {"files": self.index})

    def _collect_source(self, source: SourceFolder, with_pages: bool) -> None:
        name = f"sources/{source.id}"
        try:
            if not all(Path(path).is_relative_to(source.pages) for path in source.read().paths):
                self._leave_out("files read in place")
        except KbjobsError as error:
            self.damaged[source.id] = error.message
        try:
            if source.manifest.is_file():
                self._copy(f"{name}/manifest.json", source.manifest)
            if source.ledger.exists():
                self._copy_database(f"{name}/source.db", source.ledger, LEDGER_VERSION)
        except KbjobsError as error:
            self.damaged.setdefault(source.id, error.message)
        for folder in (source.pages, source.assets):
            if with_pages:
                self._copy_folder(f"{name}/{folder.name}", folder, source.id)
            elif folder.is_dir():
                self._leave_out(folder.name)

    def _copy_folder(self, name: str, folder: Path, source_id: str) -> None:
        """Copy the regular files of a folder, without following links or opening devices in it.

        The folder itself may be a link, for example to a larger disk.
        """
        waiting = [name] if os.path.lexists(folder) else []
        while waiting:
            here = waiting.pop()
            path = os.path.join(folder, here[len(name) + 1 :])  # noqa: PTH118 — a page's name may be any bytes
            with suppress(FileNotFoundError):  # a job may have removed it meanwhile
                try:
                    with _reading(path):
                        mode = os.lstat(path).st_mode
                        entries = sorted(os.listdir(path), reverse=True) if stat.S_ISDIR(mode) else []  # noqa: PTH208
                    waiting.extend(f"{here}/{entry}" for entry in entries)
                    if stat.S_ISREG(mode):
                        self._copy(here, Path(path))
                    elif not stat.S_ISDIR(mode):
                        self.left_out.append(f"{here}: not a regular file")
                except KbjobsError as error:
                    self.damaged.setdefault(source_id, error.message)

    def _copy(self, name: str, path: Path) -> None:
        """Copy a file that may change meanwhile; its size is taken after reading it."""
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, dir=str(self._folder)) as copy:
            for part in _read_parts(path):
                copy.write(part)
            self._put(name, copy)

    def _copy_database(self, name: str, path: Path, newest: int) -> None:
        """Copy a database; raises UnavailableError if a restore would refuse it."""
        copy = self._folder / "copy.db"
        try:
            original = f"file:{quote(str(path))}?mode=rw"  # rw, not rwc: never creates a missing file
            with closing(sqlite3.connect(original, uri=True)) as source_db, closing(sqlite3.connect(copy)) as copy_db:
                source_db.backup(copy_db)
            if (damage := find_damage(copy, newest)) is not None:
                raise UnavailableError(f"{path} {damage}", "Restore it from an earlier backup, or move it away.")
            with copy.open("rb") as content:
                self._put(name, content)
        except sqlite3.Error as error:
            if is_disk_full(error):
                raise
            raise explain(error, path) from error
        finally:
            copy.unlink(missing_ok=True)

    def _put(self, name: str, content: IO[bytes]) -> None:
        header = _header(name, content.seek(0, os.SEEK_END))
        content.seek(0)
        digest = hashlib.sha256()
        while part := content.read(1 << 20):
            digest.update(part)
        content.seek(0)
        self._tar.addfile(header, content)
        self.index[name] = {"size": header.size, "sha256": digest.hexdigest()}

    def _put_json(self, name: str, values: dict[str, Any]) -> None:
        text = json.dumps(values).encode()
        if len(text) > MAX_INDEX_BYTES:
            raise UnavailableError(
                f"{len(self.index):,} files are too many for one backup",
                "Give --without-pages, and copy the pages with another program.",
            )
        self._tar.addfile(_header(name, len(text)), io.BytesIO(text))

    def _leave_out(self, what: str) -> None:
        if what not in self.left_out:
            self.left_out.append(what)


def _read_parts(path: Path) -> Iterator[bytes]:
    with _reading(path), path.open("rb") as file:
        while part := file.read(1 << 20):
            yield part


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Turn a read error into UnavailableError, so that it differs from an archive that cannot be written."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror}", "Check its permissions.") from error


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o600
    return header


def open_tar(file: Path, mode: Literal["w", "r"]) -> tarfile.TarFile:
    """Open an uncompressed archive for reading or writing; the names in it may be any bytes."""
    plain: Literal["w:", "r:"] = "w:" if mode == "w" else "r:"  # never compressed
    return tarfile.open(file, plain, encoding="utf-8", errors="surrogateescape")


def is_allowed(name: str) -> bool:
    """Whether an archive may hold a file of that name: it must belong to a home and stay inside it."""
    parts = name.split("/")
    return (
        _MEMBER.fullmatch(name) is not None
        and "\0" not in name
        and not {"", ".", ".."} & set(parts)
        and (parts[0] != "sources" or is_source_id(parts[1]))
    )


def find_damage(path: Path, newest: int) -> str | None:
    """Describe what is wrong with a database, None if nothing; its format may be ``newest`` at most."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if not 1 <= version <= newest:
                return f"has format {version}, this program knows {newest}"
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        found = str(error)
    return None if found == "ok" else f"is damaged: {found}"
