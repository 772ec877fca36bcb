"""Tables of records, written part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kbjobs.errors import UnavailableError
from kbjobs.packs.fields import Strict
from kbjobs.packs.json_lines import MAX_LINE, dump
from kbjobs.packs.manifest import Part, Table
from kbjobs.packs.parts import SealedPart, is_cut_behind, seal


class TableWriter:
    """Takes the records of a table in order, and yields its parts as they become full.

    Args:
        on_read: called with the size of every part in bytes before it is sealed; may raise.
        is_one_part: whether to write the whole table into one part.
    """

    def __init__(self, on_read: Callable[[int], None], is_one_part: bool = False) -> None:
        self._on_read = on_read
        self._is_one_part = is_one_part
        self._lines: list[bytes] = []
        self._size = 0
        self._records = 0
        self._parts: list[Part] = []

    @property
    def table(self) -> Table:
        """The table as written so far."""
        return Table(records=self._records, parts=self._parts)

    def add(self, record: Strict) -> Iterator[SealedPart]:
        """Add a record; yields a part if the record completes one."""
        line = dump(record.model_dump())
        if len(line) > MAX_LINE:
            raise UnavailableError(
                f"a record of {len(line):,} bytes is too large for a pack, which takes {MAX_LINE:,}",
                f"It begins with {line[:200]!r}.",
            )
        self._lines.append(line)
        self._size += len(line)
        self._records += 1
        if not self._is_one_part and is_cut_behind(line, len(line), self._size):
            yield from self.finish()

    def finish(self) -> Iterator[SealedPart]:
        """Yield the last part, if there is one."""
        if self._lines:
            self._on_read(self._size)
            sealed = seal(b"".join(self._lines))
            self._lines, self._size = [], 0
            self._parts.append(sealed.part)
            yield sealed
