"""What a ZIM file says: its header and its entries, in the order in which they lie in the file.

libzim reads it in a process of its own (`zim_child`). What crashes or hangs there is one entry that could not be read;
the others go on. Memory does not grow with the file, in neither process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from kbjobs.content import zim_child
from kbjobs.content.language import read_tag
from kbjobs.content.zim_child import FRAME, TEXT_LIMIT
from kbjobs.content.zim_parts import ZimError, check_parts, find_parts, is_zim

__all__ = [
    "ZimError",
    "ZimFailure",
    "ZimFile",
    "ZimHeader",
    "ZimItem",
    "ZimRedirect",
    "is_zim",
    "parse_counter",
    "parse_languages",
]

TEXT_TYPES = frozenset({"text/html", "application/xhtml+xml", "text/plain"})
"""The types whose data are read unless others are asked for."""

SIZE_LIMIT = 32 * 2**20
"""Largest item whose data are read, in bytes."""

TIMEOUT = 60.0
"""Seconds without a heartbeat after which the reading process counts as hung."""

MOST_LOSSES = 100
"""How often the reading process is started anew for one file; and `MOST_LOSSES_IN_A_ROW` without an entry between."""

MOST_LOSSES_IN_A_ROW = 10

CHECK_SPEED = 10 * 2**20
"""Slowest disk that a check waits for, in bytes a second."""

_HEAD_LIMIT = 64 * TEXT_LIMIT
_PIPE_SIZE = 2**20
_COUNT = re.compile(r"(.*)=\s*([0-9]{1,12})\s*\Z", re.DOTALL)


class _Lost(Exception):
    """The reading process is gone; ``is_hang`` says that it had to be ended."""

    def __init__(self, reason: str, *, is_hang: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_hang = is_hang


@dataclass(frozen=True, slots=True)
class ZimHeader:
    """What a ZIM file says of itself; '' or 0 where it says nothing, or not readably.

    ``language`` is a lower-case BCP 47 tag, '' where none or more than one is named; ``languages`` are all of them.
    ``counter`` has the number of items by type, as the file's maker counted. ``all_entry_count`` counts metadata and
    indexes too, ``entry_count`` what is content, ``article_count`` what its maker marked as a page: it can be 0 in a
    file full of pages. ``filesize`` is in bytes, of all parts.
    """

    path: str
    uuid: str
    title: str
    description: str
    creator: str
    publisher: str
    license: str
    language: str
    languages: tuple[str, ...]
    date: str
    tags: tuple[str, ...]
    source: str
    counter: dict[str, int]
    has_illustration: bool
    entry_count: int
    article_count: int
    all_entry_count: int
    main_entry: str
    is_multipart: bool
    has_checksum: bool
    filesize: int

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ZimItem:
    """Something with data. ``size`` is in bytes; ``data`` is None where not asked for or larger than the limit.

    The path is as the file has it, and may be anything: ``..`` and names that differ only in case included.
    """

    path: str
    title: str
    mimetype: str
    size: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class ZimRedirect:
    """Another name. ``target`` is one step further, and may be a redirect itself, even back to ``path``."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class ZimFailure:
    """An entry that cannot be read; ``path`` is its path, or where that is not known (``is_named`` is False) its place.

    ``is_content`` is False for metadata and indexes, of which only damage is told.
    """

    path: str
    reason: str
    is_content: bool = True
    is_named: bool = True


