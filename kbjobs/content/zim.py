"""Read a ZIM file: its header, and its entries in the order in which they are stored.

libzim reads it in a separate process (:mod:`kbjobs.content.zim_service`). If that crashes or hangs, one entry counts as
unreadable and the others are still read. In neither process does memory grow with the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kbjobs.content.language import read_tag
from kbjobs.content.zim_parts import ZimError, check_parts, find_parts, is_zim
from kbjobs.content.zim_service import MEMORY_LIMIT, TEXT_LIMIT, ZimService
from kbjobs.system.child_process import ChildError, ChildLimits, ChildLost, ChildProcess, ChildProgram
from kbjobs.system.closing import Closable

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

SERVICE = f"{ZimService.__module__}:{ZimService.__name__}"
"""The service in the reading process."""

TEXT_TYPES = frozenset({"text/html", "application/xhtml+xml", "text/plain"})
"""The types whose data are read unless others are requested."""

SIZE_LIMIT = 32 * 2**20
"""Largest item whose data are read, in bytes."""

TIMEOUT = 60.0
"""Seconds without a heartbeat after which the reading process counts as hung."""

MAX_LOSSES = 100
"""How often the reading process is restarted for one file; at most `MAX_LOSSES_IN_A_ROW` times without an entry."""

MAX_LOSSES_IN_A_ROW = 10

CHECK_SPEED = 10 * 2**20
"""Slowest disk that a check waits for, in bytes per second."""

_COUNT = re.compile(r"(.*)=\s*([0-9]{1,12})\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ZimHeader:
    """What a ZIM file says about itself; '' or 0 if it says nothing, or nothing readable.

    ``language`` is a lower-case BCP 47 tag, '' if none or more than one is named; ``languages`` are all of them.
    ``counter`` has the number of items by type, as the file's maker counted. ``all_entry_count`` includes metadata and
    indexes, ``entry_count`` only content, ``article_count`` only what its maker marked as a page: it can be 0 in a file
    full of pages. ``filesize`` is in bytes, of all parts.
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
        """The header as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ZimItem:
    """An entry with data. ``size`` is in bytes; ``data`` is None if not requested or larger than the limit.

    The path is as in the file, and may be anything, including ``..`` and names that differ only in case.
    """

    path: str
    title: str
    mimetype: str
    size: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class ZimRedirect:
    """An alias. ``target`` is one step further, and may be a redirect itself, even back to ``path``."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class ZimFailure:
    """An unreadable entry; ``path`` is its path, or its position if that is unknown (``is_named`` is False).

    ``is_content`` is False for metadata and indexes, for which only damage is reported.
    """

    path: str
    reason: str
    is_content: bool = True
    is_named: bool = True


