"""Read a CSV file as rows: each row's text names the columns of its cells.

Sources: RFC 4180, and what spreadsheets write: semicolons, tabs, and a first line ``sep=;``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain, islice

from kbjobs.content.block_list import BlockList
from kbjobs.content.document import About, Extract

COLUMN_LIMIT = 2_000
"""The most columns of a table."""

COLUMN_NAME_LIMIT = 100
"""Longest name of a column, in characters: it is repeated in each row."""

_DELIMITERS = ",;\t|"
_SAMPLE = 65_536  # characters in which the delimiter is searched …
_SAMPLE_ROWS = 20  # … and rows in which the header is
_HEADER_SHARE = 0.5  # of the cells of the fullest row; a row with fewer is a note above the table
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")


def extract_csv(text: str) -> Extract:
    """Extract the rows of a table, each as "column: cell" with bars between the cells; empty cells are left out.

    The first row that fills most columns is the header, unless it has numbers alone. Rows above it are kept as they
    are. Raises ValueError, with a reason for people, if there are too many columns, or a quotation mark is not closed.
    """
    separator = _SEPARATOR_LINE.match(text)
    if separator:
        text = text[separator.end() :]
    rows = _read_rows(text, separator[1] if separator else _find_delimiter(text[:_SAMPLE]))
    first = list(islice(rows, _SAMPLE_ROWS))
    number = _find_header(first)
    found = BlockList()
    for row in first[:number]:
        found.add_row(row)
    names = _name_columns(first[number]) if number < len(first) else []
    begin = number + 1 if names else number
    for row in chain(first[begin:], rows):
        found.add_row([_label(names, column, cell) for column, cell in enumerate(row)])
    return Extract("", "", "", found.blocks, [], About(kind="dataset"))


def _read_rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the rows with any text. Python's limit of a cell, 131,072 characters, holds."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if len(row) > COLUMN_LIMIT:
                raise ValueError(
                    f"too many columns: {len(row):,} in line {reader.line_num:,}, the limit is {COLUMN_LIMIT:,}"
                )
            if any(map(str.strip, row)):
                yield row
    except csv.Error as error:
        raise ValueError(f"not a table: line {reader.line_num:,}: {error}") from error


def _find_delimiter(sample: str) -> str:
    """Return the delimiter that gives the most columns in most of the first rows."""
    lines = sample.splitlines(keepends=True)
    text = "".join(lines[:-1] if len(sample) == _SAMPLE and len(lines) > 1 else lines)

    def judge(delimiter: str) -> tuple[int, int]:
        try:
            widths = [len(row) for row in islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 50)]
        except csv.Error:
            return (0, 0)
        usual = max(set(widths), key=lambda width: (widths.count(width), width)) if widths else 0
        return (widths.count(usual) if usual > 1 else 0, usual)

    return max(_DELIMITERS, key=judge)


def _find_header(rows: list[list[str]]) -> int:
    """Return the number of the first row that fills most of the columns, or all but the first."""
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    most = max(filled, default=0)
    for number, (row, count) in enumerate(zip(rows, filled, strict=True)):
        if count > most * _HEADER_SHARE or (count == most - 1 and not row[0].strip()):
            return number
    return len(rows)


def _name_columns(header: list[str]) -> list[str]:
    """Return the names of the columns; none if no cell of the header has a letter."""
    names = [" ".join(name.split())[:COLUMN_NAME_LIMIT] for name in header]
    return names if any(map(_LETTER.search, names)) else []


def _label(names: list[str], column: int, cell: str) -> str:
    name = names[column] if column < len(names) else ""
    return f"{name}: {cell}" if name and cell.strip() else cell