class ZimFile:
    """An open ZIM file, whole or split; any of its parts, or the name of the whole, opens it.

    Args:
        path: of the file.
        timeout: seconds without a heartbeat after which the reading process counts as hung.

    Raises ZimError where it cannot be opened. To be closed: it is a context manager.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = TIMEOUT) -> None:
        self.path, self._parts = find_parts(Path(path))
        self._timeout = timeout
        self._child: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()
        self._poll = select.poll()
        self._turn = 0
        self._is_idle = False  # and can be asked
        check_parts(self.path, self._parts)
        self.header = _read_header(self.path, self._start())

    def __enter__(self) -> ZimFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the reading process. An iteration that is still going on ends with a ZimError."""
        self._turn += 1
        self._stop()

    @property
    def pid(self) -> int | None:
        """The id of the reading process, None where there is none now."""
        return self._child.pid if self._child else None

    def entries(
        self,
        start: int = 0,
        wanted: Collection[str] = TEXT_TYPES,
        size_limit: int = SIZE_LIMIT,
        sample: int | None = None,
    ) -> Iterator[ZimItem | ZimRedirect | ZimFailure]:
        """All content in the file's order: items by cluster, then redirects, then damage in what is no content.

        The order is the same each time: ``start`` is how many were had before. A new iteration ends an older one.

        Args:
            start: how many to leave out at the beginning.
            wanted: the types, lower case, whose data are read.
            size_limit: largest item whose data are read, in bytes.
            sample: read at most so many entries, evenly spread over the file.

        Raises ZimError where the reading process ends again and again.
        """
        self._turn += 1
        return self._read_entries(self._turn, start, sorted(wanted), size_limit, sample)

    def check(self) -> bool | None:
        """Whether the file is as it was made; None without a checksum, or where the check did not end in time."""
        self._turn += 1
        try:
            self._ask({"do": "check"})
            head, _ = self._receive(self._timeout + self.header.filesize / CHECK_SPEED)
        except (_Lost, ZimError):
            self._stop()
            return None
        self._is_idle = True
        answer = head.get("check")
        return None if answer is None else bool(answer)

    def _read_entries(
        self, turn: int, start: int, wanted: list[str], size_limit: int, sample: int | None
    ) -> Iterator[ZimItem | ZimRedirect | ZimFailure]:
        request = {"do": "entries", "wanted": wanted, "limit": size_limit, "sample": sample}
        request["seconds"] = 2 * self._timeout + 1
        place, retried, losses, in_a_row = start, -1, 0, 0
        is_asked = False
        while True:
            if turn != self._turn:
                raise ZimError(f"{self.path}: closed, or read anew, while it was read")
            try:
                if not is_asked:
                    self._ask(request | {"start": place})
                    is_asked = True
                head, data = self._receive(self._timeout)
            except _Lost as loss:
                self._stop()
                is_asked = False
                losses, in_a_row = losses + 1, in_a_row + 1
                if losses > MOST_LOSSES or in_a_row > MOST_LOSSES_IN_A_ROW:
                    raise ZimError(f"{self.path}: given up after {losses} failures of libzim: {loss.reason}") from loss
                # It may have been ended from outside, for want of memory: the entry gets a second try.
                if not loss.is_hang and retried != place:
                    retried = place
                    continue
                place += 1
                yield ZimFailure(f"entry {place - 1:,} in the order of reading", loss.reason, is_named=False)
                continue
            if "end" in head:
                self._is_idle = True
                return
            if "at" not in head:  # a heartbeat
                continue
            place, in_a_row = head["at"] + 1, 0
            if "reason" in head:
                is_named = head["path"] is not None
                path = head["path"] if is_named else f"entry {head['number']:,}"
                yield ZimFailure(path, head["reason"], head["is_content"], is_named)
            elif "target" in head:
                yield ZimRedirect(head["path"], head["target"])
            elif "mimetype" in head:
                content = data if "has_data" in head else None
                yield ZimItem(head["path"], head["title"], head["mimetype"], head["size"], content)

    def _start(self) -> dict[str, Any]:
        """Start the reading process and return what it says of the file."""
        # As a file and with -P: the code of this version, and no module from the folder the caller is in.
        command = [sys.executable, "-P", zim_child.__file__, str(self.path), *map(str, self._parts)]
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)
        with contextlib.suppress(OSError):  # the system may allow less
            fcntl.fcntl(self._stdout, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        try:
            head, _ = self._receive(self._timeout)
            if "error" in head:
                raise ZimError(f"{self.path}: cannot be opened: {head['error']}")
        except _Lost as loss:
            self._stop()
            raise ZimError(f"{self.path}: cannot be opened: {loss.reason}") from loss
        except BaseException:
            self._stop()
            raise
        self._is_idle = True
        header: dict[str, Any] = head["header"]
        return header

    @property
    def _stdout(self) -> int:
        if self._child is None or self._child.stdout is None:
            raise _Lost("the reading process is gone", is_hang=False)
        return self._child.stdout.fileno()

    def _ask(self, request: dict[str, Any]) -> None:
        if not self._is_idle:  # it may be busy with an older request
            self._stop()
            self._start()
        self._is_idle = False
        if self._child is None or self._child.stdin is None:
            raise _Lost("the reading process is gone", is_hang=False)
        try:
            self._child.stdin.write(json.dumps(request).encode() + b"\n")
            self._child.stdin.flush()
        except OSError as error:
            raise self._tell_end() from error

    def _receive(self, seconds: float) -> tuple[dict[str, Any], bytes]:
        """The next frame; raises _Lost where the process has ended or says nothing for so long."""
        self._fill(FRAME.size, seconds)
        head_size, data_size = FRAME.unpack_from(self._buffer)
        if head_size > _HEAD_LIMIT:
            raise _Lost("libzim's process answered nonsense", is_hang=False)
        middle = FRAME.size + head_size
        end = middle + data_size
        self._fill(end, seconds)
        with memoryview(self._buffer) as view:
            text, data = bytes(view[FRAME.size : middle]), bytes(view[middle:end])
        del self._buffer[:end]  # moves no bytes: a bytearray drops its beginning by a pointer
        try:
            head: dict[str, Any] = json.loads(text.decode("ascii"))
        except ValueError as error:
            raise _Lost("libzim's process answered nonsense", is_hang=False) from error
        return head, data

    def _fill(self, size: int, seconds: float) -> None:
        while len(self._buffer) < size:
            deadline = time.monotonic() + seconds
            while not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                if time.monotonic() >= deadline:
                    raise _Lost(f"libzim did not come back within {seconds:g} s", is_hang=True)
            piece = os.read(self._stdout, max(_PIPE_SIZE, size - len(self._buffer)))
            if not piece:
                raise self._tell_end()
            self._buffer += piece

    def _tell_end(self) -> _Lost:
        code: int | None = None
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._child.wait(5)
        if code is not None and -code == signal.SIGPROF:
            return _Lost("libzim did not come back", is_hang=True)
        if code is not None and code < 0:
            return _Lost(f"libzim crashed ({signal.strsignal(-code)})", is_hang=False)
        return _Lost(f"libzim's process ended (exit code {code})", is_hang=False)

    def _stop(self) -> None:
        child, self._child = self._child, None
        self._is_idle = False
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._buffer = bytearray()


def _read_header(path: Path, head: dict[str, Any]) -> ZimHeader:
    languages = parse_languages(head["language"])
    texts = ("uuid", "title", "description", "creator", "publisher", "license", "date", "source", "main_entry")
    numbers = ("entry_count", "article_count", "all_entry_count", "filesize")
    truths = ("has_illustration", "is_multipart", "has_checksum")
    return ZimHeader(
        path=str(path),
        language=languages[0] if len(languages) == 1 else "",
        languages=languages,
        tags=tuple(tag.strip() for tag in head["tags"].split(";") if tag.strip()),
        counter=parse_counter(head["counter"]),
        **{name: head[name] for name in (*texts, *numbers, *truths)},
    )


def parse_languages(text: str) -> tuple[str, ...]:
    """The tags of a ZIM file's language, such as ``eng``, ``=en`` or ``eng,fra``; what names none is left out."""
    tags = (read_tag(part) for part in re.split(r"[,;\s]+", text[:TEXT_LIMIT]))
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def parse_counter(text: str) -> dict[str, int]:
    """The numbers of a ZIM file's counter, ``text/html=5;image/png=3``, by type without its parameters."""
    counts: dict[str, int] = {}
    pending: list[str] = []
    for piece in text.split(";"):
        pending.append(piece)
        if found := _COUNT.match(piece):  # what has no number belongs to a type with parameters
            mimetype = (pending[0] if len(pending) > 1 else found[1]).partition("=")[0].strip().lower()
            if mimetype:
                counts[mimetype] = counts.get(mimetype, 0) + int(found[2])
            pending = []
    return counts
