"""Tables on a terminal: a header, then one line a row at any width, whatever script the texts are written in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unicodedata import category

from kbjobs.commands._errors import printable
from kbjobs.commands._links import find_link, takes_links
from kbjobs.commands._render import is_terminal, open_console, print_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

NARROW = 70  # columns of a terminal below which columns stand one space apart
ELLIPSIS = "…"
MARKS = ("Mn", "Me", "Mc", "Cf")  # categories of characters that belong to the one before them
# What stands for the signs on a terminal that knows no Unicode.
PLAIN = str.maketrans("▶◷✓✗⊘‖…·–━╸╺", ">@+xo|~,----")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        title: its header.
        good: cells that it keeps as long as later columns can give way; 0 if it is never shortened.
        least: cells that it is never shortened below.
        is_number: whether it stands on the right.
        keeps_end: whether its texts are shortened at their beginnings, as addresses are.
    """

    title: str
    good: int = 0
    least: int = 0
    is_number: bool = False
    keeps_end: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A text in a table.

    Args:
        text: what it says.
        style: how rich draws it.
        address: what it leads to, if anything.
        shorter: what it says instead if there is less room, the longest first.
    """

    text: str
    style: str = ""
    address: str = ""
    shorter: tuple[str, ...] = ()


def print_list(columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]]) -> None:
    """Print rows: on a terminal a line each, off one their whole texts separated by tabs."""
    if is_terminal(sys.stdout):
        print_rows(open_console(sys.stdout), columns, rows)
    else:
        print_table((), [[cell if isinstance(cell, str) else cell.text for cell in row] for row in rows])


def print_rows(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]]) -> None:
    """Print a header and a line for each row, none wider than the terminal.

    Args:
        console: the terminal.
        columns: what each row has.
        rows: their cells.
    """
    cells = [[Cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    texts = [[clean(cell.text) for cell in row] for row in cells]
    gap = 1 if console.width < NARROW else 2
    widths = fit_columns(columns, texts, console.width - gap * (len(columns) - 1))
    header = [Cell(column.title, "bold") for column in columns]
    has_links = takes_links(console.file)
    for row in [header, *cells]:
        print_line(console, _draw_row(columns, row, widths, gap, has_links))


def fit_columns(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Choose how many cells each column gets.

    Args:
        columns: what can be shortened, and how far.
        rows: the texts.
        room: cells for all columns together.
    """
    widths = [
        min(room, max([measure(column.title), *(measure(row[index]) for row in rows)]))
        for index, column in enumerate(columns)
    ]
    for bounds in ([column.good for column in columns], [column.least for column in columns]):
        for index in reversed(range(len(columns))):
            excess = sum(widths) - room
            if excess > 0 and columns[index].good:
                widths[index] = max(min(widths[index], bounds[index]), widths[index] - excess)
    return widths


def measure(text: str) -> int:
    """How many cells a text takes.

    rich counts the spacing marks of Indic scripts as nothing. glibc's wcwidth, and with it xterm, VTE and tmux, gives
    each a cell: a line that counted less would wrap.
    """
    from rich.cells import cell_len

    width = cell_len(text)
    return width if text.isascii() else width + sum(category(character) == "Mc" for character in text)


def choose_text(texts: Sequence[str], room: int) -> str:
    """The first text that fits, else the last one, shortened.

    Args:
        texts: the longest first.
        room: cells.
    """
    return next((text for text in texts if measure(text) <= room), None) or shorten(texts[-1], room)


def shorten(text: str, room: int, keeps_end: bool = False) -> str:
    """The text, with an ellipsis in place of what does not fit.

    Args:
        text: of any script.
        room: cells.
        keeps_end: whether it is the beginning that goes.
    """
    from rich.cells import set_cell_size

    if measure(text) <= room:
        return text
    if room < 1:
        return ""
    if keeps_end:
        start = max(0, len(text) - 4 * room)
        while measure(text[start:]) >= room or (start < len(text) and category(text[start]) in MARKS):
            start += 1
        return ELLIPSIS + text[start:]
    shown = set_cell_size(text, room - 1)
    while measure(shown) >= room:
        shown = shown[:-1]
    return shown.rstrip() + ELLIPSIS


def pad(text: str, width: int, is_number: bool = False) -> str:
    """The text with spaces behind it, or before it, up to a width in cells."""
    spaces = " " * max(0, width - measure(text))
    return spaces + text if is_number else text + spaces


def wrap(console: Console, text: str, width: int) -> list[str]:
    """The text in lines of at most so many cells, broken at spaces if there are any."""
    from rich.text import Text

    return [line.plain.rstrip() for line in wrap_text(console, Text(printable(text)), width)]


def wrap_text(console: Console, text: Text, width: int) -> list[Text]:
    """The same as :func:`wrap`, with styles."""
    room = max(1, width)
    lines = list(text.wrap(console, room, overflow="fold"))
    while room > 1 and any(measure(line.plain.rstrip()) > width for line in lines):
        room -= 1
        lines = list(text.wrap(console, room, overflow="fold"))
    return lines


def clean(text: str) -> str:
    """The text on one line, with nothing in it that harms a terminal."""
    return printable(text).replace("\n", " ")


def print_line(console: Console, line: Text) -> None:
    """Print a line that is never wrapped."""
    line.rstrip()
    console.print(fit_encoding(console, line), no_wrap=True, overflow="crop")


def fit_encoding(console: Console, text: Text) -> Text:
    """The text, with plain characters for signs that the terminal's encoding does not have."""
    if not console.encoding.startswith("utf"):
        text.plain = text.plain.translate(PLAIN)
    return text


def link_text(text: str, style: str, address: str, has_links: bool) -> Text:
    """A text that leads to an address, if the terminal takes links and the address is safe."""
    from rich.style import Style
    from rich.text import Text

    link = find_link(address) if has_links and address else None
    return Text(text, style=Style.parse(style) + Style(link=link) if link else style)


def _draw_row(columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int], gap: int, has_links: bool) -> Text:
    from rich.text import Text

    line = Text()
    for column, cell, width in zip(columns, row, widths, strict=True):
        texts = [clean(text) for text in (cell.text, *cell.shorter)]
        shown = choose_text(texts, width) if len(texts) > 1 else shorten(texts[0], width, column.keeps_end)
        spaces = " " * (width - measure(shown))
        drawn = link_text(shown, cell.style, cell.address, has_links)
        line.append(spaces if column.is_number else "").append_text(drawn)
        line.append(("" if column.is_number else spaces) + " " * gap)
    return line
