"""Writing files atomically and durably; exchanging, removing and syncing folders."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_AT_FDCWD = -100  # rename(2)
_RENAME_EXCHANGE = 2


@contextmanager
def atomic_write(path: Path, unfinished: Path | None = None, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a private file for writing, which replaces ``path`` when the block ends without an error.

    Args:
        path: the file to replace, in an existing folder.
        unfinished: the temporary file, in the same folder; for a caller that holds a lock, so that leftovers of a kill
            are overwritten. By default a unique hidden name.
        durable: whether to flush the file to disk before the rename (fsync(2)).

    Raises:
        OSError: the folder is not writable, or the disk is full; ``path`` is unchanged.
    """
    if unfinished is None:
        from tempfile import mkstemp  # the commands that only read do without

        descriptor, name = mkstemp(dir=path.parent, prefix=f".{path.name[:200]}-")
        unfinished = Path(name)
    else:
        descriptor = os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb", buffering=1 << 16) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: dict[str, Any], unfinished: Path | None = None) -> None:
    """Write a JSON object to a file, as :func:`write_text` does.

    Args:
        path: the file.
        content: the object.
        unfinished: see :func:`atomic_write`.
    """
    write_text(path, json.dumps(content, indent=2), unfinished)


def write_text(path: Path, text: str, unfinished: Path | None = None) -> None:
    """Write a text to a file, completely or not at all; a missing folder is created.

    Args:
        path: the file.
        text: the text, which is written in UTF-8.
        unfinished: see :func:`atomic_write`.

    Raises:
        OSError: the folder is not writable, or the disk is full; ``path`` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_write(path, unfinished) as file:
        file.write(text.encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None if the file is missing, unreadable or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def exchange_folders(one: Path, other: Path) -> bool:
    """Exchange two folders (rename(2), RENAME_EXCHANGE); False if the file system or the C library cannot."""
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), os.fspath(one))


def remove_tree(path: Path) -> None:
    """Remove a folder, a file or a link; a missing one is no error.

    Raises:
        OSError: it cannot be removed.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def sync_folder(folder: Path) -> None:
    """Make renames and new entries in a folder survive a power cut (fsync(2))."""
    _sync(folder, os.O_DIRECTORY)


def sync_tree(folder: Path) -> None:
    """Flush a folder's whole content to disk, because a rename of the folder may reach the disk before its content."""
    for top, _, names in os.walk(folder):
        for name in names:
            path = Path(top, name)
            if not path.is_symlink():
                _sync(path)
        sync_folder(Path(top))


def _sync(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
