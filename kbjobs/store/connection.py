"""Opening SQLite files with one set of pragmas, private permissions, and errors that a person can act on."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from kbjobs.errors import KbjobsError, UnavailableError

BUSY_SECONDS = 30.0


class NewerFormatError(UnavailableError):
    """The file was written by a newer version of the program."""


def connect(path: Path, version: int, migrate: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """Open a file in WAL mode, creating it or migrating it to the newest format.

    Opening never repairs or recovers anything, because every command opens files. The connection is in autocommit mode;
    use :func:`transaction` to write.

    Args:
        path: the file.
        version: the newest format.
        migrate: brings an open file to that format.

    Raises:
        NewerFormatError: the file was written by a newer program.
        UnavailableError: the file is damaged or cannot be opened.
    """
    try:
        if not path.exists():
            _create(path, migrate)
        connection = _open(path)
    except (OSError, sqlite3.Error) as error:
        raise explain(error, path) from error
    try:
        found = _version(connection)
        if found > version:
            raise NewerFormatError(
                f"{path} was written by a newer kbjobs (format {found}, this program knows {version})",
                "Upgrade kbjobs. The file was not touched.",
            )
        if found == 0:
            raise UnavailableError(
                f"{path} is damaged: it is empty, or not a file of kbjobs",
                "It was not touched. Replace it with a copy from your backup, or move it away to start afresh.",
            )
        if found < version:
            with _changing(path):
                migrate(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except (OSError, sqlite3.Error) as error:
        connection.close()
        raise explain(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path, version: int) -> sqlite3.Connection | None:
    """Open a file when it or its folder is not writable; None if it has another format.

    Raises sqlite3.Error if SQLite cannot read the file with its write-ahead log or, if there is no log, without one.
    """
    # sqlite.org/wal.html, "Read-Only Databases". If there is no log, nobody is writing to the file.
    log = path.with_name(path.name + "-wal")
    has_log = log.exists() and log.stat().st_size > 0
    for option in ("mode=ro",) if has_log else ("mode=ro", "immutable=1"):
        connection = _open(f"file:{quote(str(path))}?{option}")
        try:
            is_ours = _version(connection) == version
        except sqlite3.Error as error:
            connection.close()
            failure = error
            continue
        if is_ours:
            return connection
        connection.close()
        return None
    raise failure


def _open(path: Path | str) -> sqlite3.Connection:
    """Open a file by its path, or by a URI given as a string."""
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=isinstance(path, str)
    )
    connection.row_factory = sqlite3.Row
    return connection


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _create(path: Path, migrate: Callable[[sqlite3.Connection], None]) -> None:
    """Create the file under another name and rename it, so that nobody ever opens a half-made one.

    Switching a new file to WAL while others open it fails with disk I/O errors.
    """
    with _changing(path):
        if path.exists():
            return
        unfinished = path.with_name(path.name + ".new")
        for leftover in path.parent.glob(unfinished.name + "*"):
            leftover.unlink()
        # Created here and not by SQLite, so that the file, its -wal and its -shm are private.
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = _open(unfinished)
        try:
            # Half the usual size, because even a small transaction writes and syncs whole pages.
            connection.execute("PRAGMA page_size = 2048")
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection)
        finally:
            connection.close()
        # A log left behind by a file that was moved away would be replayed into the new one.
        for suffix in ("-wal", "-shm"):
            stale = path.with_name(path.name + suffix)
            if stale.exists():
                stale.rename(stale.with_name(f"{stale.name}.stale-{os.getpid()}"))
        unfinished.rename(path)


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        with FileLock(path.with_name(path.name + ".lock"), timeout=BUSY_SECONDS, mode=0o600):
            yield
    except Timeout as error:
        raise UnavailableError(f"another process has been changing {path} for too long", "Try again.") from error


class transaction:
    """A context manager for BEGIN IMMEDIATE … COMMIT; as a generator it would be three times as slow.

    A read followed by a write needs the write lock from the start: upgrading a read snapshot fails at once with
    SQLITE_BUSY, whatever the timeout.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def check_integrity(path: Path, quick: bool = False) -> str:
    """Check a file, opened read-only, with SQLite: returns "ok", or the first damage.

    ``quick`` skips the comparison of indexes with their tables, which takes most of the time.
    """
    check = "quick_check" if quick else "integrity_check"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            return str(connection.execute(f"PRAGMA {check}(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if _code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return str(error)
        raise


def find_cut(path: Path) -> str:
    """Check whether an SQLite file is shorter than its header says; returns what is wrong, '' if nothing.

    Nobody may be writing to the file. Otherwise a truncation shows only when a missing page is read.
    """
    with path.open("rb") as file:
        head = file.read(100)
        size = os.fstat(file.fileno()).st_size
    if len(head) < 100 or not head.startswith(b"SQLite format 3\0"):
        return f"{path.name} is no SQLite file, or is cut"
    page, pages = int.from_bytes(head[16:18]), int.from_bytes(head[28:32])  # sqlite.org/fileformat.html, 1.3
    whole = (65536 if page == 1 else page) * pages
    return f"{path.name} is cut: {size:,} bytes of {whole:,}" if size < whole else ""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an SQLite or OS error means that the disk is full."""
    # If there is no room for the shared memory of a write-ahead log, SQLite reports a different error.
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP):
        return True
    return _code(error) == sqlite3.SQLITE_FULL or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def _code(error: BaseException | None) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an SQLite error about a file into the error that :func:`explain` makes."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error


def explain(error: Exception, path: Path) -> KbjobsError:
    """Make the UnavailableError that tells a person what an SQLite or OS error on ``path`` means."""
    text = str(error)
    code = _code(error)
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return UnavailableError(
            f"{path} is damaged: {text}",
            "It was not touched. Replace it with a copy from your backup, or move it (and its -wal "
            "and -shm) away to start afresh.",
        )
    if is_disk_full(error):
        return UnavailableError(
            f"the disk that holds {path} is full", "Free some space and try again. Nothing was lost."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UnavailableError(
            f"{path} was locked for more than {BUSY_SECONDS:.0f} s",
            "See which process holds it (fuser) and try again.",
        )
    if path.parent.exists() and os.statvfs(path.parent).f_flag & os.ST_RDONLY:
        return UnavailableError(f"{path} is on a read-only disk: {text}", "Mount it for writing, or use another home.")
    return UnavailableError(
        f"{path} cannot be used: {text}",
        "Check that the folder exists, is writable for you and lies on a local disk.",
    )
