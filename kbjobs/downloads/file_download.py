"""Fetch a file: the download resumes after a kill, is verified, and leaves a whole file or none.

``NAME.part`` grows next to the file; ``NAME.part.json`` records what it is a part of. A part is reused if the hash of
the whole is known, which would expose a mixture, or if the server proves by If-Range that the file is unchanged (RFC
9110, 13.1.5). Otherwise the download starts over.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from kbjobs.downloads.hashing import HashedContent, measure_file
from kbjobs.errors import DownloadError, UnavailableError
from kbjobs.net.backoff import GIVE_UP_SECONDS, AwayError, Backoff
from kbjobs.net.requesting import RefusedError, Response, get
from kbjobs.system.crashpoints import crash_point
from kbjobs.system.files import write_json

log = logging.getLogger(__name__)

SPARE_BYTES = 16 * 1024 * 1024
"""Bytes that must stay free on the disk in addition to the file: the job's end has to be written too."""
_TELL_SECONDS = 0.2
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class WantedFile:
    """A file to fetch, and what is known about it beforehand."""

    url: str
    size: int | None = None
    """In bytes."""
    sha256: str | None = None
    """In hex."""
    git_sha1: str | None = None
    """In hex, of a blob of git; needs the size (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects)."""
    most: int | None = None
    """Bytes that it may have at most, if the size is unknown."""

    @property
    def has_hash(self) -> bool:
        """Whether a hash is known that would expose a mixture of two files."""
        return self.sha256 is not None or self.git_size is not None

    @property
    def git_size(self) -> int | None:
        """The size, if git's hash has to be computed; None otherwise."""
        return self.size if self.git_sha1 is not None else None


@dataclass(frozen=True)
class DownloadedFile:
    """Size and hash of a fetched file."""

    size: int
    """In bytes."""
    sha256: str
    """In hex, as computed here."""


def fetch_file(
    wanted: WantedFile,
    target: Path,
    *,
    token: str | None = None,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
    check: Callable[[], None] = lambda: None,
    give_up_seconds: float = GIVE_UP_SECONDS,
) -> DownloadedFile:
    """Fetch a file to ``target``, unless the right file is there already.

    If two calls have the same target, in whatever processes, the second waits and takes the file that the first
    fetched. The file is safe from a power cut only after its folder was synced and put in place.

    Args:
        wanted: the file to fetch.
        target: where it goes, by way of ``target.part`` in the same folder.
        token: the token for servers that require one; see :func:`kbjobs.net.requesting.get`.
        on_progress: called several times a second with the bytes so far, and the bytes of the whole file if known.
        check: called several times a second, also while waiting; if it raises, the download ends and keeps what it has.
        give_up_seconds: seconds without a new byte after which the server is given up.
    Raises:
        RefusedError: the server refuses; ``explain()`` turns it into an error for people.
        TransientError: the server does not answer, or breaks off; the part is kept.
        DownloadError: the server sends something else than was wanted.
        UnavailableError: the disk is full, or cannot be written; the part is kept.
    """
    with _disk(target), one_at_a_time(target, check) as has_waited:
        if target.exists() and (wanted.has_hash or has_waited):
            found = measure_file(target, check, wanted.git_size)
            if not _find_fault(wanted, found):
                return DownloadedFile(found.size, found.sha256.hexdigest())
        return _Download(wanted, target, token, on_progress, check, give_up_seconds).run()


