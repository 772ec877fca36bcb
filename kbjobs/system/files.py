"""Files that are whole or not there, and outlast a power cut; folders that take each other's place."""

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
    """A private file to write to, which takes the place of ``path`` when the block ends without an error.

    Args:
        path: its folder exists.
        unfinished: where it is written, in the same folder, by a caller that holds a lock: what a kill leaves is then
            overwritten. By default a hidden name that nobody else has.
        durable: flush it to the disk before the rename (fsync(2)).

    Raises:
        OSError: the folder cannot be written, or the disk is full; ``path`` is as it was.
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
    """Write ``content`` to ``path``, as :func:`write_text` does."""
    write_text(path, json.dumps(content, indent=2), unfinished)


def write_text(path: Path, text: str, unfinished: Path | None = None) -> None:
    """Write a text to ``path``, whole or not at all; its folder is created.

    Args:
        path: the file.
        text: written in UTF-8.
        unfinished: as of :func:`atomic_write`.

    Raises:
        OSError: the folder cannot be written, or the disk is full; ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_write(path, unfinished) as file:
        file.write(text.encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None if the file is missing, torn or holds something else."""
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
    """Remove a folder, a file or a link; what is not there is no error.

    Raises:
        OSError: it cannot be removed.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def sync_folder(folder: Path) -> None:
    """Make what was renamed or created in a folder outlast a power cut (fsync(2))."""
    _sync(folder, os.O_DIRECTORY)


def sync_tree(folder: Path) -> None:
    """Make all files and folders below a folder last: a rename of it may reach the disk before what is in it does."""
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
