"""The files of a source as a pack holds them: unchanged, in a fixed order, with names that allow a restore.

``pages/N/NAME`` is the source's Nth path, a folder or a file; names below it stay, so that documents keep their ids.
``assets/`` holds the pictures and styles of the pages.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote_to_bytes

from kbjobs.content.source_files import FoundFile, find_files, name_roots, parts_of, quote_key
from kbjobs.errors import ConflictError, UnavailableError
from kbjobs.store.sources import Source, SourceFolder


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to put into a pack: its name there, and its path."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class FileList:
    """The files of a source by name; its paths that hold files (``roots``); unreadable files, each with the reason.

    ``case_sensitive``: some names differ only in case.
    """

    files: list[SourceFile]
    roots: list[str]
    unseen: list[tuple[str, str]]
    case_sensitive: bool

    def count_bytes(self) -> int:
        """The total size of the files in bytes; files that are gone meanwhile count as 0."""
        return sum(os.stat(file.path).st_size for file in self.files if os.access(file.path, os.F_OK))  # noqa: PTH116


def list_files(folder: SourceFolder, source: Source) -> FileList:
    """Find the files of a source. Raises NotFoundError if one of its paths cannot be reached."""
    reals = list(dict.fromkeys(os.path.realpath(path) for path in source.paths))
    roots = {
        quote_key(name): f"pages/{number}/{quote_key(os.path.basename(real) or 'root')}"  # noqa: PTH119
        for number, (real, name) in enumerate(zip(reals, name_roots(reals), strict=True), 1)
    }
    files: list[SourceFile] = []
    used: set[str] = set()
    unseen: list[tuple[str, str]] = []
    for entry in find_files([Path(real) for real in reals]):
        if not isinstance(entry, FoundFile):
            if entry.still_there:
                unseen.append((entry.key, entry.reason))
            continue
        top, mark, below = entry.key.partition("/")
        used.add(roots[top])
        name = f"{roots[top]}{mark}{below}"
        if entry.is_archive:
            inside = name.rpartition("/")[0]
            files += [SourceFile(f"{inside}/{quote_key(path.name)}", os.fspath(path)) for path in parts_of(entry.path)]
        else:
            files.append(SourceFile(name, os.fspath(entry.path)))
    files += _list_assets(folder.assets)
    files.sort(key=lambda file: file.name)
    folded = {fold_name(file.name) for file in files}
    return FileList(files, [root for root in roots.values() if root in used], unseen, len(folded) < len(files))


def fold_name(name: str) -> bytes:
    """A hash that is equal for names that a file system without case or Unicode forms would take for one file."""
    plain = os.fsdecode(unquote_to_bytes(name))
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", plain).casefold())
    return hashlib.blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _list_assets(folder: Path) -> Iterator[SourceFile]:
    """The regular files of a folder. Links are not followed, and hidden names are left out as everywhere."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118 — a name may be any bytes
            if not name.startswith(".") and stat.S_ISREG(os.lstat(path).st_mode):
                yield SourceFile(quote_key(f"assets/{path[len(os.fspath(folder)) + 1 :]}"), path)


@contextmanager
def open_unchanged(file: SourceFile) -> Iterator[IO[bytes]]:
    """Open a file for reading. Raises ConflictError if it changes meanwhile, UnavailableError if it is unreadable."""
    try:
        # Never follow a link, and never wait for the other end of a pipe.
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise UnavailableError(f"{file.path} is no longer a regular file", "Try again. Nothing was published.")
            yield opened
            after = os.fstat(descriptor)
    except OSError as error:
        raise UnavailableError(
            f"cannot read {file.path}: {error.strerror}",
            "Make it readable, or leave out --include-backup. Nothing was published.",
        ) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ConflictError(
            f"{file.path} was changed while it was read",
            "Try again when nothing writes there. What was sent is kept.",
        )