@contextmanager
def one_at_a_time(path: Path, check: Callable[[], None] = lambda: None) -> Iterator[bool]:
    """Hold the lock ``path.lock``, which the kernel releases at death. Yields whether it had to wait.

    ``check`` is called while waiting, and may raise.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(path.with_name(f"{path.name}.lock"), mode=0o600)
    has_waited = False
    while True:
        try:
            lock.acquire(timeout=0 if not has_waited else 0.25, poll_interval=0.05)
            break
        except Timeout:
            if not has_waited:
                log.info("waiting for another process that fetches %s", path.name)
            has_waited = True
            check()
    try:
        yield has_waited
    finally:
        lock.release()


class _Download:
    """A call of :func:`fetch_file` that holds the lock."""

    def __init__(
        self,
        wanted: WantedFile,
        target: Path,
        token: str | None,
        on_progress: Callable[[int, int | None], None],
        check: Callable[[], None],
        give_up_seconds: float,
    ) -> None:
        self.wanted, self.target, self.token = wanted, target, token
        self.on_progress, self.check, self.give_up_seconds = on_progress, check, give_up_seconds
        self.part = target.with_name(f"{target.name}.part")
        self.note = target.with_name(f"{target.name}.part.json")
        self.validator = ""
        self.content = HashedContent(wanted.git_size)
        self.told = 0.0

    def run(self) -> DownloadedFile:
        self._take_up()
        is_resumed = self.content.size > 0
        while True:
            self._fetch()
            fault = _find_fault(self.wanted, self.content)
            if not fault:
                break
            self._start_again()
            if not is_resumed:
                raise DownloadError(
                    f"{self.wanted.url} is not the expected file: {fault}",
                    "The download was discarded. Try again. If that does not help, report it to its publisher.",
                )
            log.warning("%s is not the expected file: %s; downloading it from the start", self.wanted.url, fault)
            is_resumed = False
        self._publish()
        return DownloadedFile(self.content.size, self.content.sha256.hexdigest())

    def _take_up(self) -> None:
        """Resume the part on disk if it belongs to this request."""
        note = _read_note(self.note)
        is_same = note.get("hash") == self._hash() if self.wanted.has_hash else note.get("url") == self.wanted.url
        self.validator = str(note.get("validator", ""))
        if not self.part.exists():
            return
        if not is_same or not (self.wanted.has_hash or self.validator):
            self._start_again()
            return
        self.content = measure_file(self.part, self.check, self.wanted.git_size)
        if self.wanted.size is not None and self.content.size > self.wanted.size:
            self._start_again()

    def _hash(self) -> str | None:
        return self.wanted.sha256 or self.wanted.git_sha1

    def _start_again(self) -> None:
        self.part.unlink(missing_ok=True)
        self.content, self.validator = HashedContent(self.wanted.git_size), ""

    def _fetch(self) -> None:
        """Complete the part, with several tries if needed."""
        backoff = Backoff(self.wanted.url, self.give_up_seconds, self.check)
        while self.wanted.size is None or self.content.size < self.wanted.size or self.wanted.size == 0:
            before = self.content.size
            try:
                with get(self.wanted.url, self._range(), self.token) as answer:
                    self._take(answer)
                return
            except RefusedError as error:
                if error.status != 416 or not before:
                    raise
                self._start_again()  # the file is now shorter than the part
            except AwayError as error:
                backoff.pause(error, has_come_on=self.content.size > before, here=self.content.size)

    def _range(self) -> dict[str, str]:
        if not self.content.size:
            return {}
        headers = {"Range": f"bytes={self.content.size}-"}
        return headers if self.wanted.has_hash else {**headers, "If-Range": self.validator}

    def _take(self, answer: Response) -> None:
        """Append an answer's content to the part."""
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise DownloadError(f"{self.wanted.url} was sent compressed, which was not requested", "Try again later.")
        total = self._check_place(answer)
        self._check_room(total)
        with self.part.open("ab", buffering=0) as file, self.content.in_background() as add:
            for piece in answer.pieces(self.check):
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) :]
                add(piece)
                crash_point("download.received")
                self._check_size(total)
                self._tell(total)
        if total is not None and self.content.size < total:
            raise AwayError("broke off")
        self._tell(total, must=True)

    def _check_place(self, answer: Response) -> int | None:
        """Make the part end where the answer begins. Returns the size of the whole file, None if unknown."""
        declared = answer.headers.get("content-length", "")
        if answer.status == 206:
            place = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
            if place is None or int(place[1]) != self.content.size:
                self._start_again()
                raise AwayError("sent a different part than was requested")
            total = int(place[3]) if place[3] != "*" else self.wanted.size
        else:
            if self.content.size:
                log.info(
                    "%s is fetched from its start again: it was changed, or its server cannot send the rest alone",
                    self.wanted.url,
                )
            self._start_again()
            total = int(declared) if declared.isdecimal() else self.wanted.size
            self.validator = _strong_validator(answer.headers)
            self._write_note()
        if total is not None and self.wanted.size is not None and total != self.wanted.size:
            raise DownloadError(
                f"{self.wanted.url} has {total:,} bytes, it should have {self.wanted.size:,}",
                "Try again. If that does not help, report it to its publisher.",
            )
        return total

    def _write_note(self) -> None:
        note = {"url": self.wanted.url, "hash": self._hash(), "validator": self.validator}
        write_json(self.note, note, unfinished=self.note.with_suffix(".new"))
        crash_point("download.noted")

    def _check_room(self, total: int | None) -> None:
        needed = max((total or 0) - self.content.size, 0) + SPARE_BYTES
        free = shutil.disk_usage(self.target.parent).free
        if free < needed:
            raise UnavailableError(
                f"{free / 1e6:,.0f} MB are free on the disk of {self.target.parent}, {self.target.name} needs"
                f" {needed / 1e6:,.0f} MB",
                "Free some space, or move the home to a larger disk. The partial download is kept.",
            )

    def _check_size(self, total: int | None) -> None:
        limits = [limit for limit in (total, self.wanted.size, self.wanted.most) if limit is not None]
        if limits and self.content.size > min(limits):
            self._start_again()
            raise DownloadError(
                f"{self.wanted.url} sends more than {min(limits):,} bytes",
                "The download was discarded. Check the address, then try again.",
            )

    def _tell(self, total: int | None, must: bool = False) -> None:
        now = time.monotonic()
        if must or now - self.told >= _TELL_SECONDS:
            self.told = now
            self.on_progress(self.content.size, total)

    def _publish(self) -> None:
        """Rename the part to its final name."""
        self.part.touch()  # an empty file never got a first byte
        crash_point("download.checked")
        self.part.replace(self.target)
        crash_point("download.renamed")
        self.note.unlink(missing_ok=True)


