"""Reading and checking the files of a pack's backup, and writing them into a folder and nowhere else."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

from kbjobs.errors import UnavailableError
from kbjobs.packs.backup_files import fold_name
from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.manifest import PackedBackup
from kbjobs.packs.pack_reading import Pack
from kbjobs.packs.records import FileRecord
from kbjobs.store.connection import is_disk_full

MAX_STEP = 255
"""Longest component of a path in bytes, as on Linux's file systems (path_resolution(7))."""
MAX_PATH = 4_095
"""Longest relative path in bytes, as on Linux."""

_PERCENT = re.compile("%(?![0-9A-F]{2})")
_TOPS = re.compile(r"pages/[1-9][0-9]{0,4}/.|assets/.", re.DOTALL)


def restore_backup(pack: Pack, folder: Path, check: Callable[[], None] = lambda: None) -> list[Path]:
    """Write the files of a pack's backup into an empty folder; returns the source's roots in it.

    After an error, some files may already be there; the caller discards the folder.

    Args:
        pack: the pack.
        folder: an empty folder.
        check: called with each file; may raise to stop.

    Raises:
        DamagedPackError: a name leads out of the folder, two names are the same, or a file does not match the pack.
        UnavailableError: the disk has no room for the files.
    """
    backup = pack.manifest.backup
    if backup is None:
        return []
    free = shutil.disk_usage(folder).free
    needed = backup.bytes - pack.place.whole.size
    if needed > free:
        raise UnavailableError(
            f"the files of {pack.place.label} need {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free",
            "Free some space, or take the pack without its backup.",
        )
    reader = BackupReader(pack, backup)
    made: set[bytes] = set()
    for record in reader.files():
        check()
        try:
            target = _make_folders(os.fsencode(folder), reader.path_of(record.name), made)
            if not _link(pack.place.whole.find(record.sha256), target):
                _write(target, reader.contents(record))
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise reader.damaged(record.name, "stands where another file or folder is") from error
        except OSError as error:
            if is_disk_full(error):
                raise UnavailableError(f"the disk that holds {folder} is full", "Free some space.") from error
            raise UnavailableError(
                f"cannot write {record.name} into {folder}: {error.strerror}", "Check that it is writable for you."
            ) from error
    os.sync()  # once, because a sync after each page would take minutes
    return [folder / os.fsdecode(root) for root in reader.roots()]


class BackupReader:
    """Reads the files of a backup in order, each once. A part is read once, however many files it holds."""

    def __init__(self, pack: Pack, backup: PackedBackup) -> None:
        self._pack = pack
        self._backup = backup
        self._number = -1
        self._part = b""
        self._files: set[bytes] = set()
        self._folders: set[bytes] = set()

    def files(self) -> Iterator[FileRecord]:
        """Yield the files, checking their names and their total size. Raises DamagedPackError.

        An installation checks nothing more about them, so a verified pack can be installed.
        """
        folded: set[bytes] = set()
        size = 0
        for record in self._pack.files():
            path = self.path_of(record.name)
            name = fold_name(record.name)
            if name in folded and not self._backup.case_sensitive:
                raise self.damaged(record.name, "differs from another name in nothing but case")
            folded.add(name)
            self._add(record.name, path)
            size += record.size
            if size > self._backup.bytes:
                break
            yield record
        if size != self._backup.bytes:
            raise self.damaged("files", f"do not have the {self._backup.bytes:,} bytes of the manifest together")

    def _add(self, name: str, path: bytes) -> None:
        steps = path.split(b"/")
        above = {b"/".join(steps[:count]) for count in range(1, len(steps))}
        if path in self._files or path in self._folders or above & self._files:
            raise self.damaged(name, "stands where another file or folder is")
        self._files.add(path)
        self._folders |= above

    def roots(self) -> list[bytes]:
        """The relative paths of the source's roots, after all files were read. Raises DamagedPackError."""
        found = []
        for name in self._backup.roots:
            path = self.path_of(name)
            if path not in self._files and path not in self._folders:
                raise self.damaged(name, "is to be a root of the source, and no file is in it")
            found.append(path)
        return found

    def path_of(self, name: str) -> bytes:
        """The relative path that a name stands for. Raises DamagedPackError if no file of a source can have the name.

        A name quotes any byte that is not plain; quoted bytes must not form a separator, NUL or hidden name.
        """
        if not _TOPS.match(name) or _PERCENT.search(name):
            raise self.damaged(name, "is no name of a file in a backup")
        steps = [unquote_to_bytes(step) for step in name.split("/")]
        root = steps.pop(2) if steps[0] == b"pages" else b"assets"  # the user may have named a hidden folder
        for step in (root.removeprefix(b"."), *steps):
            if not step or step.startswith(b".") or b"/" in step or b"\0" in step or len(step) > MAX_STEP:
                raise self.damaged(name, "is no name that a file may have")
        path = unquote_to_bytes(name)
        if len(path) > MAX_PATH:
            raise self.damaged(name, f"has more than {MAX_PATH:,} bytes")
        return path

    def contents(self, record: FileRecord) -> Iterator[bytes]:
        """Yield the bytes of a file. Raises DamagedPackError, for a wrong hash only after the last bytes."""
        if sum(piece.length for piece in record.pieces) != record.size:
            raise self.damaged(record.name, f"has pieces of another size than its {record.size:,} bytes")
        digest = hashlib.sha256()
        for piece in record.pieces:
            data = self._read(record.name, piece.part)[piece.offset : piece.offset + piece.length]
            if len(data) != piece.length:
                raise self.damaged(record.name, f"has a piece beyond the end of part {piece.part:,}")
            digest.update(data)
            yield data
        if digest.hexdigest() != record.sha256:
            raise self.damaged(record.name, "was changed: its sha256 differs")

    def damaged(self, name: str, what: str) -> DamagedPackError:
        """Make the error about a file of the pack."""
        return DamagedPackError(self._pack.place.label, ascii(name[:200]), what)

    def _read(self, name: str, number: int) -> bytes:
        # Parts must come in order, so that each is unpacked once: else a small pack could keep a machine busy for days.
        if number < self._number:
            raise self.damaged(name, f"has a piece in part {number:,}, which came before")
        if number >= len(self._backup.data):
            raise self.damaged(name, f"has a piece in part {number:,}, which is not there")
        if number != self._number:
            self._number, self._part = number, self._pack.read_part(self._backup.data[number])
        return self._part


def _make_folders(folder: bytes, path: bytes, made: set[bytes]) -> bytes:
    """Make the folders of a file; returns its path. Anything in their place that was not made here is refused."""
    steps = path.split(b"/")
    for count in range(1, len(steps)):
        relative = b"/".join(steps[:count])
        if relative not in made:
            os.mkdir(os.path.join(folder, relative), 0o700)  # noqa: PTH102, PTH118 — a name may be any bytes
            made.add(relative)
    return os.path.join(folder, path)  # noqa: PTH118


def _link(whole: Path | None, target: bytes) -> bool:
    """Link a file that is on this machine as it is; False without one, if another file of the backup has it already,
    or if the file system has no links, or is another one."""
    if whole is None or whole.stat().st_nlink > 1:
        return False
    try:
        os.link(whole, target)
    except FileExistsError:
        raise
    except OSError as error:
        if is_disk_full(error):
            raise
        return False
    return True


def _write(target: bytes, contents: Iterator[bytes]) -> None:
    """Write a file. Anything in its place is refused, even a link."""
    descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for data in contents:
            file.write(data)
