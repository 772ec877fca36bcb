"""Mistakes in a chain file, shown as a compiler shows them: with the line and a caret."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kbjobs.errors import ExitCode

Kind = Literal["file", "syntax", "value", "order", "state", "advice"]
Severity = Literal["error", "warning"]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fix:
    """A change of the chain that resolves a diagnostic.

    ``add``: the job type of a phase to add before the one the diagnostic is about; ``move``: the index of a phase to
    move above it.
    """

    add: str = ""
    move: int | None = None


TAB_WIDTH = 4
MAX_WIDTH = 100  # columns of a line that are shown
MAX_SHOWN = 100  # diagnostics of one file that are shown
MAX_KEPT = 200  # diagnostics of one file that are kept
MAX_CELLS = 1000  # characters of a line that are considered


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A mistake, or a piece of advice.

    ``line`` and ``column`` count from 1; ``column`` and ``length`` are in characters. Line and column are None if there
    is no file, or no place in it. ``path`` leads to the value in the document, such as ``("phase", 0, "weight")``;
    ``at`` says whether the caret goes under its key or its value. ``expected`` says what would be right, ``hint`` what
    to do, and ``fix`` is a change that does it. ``exit_code`` is the code with which a submit refuses the chain for
    this error.
    """

    kind: Kind
    message: str
    severity: Severity = "error"
    line: int | None = None
    column: int | None = None
    length: int = 1
    expected: str = ""
    hint: str = ""
    path: Path = ()
    at: Literal["key", "value"] = "value"
    exit_code: ExitCode = ExitCode.USAGE
    fix: Fix | None = None

    def as_dict(self, origin: str) -> dict[str, Any]:
        """The diagnostic as JSON."""
        return {
            "file": origin,
            "line": self.line,
            "column": self.column,
            "length": self.length if self.line is not None else None,
            "severity": self.severity,
            "kind": self.kind,
            "message": self.message,
            "expected": self.expected or None,
            "hint": self.hint or None,
        }


def render_all(diagnostics: Sequence[Diagnostic], origin: str, text: str) -> str:
    """Render diagnostics one below the other, at most MAX_SHOWN of them.

    Args:
        diagnostics: the diagnostics to show.
        origin: the file's name, for people.
        text: the file's text, with line feeds as the only ends of lines.
    """
    shown = [render(one, origin, text) for one in diagnostics[:MAX_SHOWN]]
    if len(diagnostics) > MAX_SHOWN:
        shown.append("… and more")
    return "\n".join(shown)


def render(diagnostic: Diagnostic, origin: str, text: str) -> str:
    """Render one diagnostic: its place and message, the line with a caret, what was expected, and a hint.

    Args:
        diagnostic: the diagnostic to show.
        origin: the file's name, for people.
        text: the file's text, with line feeds as the only ends of lines.
    """
    place = visible(origin)
    if diagnostic.line is not None:
        place += f":{diagnostic.line}:{diagnostic.column}"
    lines = [f"{place}: {diagnostic.severity}: {visible(diagnostic.message)}"]
    if diagnostic.line is not None and diagnostic.column is not None:
        source = _line_of(text, diagnostic.line)
        number = str(diagnostic.line)
        shown, caret = _underline(source, diagnostic.column - 1, diagnostic.length)
        lines += [f" {number} | {shown}".rstrip(), f" {' ' * len(number)} | {caret}"]
    if diagnostic.expected:
        lines.append(f"   expected {visible(diagnostic.expected)}")
    if diagnostic.hint:
        lines.append(f"   {visible(diagnostic.hint)}")
    return "\n".join(lines)


def visible(text: str) -> str:
    """Put the text on one line, with every unprintable character as an escape."""
    return "".join(_visible_character(character) for character in text)


def width(text: str) -> int:
    """Count the columns that printable text takes in a terminal (East Asian Width: Unicode Standard Annex 11)."""
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _visible_character(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]


def _line_of(text: str, line: int) -> str:
    lines = text.split("\n", line)
    return lines[line - 1] if line <= len(lines) else ""


def _underline(source: str, start: int, length: int) -> tuple[str, str]:
    """Return the line as shown, and carets for the row below it, from the character ``start``."""
    cut = max(0, start - MAX_CELLS // 2) if len(source) > MAX_CELLS else 0
    source, start = source[cut : cut + MAX_CELLS], start - cut
    cells: list[str] = []
    at = 0
    for character in source:
        cell = " " * (TAB_WIDTH - at % TAB_WIDTH) if character == "\t" else _visible_character(character)
        cells.append(cell)
        at += width(cell)
    start = min(start, len(cells))
    end = max(start + 1, min(start + length, len(cells)))
    first, last = _window(cells, start, end)
    before, under = cells[first:start], cells[start : min(end, last)]
    prefix = "…" if first + cut > 0 else ""
    suffix = "…" if last < len(cells) or len(cells) == MAX_CELLS else ""
    shown = prefix + "".join(cells[first:last]) + suffix
    return shown, " " * (len(prefix) + width("".join(before))) + "^" * max(1, width("".join(under)))


def _window(cells: Sequence[str], start: int, end: int) -> tuple[int, int]:
    """Choose the part of a long line that is shown: the marked place and its surroundings."""
    if sum(map(width, cells)) <= MAX_WIDTH:
        return 0, len(cells)
    first, last, taken = start, start, 0
    while last < min(end, len(cells)) and taken + width(cells[last]) <= MAX_WIDTH * 2 // 3:
        taken += width(cells[last])
        last += 1
    before = 0
    while first > 0 and before + width(cells[first - 1]) <= (MAX_WIDTH - taken) // 2:
        before += width(cells[first - 1])
        first -= 1
    taken += before
    while last < len(cells) and taken + width(cells[last]) <= MAX_WIDTH:
        taken += width(cells[last])
        last += 1
    while first > 0 and taken + width(cells[first - 1]) <= MAX_WIDTH:
        taken += width(cells[first - 1])
        first -= 1
    return first, last