class ZimFile(Closable):
    """An open ZIM file, whole or split; any of its parts, or the name of the whole, opens it.

    Args:
        path: the file's path.
        timeout: seconds without a heartbeat after which the reading process counts as hung.
        check: called while waiting for that process; if it raises, the process ends.

    Raises ZimError if it cannot be opened. To be closed: it is a context manager.
    """

    def __init__(
        self, path: str | os.PathLike[str], timeout: float = TIMEOUT, check: Callable[[], None] | None = None
    ) -> None:
        self.path, self._parts = find_parts(Path(path))
        # Processor time: this limit holds, and a hang ends, even if this process is gone.
        self._limits = ChildLimits(2 * timeout + 1, timeout, check)
        self._turn = 0
        check_parts(self.path, self._parts)
        self._child = ChildProcess(ChildProgram(SERVICE, (self.path, self._parts), MEMORY_LIMIT), "libzim's process")
        try:
            self.header = _read_header(self.path, self._child.ask("header", limits=self._limits))
        except (ChildError, ChildLost) as error:
            self._child.stop()
            raise ZimError(f"{self.path}: cannot be opened: {_explain(error)}") from error
        except BaseException:
            self._child.stop()
            raise

    def close(self) -> None:
        """End the reading process. An iteration in progress ends with a ZimError."""
        self._turn += 1
        self._child.stop()

    @property
    def pid(self) -> int | None:
        """The PID of the reading process, None if there is none now."""
        return self._child.pid

    def entries(
        self,
        start: int = 0,
        wanted: Collection[str] = TEXT_TYPES,
        size_limit: int = SIZE_LIMIT,
        sample: int | None = None,
    ) -> Iterator[ZimItem | ZimRedirect | ZimFailure]:
        """Yield all content in the file's order: items by cluster, then redirects, then damage outside of content.

        The order is the same each time; ``start`` is the number of entries already read. A new iteration ends an older
        one.

        Args:
            start: how many entries to skip at the beginning.
            wanted: the types, lower case, whose data are read.
            size_limit: largest item whose data are read, in bytes.
            sample: the most entries to read, evenly spread over the file.

        Raises ZimError if the reading process ends again and again.
        """
        self._turn += 1
        return self._read_entries(self._turn, start, frozenset(wanted), size_limit, sample)

    def find(self, path: str, wanted: Collection[str] = TEXT_TYPES) -> ZimItem | ZimRedirect | ZimFailure | None:
        """Find the entry of a path, with its data if its type is ``wanted``; None if there is none.

        Raises ZimError if the reading process ends.
        """
        self._turn += 1
        try:
            found = list(self._child.stream("find", path, frozenset(wanted), SIZE_LIMIT, limits=self._limits))
        except (ChildError, ChildLost) as error:
            raise ZimError(f"{self.path}: {path} cannot be read: {_explain(error)}") from error
        return _read_entry(*found[0]) if found else None

    def check(self) -> bool | None:
        """Verify the file's checksum; None if it has none, or if the check did not end in time."""
        self._turn += 1
        seconds = self._limits.wall_seconds + self.header.filesize / CHECK_SPEED
        try:
            found: bool | None = self._child.ask("check", limits=replace(self._limits, seconds=seconds, wait=seconds))
        except (ChildError, ChildLost):
            return None
        return found

    def _read_entries(
        self, turn: int, start: int, wanted: frozenset[str], size_limit: int, sample: int | None
    ) -> Iterator[ZimItem | ZimRedirect | ZimFailure]:
        place, retried, losses, in_a_row = start, -1, 0, 0
        while True:
            try:
                for head, data in self._child.stream("entries", place, wanted, size_limit, sample, limits=self._limits):
                    place, in_a_row = head["at"] + 1, 0
                    if (entry := _read_entry(head, data)) is not None:
                        yield entry
                        if turn != self._turn:
                            raise ZimError(f"{self.path}: closed, or read anew, while it was read")
                return
            except ChildError as error:
                raise ZimError(f"{self.path}: cannot be opened: {_explain(error)}") from error
            except ChildLost as loss:
                if turn != self._turn:
                    raise ZimError(f"{self.path}: closed, or read anew, while it was read") from loss
                losses, in_a_row = losses + 1, in_a_row + 1
                if losses > MAX_LOSSES or in_a_row > MAX_LOSSES_IN_A_ROW:
                    raise ZimError(f"{self.path}: abandoned after {losses} failures of libzim: {loss.reason}") from loss
                # The process may have been killed from outside, for lack of memory: the entry gets a second try.
                if not loss.is_late and retried != place:
                    retried = place
                    continue
                place += 1
                yield ZimFailure(f"entry {place - 1:,} in the order of reading", _explain(loss), is_named=False)


def _read_entry(head: dict[str, Any], data: bytes) -> ZimItem | ZimRedirect | ZimFailure | None:
    """Interpret a frame of the reading process; None for undamaged entries that are not content."""
    if "reason" in head:
        is_named = head["path"] is not None
        path = head["path"] if is_named else f"entry {head['number']:,}"
        return ZimFailure(path, head["reason"], head["is_content"], is_named)
    if "target" in head:
        return ZimRedirect(head["path"], head["target"])
    if "mimetype" in head:
        content = data if "has_data" in head else None
        return ZimItem(head["path"], head["title"], head["mimetype"], head["size"], content)
    return None


def _explain(error: ChildError | ChildLost) -> str:
    if isinstance(error, ChildError):
        return error.message if error.kind == "ValueError" else str(error)
    return "libzim did not come back in time" if error.is_late else error.reason


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
    """Read the tags of a ZIM file's language, such as ``eng``, ``=en`` or ``eng,fra``; unknown ones are left out."""
    tags = (read_tag(part) for part in re.split(r"[,;\s]+", text[:TEXT_LIMIT]))
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def parse_counter(text: str) -> dict[str, int]:
    """Read the numbers of a ZIM file's counter, ``text/html=5;image/png=3``, by type without its parameters."""
    counts: dict[str, int] = {}
    pending: list[str] = []
    for piece in text.split(";"):
        pending.append(piece)
        if found := _COUNT.match(piece):  # a piece without a number belongs to a type with parameters
            mimetype = (pending[0] if len(pending) > 1 else found[1]).partition("=")[0].strip().lower()
            if mimetype:
                counts[mimetype] = counts.get(mimetype, 0) + int(found[2])
            pending = []
    return counts