def _find_fault(wanted: WantedFile, content: HashedContent) -> str:
    """Describe what is wrong with the content; empty if nothing is."""
    if wanted.size is not None and content.size != wanted.size:
        return f"it has {content.size:,} bytes, {wanted.size:,} were announced"
    if wanted.sha256 is not None and content.sha256.hexdigest() != wanted.sha256.lower():
        return f"its sha256 is {content.sha256.hexdigest()}, {wanted.sha256} was announced"
    if wanted.git_sha1 and content.git and content.git.hexdigest() != wanted.git_sha1.lower():
        return f"its hash in git is {content.git.hexdigest()}, {wanted.git_sha1} was announced"
    return ""


def _read_note(file: Path) -> dict[str, object]:
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _strong_validator(headers: Mapping[str, str]) -> str:
    """Find what proves in If-Range that a file is unchanged: a strong ETag, or a date.

    The date must be at least a minute before the answer's. Empty if there is none (RFC 9110, 8.8.1 and 8.8.2.2).
    """
    etag = headers.get("etag", "")
    if re.fullmatch(r'"[\x21\x23-\x7e]{1,1000}"', etag):
        return etag
    if etag:
        return ""  # a weak ETag must not be used, nor a date in its place
    with suppress(ValueError, TypeError):
        changed, sent = (parsedate_to_datetime(headers[name]) for name in ("last-modified", "date") if name in headers)
        if (sent - changed).total_seconds() >= 60:
            return headers["last-modified"]
    return ""


@contextmanager
def _disk(target: Path) -> Iterator[None]:
    """Turn a full or unwritable disk into UnavailableError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UnavailableError(
                f"the disk of {target.parent} is full",
                "Free some space and try again. The partial download is kept.",
            ) from error
        raise UnavailableError(
            f"{error.filename or target} cannot be written: {error.strerror}", "Check its permissions."
        ) from error
