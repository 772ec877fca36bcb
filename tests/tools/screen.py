"""What a terminal shows of what is written to it: a screen that knows the few escape sequences which kbjobs may use."""

from __future__ import annotations

import re
import unicodedata

_TOKEN = re.compile(
    r"\x1b\[(?P<numbers>[0-9;?]*)(?P<letter>[A-Za-z])|\x1b\]8;(?P<parameters>[^;]*);(?P<link>[^\x1b\x07]*)\x1b\\"
    r"|(?P<control>[\x00-\x1f\x7f-\x9f])|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
)
_JOINER, _MODIFIERS = "\u200d", range(0x1F3FB, 0x1F400)


class Screen:
    """A terminal of so many columns and of endless height.

    ``links`` are the texts that lead somewhere, with their addresses; ``wrapped`` are lines that went on on the next.
    """

    def __init__(self, columns: int) -> None:
        """Begin empty."""
        self.columns = columns
        self.links: list[tuple[str, str]] = []
        self.wrapped: list[str] = []
        self._lines: list[list[str]] = [[]]
        self._row = self._column = 0
        self._link = ""

    @property
    def lines(self) -> list[str]:
        """The lines as they stand, without spaces at their ends."""
        return ["".join(cells).rstrip() for cells in self._lines]

    def write(self, output: str) -> Screen:
        """Show what a program writes; fails at a sequence that no terminal should be sent."""
        place = 0
        while place < len(output):
            found = _TOKEN.match(output, place)
            assert found is not None, f"what is this: {output[place : place + 40]!r}"
            place = found.end()
            if found["letter"]:
                self._control(found["letter"], found["numbers"])
            elif found["link"] is not None:
                self._link = found["link"]
                if self._link:
                    self.links.append(("", self._link))
            elif found["control"]:
                self._move(found["control"])
            else:
                self._show(found["text"])
        return self

    def _control(self, letter: str, numbers: str) -> None:
        if letter == "A":
            self._row = max(0, self._row - int(numbers or 1))
        elif letter == "K":
            self._lines[self._row] = [] if numbers == "2" else self._lines[self._row][: self._column]
        else:
            assert letter in "mhl", f"an escape sequence that ends in {letter}"

    def _move(self, control: str) -> None:
        assert control in "\r\n", f"the control character {control!r}"
        if control == "\r":
            self._column = 0
            return
        self._row, self._column = self._row + 1, 0
        if self._row == len(self._lines):
            self._lines.append([])

    def _show(self, text: str) -> None:
        if self._link:
            shown, link = self.links[-1]
            self.links[-1] = (shown + text, link)
        for cluster in clusters(text):
            width = width_of(cluster)
            if self._column + width > self.columns:
                self.wrapped.append("".join(self._lines[self._row]))
                self._move("\n")
            line = self._lines[self._row]
            line += [" "] * (self._column + width - len(line))
            line[self._column : self._column + width] = [cluster, *[""] * (width - 1)]
            self._column += width


def clusters(text: str) -> list[str]:
    """The text in pieces that a terminal draws at one place: a character with its marks, emoji that are joined."""
    found: list[str] = []
    for character in text:
        joins = found and (
            unicodedata.category(character) in ("Mn", "Me", "Cf")
            or (found[-1].endswith(_JOINER) and width_of(found[-1]) == 2)
            or ord(character) in _MODIFIERS
        )
        if joins:
            found[-1] += character
        else:
            found.append(character)
    return found


def width_of(cluster: str) -> int:
    """The cells of a piece: two for what is wide by Unicode Standard Annex 11."""
    if unicodedata.category(cluster[0]) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(cluster[0]) in ("W", "F") else 1


def cells(text: str) -> int:
    """How many cells a text takes."""
    return sum(width_of(cluster) for cluster in clusters(text))


def find_column(line: str, text: str) -> int:
    """The cell at which a text begins in a line."""
    return cells(line[: line.index(text)])
