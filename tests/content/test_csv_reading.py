"""CSV files: rows that name their columns, delimiters, headers, and tables that are no good."""

from __future__ import annotations

import time

import pytest

from kbjobs.content.csv_reading import COLUMN_NAME_LIMIT
from kbjobs.content.document import UnreadableDocument
from kbjobs.content.document_reading import extract_page
from tests.content.conftest import Read


def rows(content: str | bytes, suffix: str = ".csv") -> list[str]:
    data = content if isinstance(content, bytes) else content.encode()
    return [block.text for block in extract_page(f"a{suffix}", data, suffix).blocks]


def test_a_table_is_a_document_named_for_its_file(read: Read) -> None:
    document = read("wood,hours\noak,4\nbirch,2\n", "lists/fire wood.csv")
    assert (document.title, document.about.kind) == ("fire wood", "dataset")
    assert [block.text for block in document.blocks] == ["wood: oak | hours: 4", "wood: birch | hours: 2"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    lines = [["wood", "price, EUR" if delimiter != "," else "price"], ["oak", "4"], ["birch", "2"]]
    text = "\n".join(delimiter.join(line) for line in lines)
    assert rows(text) == [f"wood: oak | {lines[0][1]}: 4", f"wood: birch | {lines[0][1]}: 2"]


def test_a_comma_within_numbers_is_no_delimiter() -> None:
    assert rows("wood;weight;price\noak;1,5;2,25\nbirch;2,5;3,75\n")[1] == "wood: birch | weight: 2,5 | price: 3,75"


def test_a_spreadsheet_may_name_the_delimiter() -> None:
    assert rows("sep=^\r\nwood^hours\r\noak^4\r\n") == ["wood: oak | hours: 4"]


def test_tab_separated_values() -> None:
    assert rows("wood\thours\noak\t4\n", ".tsv") == ["wood: oak | hours: 4"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a,b\n"one\ntwo, three",x\n', ["a: one two, three | b: x"]),
        ('a,b\n"say ""yes""",x\n', ['a: say "yes" | b: x']),
        ("a,b,c\n1,,3\n", ["a: 1 | c: 3"]),
        ("a,b\n1,2,3\n", ["a: 1 | b: 2 | 3"]),
        (",b\n1,2\n", ["1 | b: 2"]),
        ("a,b\n\n , \n1,2\n", ["a: 1 | b: 2"]),
        ("1,2\n3,4\n", ["1 | 2", "3 | 4"]),
        (
            "The stock of wood\n\nwood,hours,place\noak,4,shed\n",
            ["The stock of wood", "wood: oak | hours: 4 | place: shed"],
        ),
        ("country,1960,1961\nChad,3,4\n", ["country: Chad | 1960: 3 | 1961: 4"]),
        ("word\none\ntwo\n", ["word: one", "word: two"]),
        ("a,b\r1,2\r", ["a: 1 | b: 2"]),
    ],
)
def test_rows(text: str, expected: list[str]) -> None:
    assert rows(text) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(encoding: str) -> None:
    assert rows("Holz;Größe\nBuche für Öfen;groß\n".encode(encoding)) == ["Holz: Buche für Öfen | Größe: groß"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("," * 3_000_000, "too many columns: 3,000,001 in line 1, the limit is 2,000"),
        ("a,b\n1," + '"' + "x" * 200_000, "line 2: field larger than field limit"),
        (b"\x89PNG\r\n\x1a\n" * 1000, "binary content"),
        ("a,b\n", "no text: it has no words"),
        (",,,\n,,,\n", "no text: it has no words"),
    ],
)
def test_a_bad_table_is_refused_with_a_reason(content: str | bytes, reason: str) -> None:
    with pytest.raises(UnreadableDocument, match=reason):
        rows(content)


def test_a_long_name_of_a_column_is_cut() -> None:
    assert rows(f"{'n' * 5000},b\n1,2\n") == [f"{'n' * COLUMN_NAME_LIMIT}: 1 | b: 2"]


def test_names_do_not_multiply_a_table_for_ever() -> None:
    names = ",".join("n" * COLUMN_NAME_LIMIT for _ in range(1000))
    started = time.process_time()
    with pytest.raises(UnreadableDocument, match="too much text"):
        rows(f"{names}\n" + ("1," * 999 + "1\n") * 2_000)
    assert time.process_time() - started < 5


def test_a_large_table_is_read_in_seconds() -> None:
    started = time.process_time()
    assert len(rows("wood,hours,place\n" + "oak,4,shed\n" * 100_000)) == 100_000
    assert time.process_time() - started < 5
