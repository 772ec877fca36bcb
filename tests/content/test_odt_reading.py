"""ODT files: headings, lists, tables, notes, metadata, what is not read, and files that are no good."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kbjobs.content.document import Extract, UnreadableDocument
from kbjobs.content.document_reading import extract_page
from tests.content.conftest import Read
from tests.content.office_files import make_odt, odt_files, zip_files

WINTER = Path(__file__).parent / "winter"
"""The same text in four formats, as LibreOffice 25.2 wrote it."""


def extract(content: bytes) -> Extract:
    return extract_page("a.odt", content, ".odt")


def outline(body: str) -> list[tuple[int, str]]:
    return [(block.level, block.text) for block in extract(make_odt(body)).blocks]


def test_a_document_has_its_metadata(read: Read) -> None:
    document = read(make_odt("<text:p>A stove warms the house.</text:p>"), "winter.odt")
    assert (document.title, document.language, document.word_count) == ("The winter house", "de-ch", 5)
    about = document.about
    assert (about.authors, about.categories, about.description) == (("Ada Keeper",), ("wool",), "How to live.")
    assert (about.published, about.modified) == ("2019-11-03", "2020-01-05")


def test_headings_and_titles() -> None:
    body = """<text:p text:style-name="P1">House</text:p><text:p text:style-name="Title">Again</text:p>
    <text:h text:outline-level="1">Fire</text:h><text:h text:outline-level="3">Oak</text:h><text:h>None</text:h>
    <text:h text:outline-level="99999">Deep</text:h><text:p text:style-name="P2">Text.</text:p>"""
    levels = [(1, "House"), (1, "Again"), (1, "Fire"), (3, "Oak"), (1, "None"), (6, "Deep"), (0, "Text.")]
    assert outline(body) == levels
    assert extract(make_odt(body, meta="")).title == "House"


def test_lists_and_sections() -> None:
    body = """<text:section><text:list><text:list-item><text:p>One</text:p><text:list><text:list-item>
    <text:p>Two</text:p></text:list-item></text:list></text:list-item></text:list></text:section>"""
    assert outline(body) == [(0, "One"), (0, "Two")]


def test_a_table_is_its_rows() -> None:
    body = """<table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>Wood</text:p><text:p>or
    coal</text:p></table:table-cell><table:covered-table-cell/><table:table-cell/><table:table-cell><text:p>2 kg
    </text:p></table:table-cell></table:table-row></table:table-header-rows><table:table-row><table:table-cell><table:table>
    <table:table-row><table:table-cell><text:p>a</text:p></table:table-cell></table:table-row></table:table>
    </table:table-cell></table:table-row></table:table>"""
    assert outline(body) == [(0, "Wood or coal | 2 kg"), (0, "a")]


def test_repeated_rows_are_read_once() -> None:
    body = """<table:table><table:table-row table:number-rows-repeated="1000000000"><table:table-cell
    table:number-columns-repeated="1000000000"><text:p>a<text:s text:c="1000000000"/>b</text:p></table:table-cell>
    </table:table-row></table:table>"""
    started = time.process_time()
    assert outline(body) == [(0, "a b")]
    assert time.process_time() - started < 1


def test_a_note_follows_its_paragraph() -> None:
    note = """<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>Dry for a year.</text:p>
    </text:note-body></text:note>"""
    body = f"<text:p>Oak{note} burns.</text:p><text:p>Next.</text:p>"
    assert outline(body) == [(0, "Oak burns."), (0, "Dry for a year."), (0, "Next.")]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a<text:tab/>b<text:line-break/>c<text:s/>d", "a b c d"),
        ("a<text:span>b<text:span>c</text:span></text:span>d", "abcd"),
        ("a<office:annotation><text:p>remark</text:p></office:annotation>b", "ab"),
        ("a<text:bookmark-start/>b<text:soft-page-break/>c", "abc"),
        ('a<text:a xlink:href="https://example.org/">b</text:a>', "ab"),
    ],
)
def test_runs(text: str, read: str) -> None:
    assert outline(f"<text:p>{text}</text:p>") == [(0, read)]


def test_links_are_kept() -> None:
    body = '<text:p><text:a xlink:href="https://example.org/x">b</text:a><text:a xlink:href="#y">c</text:a></text:p>'
    assert extract(make_odt(body)).references == ["https://example.org/x"]


def test_a_text_box_follows_its_paragraph() -> None:
    frame = """<drawing:frame><drawing:text-box><text:p>In the box.</text:p></drawing:text-box><drawing:title>t
    </drawing:title></drawing:frame>"""
    assert outline(f"<text:p>Out{frame}side.</text:p>") == [(0, "Outside."), (0, "In the box.")]


def test_deleted_text_and_indexes_are_left_out() -> None:
    body = """<text:tracked-changes><text:changed-region><text:deletion><text:p>Gone.</text:p></text:deletion>
    </text:changed-region></text:tracked-changes><text:table-of-content><text:index-body><text:p>Fire 3</text:p>
    </text:index-body></text:table-of-content><text:p>Here.</text:p>"""
    assert outline(body) == [(0, "Here.")]


ENCRYPTED = """<manifest xmlns="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"><file-entry full-path="content.xml">
<encryption-data/></file-entry></manifest>"""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"META-INF/manifest.xml": ENCRYPTED, "content.xml": b"\x01\x02"}, "encrypted and needs a password"),
        ({"content.xml": "<a"}, "not well-formed"),
        ({"content.xml": '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'}, "declares entities"),
        ({"content.xml": "<a>" * 1000}, "nested too deep"),
        ({"content.xml": "<a/>"}, "no text: it has no words"),
        ({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"}, "not have the form of an OpenDocument text"),
        ({"Basic/../../x": ""}, "outside of itself"),
        ({"content.xml": "<a>" + " " * 70_000_000 + "</a>"}, "unpacks to more"),
    ],
)
def test_a_bad_file_is_refused_with_a_reason(change: dict[str, str | bytes], reason: str) -> None:
    with pytest.raises(UnreadableDocument, match=reason):
        extract(zip_files(odt_files("<text:p>x</text:p>") | change))


def test_a_file_without_its_text_is_refused() -> None:
    files = odt_files("<text:p>x</text:p>")
    del files["content.xml"]
    with pytest.raises(UnreadableDocument, match=r"damaged: content.xml is missing"):
        extract(zip_files(files))


TEXT = [
    (1, "The winter house"),
    (0, "A stove of iron warms the house, if the wood is dry."),
    (2, "Wood"),
    (0, "Oak burns for hours; birch burns fast & hot — “at once”."),
    (0, "Split it in spring."),
    (0, "Stack it in the wind."),
    (0, "Not on the earth."),
    (0, "Wood | Hours"),
    (0, "Oak | 4"),
    (0, "Birch | 2"),
    (2, "Хлеб"),
    (0, "Хлеб пекут на горячих камнях. Füße, Œuvre, 日本語."),
    (0, "See the stove for more."),
    (0, "A note about stoves."),
]


@pytest.mark.parametrize("suffix", [".odt", ".docx"])
def test_files_that_libreoffice_wrote(suffix: str) -> None:
    found = extract_page("a", (WINTER / f"winter{suffix}").read_bytes(), suffix)
    assert [(block.level, block.text) for block in found.blocks] == TEXT
    assert (found.title, found.about.authors) == ("The winter house", ("Ada Keeper",))
