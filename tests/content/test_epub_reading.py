"""EPUBs: chapters in reading order, headings of the table of contents, metadata, and books that are no good."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from kbjobs.content.document import Block, Extract, UnreadableDocument
from kbjobs.content.document_reading import extract_page
from kbjobs.content.epub_contents import fold_title
from tests.content.conftest import Read
from tests.content.office_files import epub_files, make_chapter, make_epub, zip_files

CHAPTERS = {"b.xhtml": "<p>The lamp burns.</p>", "a.xhtml": "<p>The storm comes.</p>"}


def extract(book: bytes) -> Extract:
    return extract_page("book.epub", book, ".epub")


def outline(book: bytes) -> list[tuple[int, str]]:
    return [(block.level, block.text) for block in extract(book).blocks]


def test_chapters_are_in_reading_order_and_the_package_describes_the_book(read: Read) -> None:
    document = read(make_epub(CHAPTERS), "shelf/lighthouse.epub")
    assert [block.text for block in document.blocks] == ["The lamp burns.", "The storm comes."]
    assert (document.title, document.language) == ("The Lighthouse", "en-gb")
    about = document.about
    assert (about.kind, about.published, about.modified) == ("book", "1999-05-17", "2020-02-03")
    assert (about.authors, about.categories) == (("Ada Keeper", "Ben Oar"), ("Sea",))
    assert about.description == "A keeper and his lamp."


def test_a_book_is_known_by_its_content(read: Read) -> None:
    assert read(make_epub(CHAPTERS), "book.txt").title == "The Lighthouse"


TOC = """<ol><li><a href="b.xhtml">Part one</a><ol><li><a href="b.xhtml#s">Oil &amp; wick</a></li></ol></li>
<li><a href="a.xhtml">Storm</a></li></ol>"""
NCX = """<navPoint><navLabel><text>Part one</text></navLabel><content src="b.xhtml"/>
<navPoint><navLabel><text>Oil &amp; wick</text></navLabel><content src="b.xhtml#s"/></navPoint></navPoint>
<navPoint><navLabel><text>Storm</text></navLabel><content src="a.xhtml"/></navPoint>"""


@pytest.mark.parametrize("contents", [{"toc": TOC}, {"ncx": NCX}, {"toc": TOC, "ncx": "<navPoint/>"}])
def test_the_table_of_contents_gives_headings(contents: dict[str, str]) -> None:
    chapters = {"b.xhtml": '<p>Lamp.</p><div id="s"><p>Oil.</p></div>', "a.xhtml": "<p>Wind.</p>"}
    expected = [(1, "Part one"), (0, "Lamp."), (2, "Oil & wick"), (0, "Oil."), (1, "Storm"), (0, "Wind.")]
    assert outline(make_epub(chapters, **contents)) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<h2>Part One</h2><p>Lamp.</p>", [(1, "Part one"), (0, "Lamp.")]),
        ('<p class="h">PART ONE</p><p>Lamp.</p>', [(1, "Part one"), (0, "Lamp.")]),
        ("<h3>Part one: the keeper</h3><p>Lamp.</p>", [(1, "Part one: the keeper"), (0, "Lamp.")]),
        ("<h1>Part</h1><h1>One</h1><p>Lamp.</p>", [(1, "Part one"), (0, "Lamp.")]),
        ("<p>Lamp.</p><h1>Another</h1><p>x</p>", [(1, "Part one"), (0, "Lamp."), (2, "Another"), (0, "x")]),
        ('<section id="s"><h4>Oil &amp; wick</h4><p>y</p></section>', [(1, "Part one"), (2, "Oil & wick"), (0, "y")]),
        ('<h2 id="s">Oil &amp; wick</h2><p>y</p>', [(1, "Part one"), (2, "Oil & wick"), (0, "y")]),
        ('<p>x <a id="s"/>y</p>', [(1, "Part one"), (0, "x"), (2, "Oil & wick"), (0, "y")]),
        (
            '<table><tr><th id="s">a</th><td>b</td></tr></table>',
            [(1, "Part one"), (2, "Oil & wick"), (0, "a | b")],
        ),
    ],
)
def test_a_title_that_the_chapter_repeats_is_one_heading(body: str, expected: list[tuple[int, str]]) -> None:
    assert outline(make_epub({"b.xhtml": body}, toc=TOC)) == expected


def test_a_printed_table_of_contents_is_left_out() -> None:
    titles = ["Lamps", "Storms", "Ships"]
    toc = "<ol>" + "".join(f'<li><a href="{name}.xhtml">{name}</a></li>' for name in titles) + "</ol>"
    printed = "".join(f"<p>{number}. {name}</p>" for number, name in enumerate(titles, 1))
    chapters = {"title.xhtml": f"<p>A book.</p>{printed}<p>Lamps</p>"}
    chapters |= {f"{name}.xhtml": f"<p>About {name}.</p>" for name in titles}
    texts = [block.text for block in extract(make_epub(chapters, toc=toc)).blocks if block.kind == "text"]
    assert texts == ["A book.", "About Lamps.", "About Storms.", "About Ships."]


def test_nothing_in_a_chapter_is_taken_for_furniture() -> None:
    body = """<header><h1>Oil</h1></header><div class="sidebar"><p>A box.</p></div><main><p>Main.</p></main>
    <aside epub:type="footnote"><p>A note.</p></aside><footer><p>The end.</p></footer>"""
    texts = [text for _, text in outline(make_epub({"a.xhtml": body}))]
    assert texts == ["Oil", "A box.", "Main.", "A note.", "The end."]


def test_a_hostile_mark_names_no_entry() -> None:
    body = '<p>&#xFDD0;7&#xFDD0; x</p><p id="s">y</p>'
    assert outline(make_epub({"b.xhtml": body}, toc=TOC)) == [(1, "Part one"), (0, "x"), (2, "Oil & wick"), (0, "y")]


def test_a_damaged_table_of_contents_costs_no_text() -> None:
    files = epub_files(CHAPTERS, toc=TOC) | {"OEBPS/nav.xhtml": "<nav"}
    assert [block.text for block in extract(zip_files(files)).blocks] == ["The lamp burns.", "The storm comes."]


def test_a_chapter_that_is_missing_is_left_out_unless_none_is_left() -> None:
    files = epub_files(CHAPTERS)
    del files["OEBPS/b.xhtml"]
    assert [block.text for block in extract(zip_files(files)).blocks] == ["The storm comes."]
    del files["OEBPS/a.xhtml"]
    with pytest.raises(UnreadableDocument, match=r"damaged: OEBPS/b.xhtml is missing"):
        extract(zip_files(files))


def test_a_chapter_is_read_once_however_often_it_is_listed() -> None:
    files = epub_files(CHAPTERS)
    package = str(files["OEBPS/book.opf"])
    files["OEBPS/book.opf"] = package.replace('<itemref idref="c0"/>', '<itemref idref="c0"/>' * 1000)
    assert len(extract(zip_files(files)).blocks) == 2


def encrypted(path: str) -> bytes:
    files = epub_files(CHAPTERS) | {
        "META-INF/encryption.xml": f'<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
        f"<EncryptedData><CipherData><CipherReference URI='{path}'/></CipherData></EncryptedData></encryption>"
    }
    return zip_files(files)


def test_an_encrypted_book_is_refused_and_encrypted_fonts_do_not_matter() -> None:
    assert len(extract(encrypted("OEBPS/font.otf")).blocks) == 2
    with pytest.raises(UnreadableDocument, match="encrypted"):
        extract(encrypted("OEBPS/a.xhtml"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"META-INF/container.xml": "<container/>"}, "does not name its contents"),
        ({"META-INF/container.xml": "<container"}, "not well-formed"),
        ({"OEBPS/book.opf": "<package/>"}, "no chapters"),
        ({"OEBPS/book.opf": '<!DOCTYPE p [<!ENTITY a "b">]><package>&a;</package>'}, "declares entities"),
        ({"OEBPS/a.xhtml": b"\0\1\2" * 900, "OEBPS/b.xhtml": b"\0\1\2" * 900}, "binary content"),
        ({"OEBPS/../../etc/passwd": "x"}, "outside of itself"),
        ({"OEBPS/a.xhtml": "<p>" + "a " * 33_000_000}, "unpacks to more than can be read"),
    ],
)
def test_a_bad_book_is_refused_with_a_reason(change: dict[str, str | bytes], reason: str) -> None:
    with pytest.raises(UnreadableDocument, match=reason):
        extract(zip_files(epub_files(CHAPTERS) | change))


@pytest.mark.parametrize("book", [b"no zip file", make_epub(CHAPTERS)[:-30], make_epub(CHAPTERS)[:200], zip_files({})])
def test_a_damaged_book_is_refused(book: bytes) -> None:
    with pytest.raises(UnreadableDocument, match="damaged"):
        extract(book)


def test_references_lead_out_of_the_book() -> None:
    body = '<p><a href="a.xhtml">in</a> <a href="https://example.org/x">out</a></p>'
    assert extract(make_epub({"b.xhtml": body})).references == ["https://example.org/x"]


def test_a_chapter_in_an_old_charset() -> None:
    files = epub_files({"a.xhtml": ""})
    text = make_chapter("<p>Füße über Öl</p>").replace("utf-8", "iso-8859-1")
    files["OEBPS/a.xhtml"] = text.encode("latin-1")
    assert extract(zip_files(files)).blocks == [Block("text", 0, "Füße über Öl")]


def test_the_debian_policy_has_its_outline(policy: Path) -> None:
    found = extract((policy / "policy.epub").read_bytes())
    headings = [block for block in found.blocks if block.kind == "heading"]
    assert found.title == "Debian Policy Manual"
    assert len(headings) > 200
    assert {block.level for block in headings} >= {1, 2, 3}
    text = fold_title(gzip.decompress((policy / "policy.txt.gz").read_bytes()).decode())
    numbered = [block.text for block in headings if re.match(r"\d+\.\d+\. ", block.text)]
    assert len(numbered) > 100
    assert not [heading for heading in numbered if fold_title(heading) not in text]
