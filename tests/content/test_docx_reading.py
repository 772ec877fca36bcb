"""DOCX files: headings, lists, tables, notes, metadata, what is not read, and files that are no good."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.content.document import Extract, UnreadableDocument
from kbjobs.content.document_reading import extract_page
from tests.content.conftest import Read
from tests.content.office_files import docx_files, make_docx, word_paragraph, zip_files


def extract(content: bytes) -> Extract:
    return extract_page("a.docx", content, ".docx")


def outline(body: str, footnotes: str = "") -> list[tuple[int, str]]:
    return [(block.level, block.text) for block in extract(make_docx(body, footnotes)).blocks]


def test_a_document_has_its_properties(read: Read) -> None:
    document = read(make_docx(word_paragraph("A stove warms the house.")), "winter.docx")
    assert (document.title, document.language, document.word_count) == ("The winter house", "de-ch", 5)
    about = document.about
    assert (about.authors, about.categories) == (("Ada Keeper", "Ben Oar"), ("wool", "bread", "fire"))
    assert (about.description, about.published, about.modified) == ("How to live.", "2019-11-03", "2020-01-05")
    assert extract(make_docx(word_paragraph("x"))).references == ["https://example.org/stove"]


@pytest.mark.parametrize("stated", ["", "<dc:title>Document1</dc:title>", "<dc:title>C:\\letters\\a.docx</dc:title>"])
def test_without_a_title_the_first_heading_is_one(stated: str) -> None:
    body = word_paragraph("Text.") + word_paragraph("Deep", "U2") + word_paragraph("Wood", "U1")
    assert extract(make_docx(body, core=stated)).title == "Wood"


def test_styles_give_headings() -> None:
    body = "".join(
        word_paragraph(text, style)
        for text, style in [
            ("House", "Titel"), ("Fire", "U1"), ("Wood", "U2"), ("Oak", "Own"), ("No heading", "Plain"), ("Round", "A"),
            ("Unknown", "Nothing"), ("Fire 3", "Toc1"),
        ]
    )  # fmt: skip
    body += '<w:p><w:pPr><w:outlineLvl w:val="3"/></w:pPr><w:r><w:t>Own level</w:t></w:r></w:p>'
    assert outline(body) == [
        (1, "House"), (1, "Fire"), (2, "Wood"), (2, "Oak"), (0, "No heading"), (0, "Round"), (0, "Unknown"),
        (4, "Own level"),
    ]  # fmt: skip


def cell(content: str) -> str:
    return f"<w:tc><w:tcPr/>{content}</w:tc>"


def table(*rows: str) -> str:
    return f"<w:tbl><w:tblPr/>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl>"


def test_a_table_is_its_rows() -> None:
    inner = table(cell(word_paragraph("c")) + cell(word_paragraph("d")))
    body = table(
        cell(word_paragraph("Wood") + word_paragraph("or coal")) + cell("<w:p/>") + cell(word_paragraph("2 kg")),
        cell(word_paragraph("a")) + cell(inner),
        f"<w:sdt><w:sdtContent>{cell(word_paragraph('controlled'))}</w:sdtContent></w:sdt>",
    )
    assert outline(body) == [(0, "Wood or coal | 2 kg"), (0, "a | c | d"), (0, "controlled")]


def test_a_footnote_follows_its_paragraph() -> None:
    reference = '<w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:t> burns.</w:t></w:r>'
    notes = '<w:footnote w:type="separator" w:id="0"><w:p><w:r><w:t>---</w:t></w:r></w:p></w:footnote>'
    notes += f'<w:footnote w:id="2">{word_paragraph("Dry for a year.")}</w:footnote>'
    body = word_paragraph("Oak", more=reference) + word_paragraph("Next.")
    assert outline(body, notes) == [(0, "Oak burns."), (0, "Dry for a year."), (0, "Next.")]
    rows = table(cell(word_paragraph("Oak", more=reference)))
    assert outline(rows, notes) == [(0, "Oak burns."), (0, "Dry for a year.")]


def run(content: str) -> str:
    return f"<w:r>{content}</w:r>"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (run("<w:tab/><w:t>x</w:t><w:br/><w:t>y</w:t>"), "a x y"),
        (f"<w:ins>{run('<w:t>new</w:t>')}</w:ins><w:del>{run('<w:delText>old</w:delText>')}</w:del>", "anew"),
        (f"<w:moveFrom>{run('<w:t>moved</w:t>')}</w:moveFrom>", "a"),
        (f"<w:hyperlink>{run('<w:t>link</w:t>')}</w:hyperlink>", "alink"),
        (run("<w:instrText>PAGE</w:instrText>"), "a"),
        (run("<w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t>"), "a"),
        (run('<w:rPr><w:vanish w:val="0"/></w:rPr><w:t>shown</w:t>'), "ashown"),
        (run("<w:t>b</w:t><w:noBreakHyphen/><w:t>c</w:t>"), "ab-c"),
    ],
)
def test_runs(more: str, text: str) -> None:
    assert outline(word_paragraph("a", more=more)) == [(0, text)]


def test_a_text_box_is_read_once_and_after_its_paragraph() -> None:
    box = f"<w:txbxContent>{word_paragraph('In the box.')}</w:txbxContent>"
    more = run(
        '<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006">'
        f"<mc:Choice><w:drawing>{box}</w:drawing></mc:Choice><mc:Fallback><w:pict>{box}</w:pict></mc:Fallback>"
        "</mc:AlternateContent>"
    )
    assert outline(word_paragraph("Out", more=f"{more}<w:r><w:t>side.</w:t></w:r>")) == [
        (0, "Outside."),
        (0, "In the box."),
    ]


def test_a_table_of_contents_is_left_out() -> None:
    control = (
        '<w:sdt><w:sdtPr><w:docPartObj><w:docPartGallery w:val="Table of Contents"/></w:docPartObj></w:sdtPr>'
        f"<w:sdtContent>{word_paragraph('Fire 3')}</w:sdtContent></w:sdt>"
    )
    assert outline(control + word_paragraph("Fire", "U1")) == [(1, "Fire")]


def test_macros_and_embedded_files_are_not_opened() -> None:
    files = docx_files(word_paragraph("x")) | {"word/vbaProject.bin": b"macro", "word/embeddings/a.docx": b"PK"}
    assert len(extract(zip_files(files)).blocks) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"word/document.xml": "<w:document"}, "not well-formed"),
        (
            {"word/document.xml": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'},
            "declares entities",
        ),
        ({"word/document.xml": "<a>" * 1000}, "nested too deep"),
        ({"word/styles.xml": '<!DOCTYPE a [<!ENTITY b "c">]><a/>'}, "declares entities"),
        ({"word/../../document.xml": "x"}, "outside of itself"),
        ({"_rels/.rels": "<Relationships/>"}, "does not have the form of a Word document"),
        ({"word/document.xml": "<document><body/></document>"}, "no text: it has no words"),
        ({"word/document.xml": "<a>" + " " * 70_000_000 + "</a>"}, "unpacks to more"),
    ],
)
def test_a_bad_file_is_refused_with_a_reason(change: dict[str, str | bytes], reason: str) -> None:
    with pytest.raises(UnreadableDocument, match=reason):
        extract(zip_files(docx_files(word_paragraph("x")) | change))


def test_a_document_that_repeats_a_note_for_ever_is_refused() -> None:
    notes = f'<w:footnote w:id="2">{word_paragraph("long " * 200_000)}</w:footnote>'
    body = word_paragraph("x", more='<w:r><w:footnoteReference w:id="2"/></w:r>' * 10_000)
    with pytest.raises(UnreadableDocument, match="too much text"):
        extract(make_docx(body, notes))


def test_encrypted_and_old_files_are_refused() -> None:
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500
    with pytest.raises(UnreadableDocument, match="old Office file"):
        extract(old)
    with pytest.raises(UnreadableDocument, match="encrypted and needs a password"):
        extract(old + "EncryptedPackage".encode("utf-16-le"))


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("footnotes", ["Ouch.", "A tachyon walks into a bar.", "Fin."]),
        ("endnotes", ["Ouch.", "A tachyon walks into a bar.", "Fin."]),
        ("tables", ["Above", "Top left | Top right", "Bottom left | Bottom right", "Below"]),
        ("simple-list", ["Apple", "Banana"]),
        ("text-box", ["Datum plane"]),
        ("strict-format", ["Test"]),
        ("utf8-bom", ["This XML has a byte order mark."]),
        ("comments", ["Ouch."]),
    ],
)
def test_files_that_word_wrote(word_files: Path, name: str, texts: list[str]) -> None:
    assert [block.text for block in extract((word_files / f"{name}.docx").read_bytes()).blocks] == texts
