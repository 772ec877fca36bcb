"""RTF files: headings, tables, notes, letters of any alphabet, what is not read, and files that are no good."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kbjobs.content import block_list
from kbjobs.content.document import Extract, UnreadableDocument
from kbjobs.content.document_reading import extract_page
from tests.content.conftest import Read
from tests.content.test_odt_reading import TEXT, WINTER


def extract(content: str) -> Extract:
    return extract_page("a.rtf", content.encode("latin-1"), ".rtf")


def outline(body: str) -> list[tuple[int, str]]:
    return [(block.level, block.text) for block in extract(rf"{{\rtf1\ansi {body}}}").blocks]


def test_a_document_has_its_properties(read: Read) -> None:
    info = r"""{\info{\title The winter house}{\author Ada Keeper;Ben Oar}{\keywords wool, bread}{\subject How to live.}
    {\creatim\yr2019\mo11\dy3\hr9}{\revtim\yr2020\mo1\dy5}{\operator Nobody}}"""
    document = read(rf"{{\rtf1\ansi{info}A stove.\par}}", "winter.rtf")
    about = document.about
    assert (document.title, about.authors, about.categories) == (
        "The winter house",
        ("Ada Keeper", "Ben Oar"),
        ("wool", "bread"),
    )
    assert (about.description, about.published, about.modified) == ("How to live.", "2019-11-03", "2020-01-05")
    assert [block.text for block in document.blocks] == ["A stove."]


def test_styles_give_headings() -> None:
    sheet = r"{\stylesheet{\s0 Normal;}{\s1\b heading 1;}{\s5\outlinelevel2 Own;}{\s7 Title;}{\*\cs9 heading 2;}}"
    body = rf"{sheet}\pard\s7 House\par\pard\s1 Fire\par\pard\s5 Oak\par\pard\outlinelevel1 Ash\par\pard Text.\par"
    assert outline(body) == [(1, "House"), (1, "Fire"), (3, "Oak"), (2, "Ash"), (0, "Text.")]
    assert extract(rf"{{\rtf1 {body}}}").title == "House"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"a\tab b\line c\~d\_e\-f", "a b c d-ef"),
        (r"\{a\} \\ b", r"{a} \ b"),
        (r"\ldblquote a\rdblquote\emdash b", "“a”—b"),
        (r"{\b bold}{\i  italic} {\plain plain}", "bold italic plain"),
        (r"a{\v hidden}{\deleted gone}b", "ab"),
        (r"\v x\v0 y", "y"),
        ("a\r\nb", "ab"),
        (r"caf\'e9 d\'e9j\'e0", "café déjà"),
        ("caf\xe9", "café"),
        (r"\u1061?\u1083?", "Хл"),
        (r"\uc0\u1061\u1083", "Хл"),
        (r"\uc2\u1061\'d5\'d5\u1083\'eb\'ebx", "Хлx"),
        (r"\u-10179?\u-8704?", "\U0001f600"),
        (r"{\uc3\u65 abc}d", "Ad"),
        (r"{\field{\*\fldinst HYPERLINK \"https://x.org\"}{\fldrslt link}}", "link"),
        (r"{\pict\pngblip 89504e470d0a}a", "a"),
        (r"{\*\unknown x {y}}a", "a"),
        (r"{\header h}{\footerl f}{\annotation n}a", "a"),
        (r"{\listtext 1.}a", "a"),
        ("{\\pict\\bin6 {}}{\\\\}a", "a"),
    ],
)
def test_text(body: str, text: str) -> None:
    assert outline(body) == [(0, text)]


FONTS = r"{\fonttbl{\f0\fcharset0 Times;}{\f1\fcharset204 Times Cyr;}{\f2\fcharset128 Mincho;}{\f3\fcharset99 X;}}"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"\f1 \'d5\'eb\'e5\'e1\f0  \'e9", "Хлеб é"),
        (r"{\f2 \'93\'fa\'96\'7b}", "日本"),
        (r"\f3 \'e9\f9 \'e9", "éé"),
        (r"\ansicpg1251 \'d5", "Х"),
        (r"\ansicpg99999 \'e9", "é"),
        (r"\ansicpg65001 \'c3\'a9", "é"),
    ],
)
def test_letters_have_the_code_page_of_their_font(body: str, text: str) -> None:
    assert outline(FONTS + body) == [(0, text)]


def test_a_table_is_its_rows() -> None:
    body = r"""\pard\intbl Wood\par or coal\cell\cell 2 kg\cell\row\pard\intbl a\cell{b}\cell\row\pard After.\par"""
    assert outline(body) == [(0, "Wood or coal | 2 kg"), (0, "a | b"), (0, "After.")]


def test_a_note_or_text_box_follows_its_paragraph() -> None:
    body = r"Oak{\super 1{\footnote\pard\plain 1 Dry for\par a {\b year}.}} burns.\par Next.\par"
    assert outline(body) == [(0, "Oak1 burns."), (0, "1 Dry for a year."), (0, "Next.")]
    box = r"{\shp{\*\shpinst\shpleft1{\sp{\sn name}{\sv value}}{\shptxt In the box.\par}}{\shprslt{\pict x}}}"
    assert outline(rf"Out{box}side.\par") == [(0, "Outside."), (0, "In the box.")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (r"{\rtf1 cut \par in the", "incomplete"),
        ("{\\rtf1 cut \\", "incomplete"),
        ("{\\rtf1 " + "{" * 3_000, "nested too deep"),
        (r"{\rtf1 }", "no text: it has no words"),
        (r"{\rtf1 \bin999999999 x}", "incomplete"),
        ("no rtf", "does not have the form of an RTF file"),
    ],
)
def test_a_bad_file_is_refused_with_a_reason(content: str, reason: str) -> None:
    with pytest.raises(UnreadableDocument, match=reason):
        extract(content)


def test_too_many_paragraphs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_list, "BLOCK_LIMIT", 1_000)
    with pytest.raises(UnreadableDocument, match="too much text: more than 1,000 paragraphs or rows"):
        outline("a\\par " * 1_001)


def test_nothing_after_the_end_is_read() -> None:
    assert [block.text for block in extract("{\\rtf1 a}}}{b}\0\0").blocks] == ["a"]


def test_a_picture_of_megabytes_takes_seconds() -> None:
    picture = "\r\n".join(["89504e470d0a1a0a" * 8] * 100_000)
    started = time.process_time()
    assert outline(rf"{{\pict {picture}}}a") == [(0, "a")]
    assert time.process_time() - started < 5


def test_a_file_that_libreoffice_wrote() -> None:
    found = extract_page("a", (WINTER / "winter.rtf").read_bytes(), ".rtf")
    assert [(block.level, block.text) for block in found.blocks] == TEXT
    assert (found.title, found.about.authors) == ("The winter house", ("Ada Keeper",))


def test_rtf_is_known_by_its_content(read: Read, tmp_path: Path) -> None:
    assert read(rb"{\rtf1 a\par}", "a.txt").blocks[0].text == "a"
