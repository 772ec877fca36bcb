"""PDFs: paragraphs, pages, headings of the outline, running heads, hyphens, and files that are no good."""

from __future__ import annotations

import contextlib
import io
import random
import time
from pathlib import Path
from typing import Any

import pytest
from pypdfium2 import PdfiumError
from pypdfium2.internal.bases import ObjectTracker

from kbjobs.content import pdf_reading
from kbjobs.content.document import Block, Extract, clean_blocks
from kbjobs.content.pdf_layout import join_lines
from kbjobs.content.pdf_reading import extract_pdf
from tests.conftest import FACTOR
from tests.content.pdfs import Entry, Line, make_pdf, set_lines

PROSE = "Water is boiled for a minute before anybody drinks it, and for three\nminutes where the mountains are high."

WORDS = [
    "water", "fire", "wood", "coal", "salt", "bread", "grain", "stone", "river", "wheel", "lamp", "rope", "knife",
    "seed", "cellar", "roof", "well", "spring", "barrel", "kettle", "blanket", "candle", "ladder", "hammer", "saddle",
]  # fmt: skip


def texts_of(extract: Extract) -> list[str]:
    return [block.text for block in extract.blocks]


def body(number: int) -> list[Line]:
    """Two lines in the middle of a page that no other page has."""
    words = random.Random(number).sample(WORDS, 16)
    return set_lines(" ".join(words[:9]) + "\n" + " ".join(words[9:]) + ".")


def body_text(number: int) -> str:
    return " ".join(line.text for line in body(number))


def test_paragraphs_know_their_page(tmp_path: Path) -> None:
    content = make_pdf([set_lines(f"{PROSE}\n\nA second paragraph."), set_lines("The next page.")], "A guide", "en-GB")
    extract = extract_pdf(content)
    assert (extract.title, extract.language, extract.canonical, extract.references) == ("A guide", "en-GB", "", [])
    assert extract.blocks == [
        Block("text", 0, PROSE.replace("\n", " "), 1),
        Block("text", 0, "A second paragraph.", 1),
        Block("text", 0, "The next page.", 2),
    ]
    path = tmp_path / "a.pdf"
    path.write_bytes(content)
    assert extract_pdf(path) == extract


def test_clean_blocks_keep_the_page() -> None:
    assert clean_blocks([Block("text", 0, "a\x00b", 7)]) == [Block("text", 0, "a b", 7)]


def test_a_sentence_runs_on_over_the_page() -> None:
    extract = extract_pdf(make_pdf([set_lines("The pump is opened with a key that"), set_lines("hangs beside it.")]))
    assert extract.blocks == [Block("text", 0, "The pump is opened with a key that hangs beside it.", 1)]


def test_other_sizes_items_and_columns_are_paragraphs_of_their_own() -> None:
    lines = [
        *set_lines("A line in large letters", y=760, size=18),
        *set_lines("Text that follows it at once and is long enough\n• one item\n• another item", y=740),
        *set_lines("The second column begins up here.", y=740, x=350),
    ]
    assert texts_of(extract_pdf(make_pdf([lines]))) == [
        "A line in large letters",
        "Text that follows it at once and is long enough",
        "• one item",
        "• another item",
        "The second column begins up here.",
    ]


def test_a_page_that_is_shown_turned() -> None:
    turned = b"BT /F 10 Tf 0 1 -1 0 100 72 Tm (The sentence begins on this line and) Tj 0 -12 Td (ends here.) Tj ET"
    assert texts_of(extract_pdf(make_pdf([turned], rotate=90))) == ["The sentence begins on this line and ends here."]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("All the infor-\nmation", "All the information"),
        ("The well-\nknown man is well-known", "The well-known man is well-known"),
        ("The well-\nknown man", "The wellknown man"),
        ("Soft\u00ad\nware", "Software"),
        ("Jean-\nPaul and 2019-\n2020", "Jean-Paul and 2019-2020"),
        ("Both pre-\nand post-war", "Both pre- and post-war"),
        ("An ofﬁce with 𝐀", "An office with 𝐀"),
    ],
)
def test_hyphens_and_ligatures(text: str, wanted: str) -> None:
    assert texts_of(extract_pdf(make_pdf([set_lines(text)]))) == [wanted]


def test_accents_that_are_drawn_for_themselves() -> None:
    """The font's code A8 is U+0308, drawn back over the u; the next letter follows the u, or a space."""
    accent = b"BT /F 10 Tf 72 700 Td (fu) Tj 2.0 0 Td <a8> Tj 5.8 0 Td (r alle) Tj ET "
    spaced = b"BT /F 10 Tf 72 600 Td (Menu) Tj 20.6 0 Td <a8> Tj 8 0 Td (rot) Tj ET"
    assert texts_of(extract_pdf(make_pdf([accent + spaced]))) == ["für alle", "Menü rot"]


def test_scripts_without_spaces_are_joined_without() -> None:
    assert join_lines(["水を一分間", "沸かす", "boil", "it"]) == "水を一分間沸かす boil it"


@pytest.mark.parametrize("compress", [False, True])
def test_running_heads_and_page_numbers_go(compress: bool) -> None:
    pages = [
        [Line(72, 800, "The Water Book, chapter 1"), *body(number), Line(300, 30, str(number + 11))]
        for number in range(6)
    ]
    extract = extract_pdf(make_pdf(pages, compress=compress))
    assert texts_of(extract) == [body_text(number) for number in range(6)]


def test_a_head_of_one_page_goes_where_heads_stand() -> None:
    heads = ["CHAPTER 1. ON WATER 1.1. WELLS"] * 3 + [
        "CHAPTER 2. ON FIRE 2.1. WOOD",
        "CHAPTER 2. ON FIRE 2.2. COAL",
    ] * 2
    extract = extract_pdf(make_pdf([[Line(72, 800, head), *body(number)] for number, head in enumerate(heads)]))
    assert not any("CHAPTER" in text for text in texts_of(extract))


def test_what_only_looks_like_a_head_stays() -> None:
    few = [[Line(72, 800, "The Water Book"), *body(number)] for number in range(3)]
    assert texts_of(extract_pdf(make_pdf(few))).count("The Water Book") == 3
    chapters = [[Line(72, 800, f"Chapter {number}" if number % 3 == 0 else "xyz"[number % 3] * number), *body(number)]
                for number in range(12)]  # fmt: skip
    assert sum(text.startswith("Chapter") for text in texts_of(extract_pdf(make_pdf(chapters)))) == 4
    # rows of numbers at the foot of a page count no pages
    tables = [[*body(number), Line(72, 30, f"{number * number + 40}  {number + 5}  12")] for number in range(6)]
    assert sum(text.endswith(" 12") for text in texts_of(extract_pdf(make_pdf(tables)))) == 6


def test_pages_that_are_all_alike_keep_their_text() -> None:
    forms = [set_lines(f"Form of the year {number}\nName and place and signature") for number in range(6)]
    assert len(texts_of(extract_pdf(make_pdf(forms)))) >= 6


def test_headings_come_from_the_outline() -> None:
    pages = [
        [*set_lines("Chapter 1", y=780, size=20), *set_lines("Water", y=750, size=20), *set_lines(PROSE),
         *set_lines("1.1 Wells and\nsprings", y=600, size=14), *set_lines("Dig where it is green.", y=550)],
        [*set_lines("Before it."), *set_lines("Behind it.", y=400)],
    ]  # fmt: skip
    outline = [Entry(0, "Water", 0, 800), Entry(1, "Wells and springs", 0, 620), Entry(2, "Unseen", 1, 450),
               Entry(7, "Somewhere", 1)]  # fmt: skip
    assert extract_pdf(make_pdf(pages, outline=outline)).blocks == [
        Block("heading", 1, "Water", 1),
        Block("text", 0, PROSE.replace("\n", " "), 1),
        Block("heading", 2, "Wells and springs", 1),
        Block("text", 0, "Dig where it is green.", 1),
        Block("heading", 4, "Somewhere", 2),
        Block("text", 0, "Before it.", 2),
        Block("heading", 3, "Unseen", 2),
        Block("text", 0, "Behind it.", 2),
    ]
    assert all(block.kind == "text" for block in extract_pdf(make_pdf(pages)).blocks)


def test_outlines_that_never_end(monkeypatch: pytest.MonkeyPatch) -> None:
    content = make_pdf([set_lines("Text.")], outline=[Entry(0, "Aaa", 0), Entry(0, "Bbb", 0)])
    # object 7 is the root, 8 and 9 are its entries: the second now leads to the first, and holds the root
    second = b"<< /Title <feff004200620062> /Parent 7 0 R"
    looped = content.replace(second, second + b" /Next 8 0 R /First 7 0 R")
    assert looped != content
    assert texts_of(extract_pdf(looped)) == ["Aaa", "Bbb", "Text."]
    monkeypatch.setattr(pdf_reading, "OUTLINE_LIMIT", 5)
    many = make_pdf([set_lines("Text.")], outline=[Entry(0, f"Entry {number}", 0) for number in range(40)])
    assert sum(block.kind == "heading" for block in extract_pdf(many).blocks) == 5


@pytest.mark.parametrize(
    "title",
    [
        "Microsoft Word - x.doc",
        "untitled",
        "Untitled-1",
        "report_final.pdf",
        "C:\\docs\\x",
        "Document1",
        "12/3",
        "",
        " ",
    ],
)
def test_titles_nobody_meant(title: str) -> None:
    assert extract_pdf(make_pdf([set_lines("Text.")], title)).title == ""


def test_titles_a_person_meant() -> None:
    for title in ("Document your water", "Where there is no doctor", "Slide rules, 2nd ed."):
        assert extract_pdf(make_pdf([set_lines("Text.")], title)).title == title


def encrypt(content: bytes, user: str) -> bytes:
    pikepdf = pytest.importorskip("pikepdf")
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(content)) as opened:
        opened.save(target, encryption=pikepdf.Encryption(owner="owner", user=user))
    return target.getvalue()


def test_encrypted_files() -> None:
    content = make_pdf([set_lines("A secret.")])
    with pytest.raises(ValueError, match=r"^it is encrypted and needs a password$"):
        extract_pdf(encrypt(content, "user"))
    with pytest.raises(ValueError, match=r"^it is damaged: "):
        extract_pdf(make_pdf([]))  # the reason is its own, whatever was read before
    # one that only forbids printing opens without
    assert texts_of(extract_pdf(encrypt(content, ""))) == ["A secret."]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is damaged: "),
        (b"%PDF-1.7\n" + bytes(1000), "it is damaged: "),
        (make_pdf([]), "it is damaged: "),
        (make_pdf([b"0 0 100 100 re f"]), r"no text: its pages are pictures \(scanned\)"),
        (make_pdf([b""], outline=[Entry(0, "Empty", 0)]), "no text: its pages are empty"),
    ],
)
def test_files_without_text(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        extract_pdf(content)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    content = make_pdf([set_lines(PROSE), set_lines(PROSE)])
    for name, limit, reason in (
        ("PAGE_LIMIT", 1, "too many pages: 2, the limit is 1"),
        ("TEXT_LIMIT", 150, "too much text: more than 150 characters"),
        ("PAGE_TEXT_LIMIT", 50, "too much text: page 1 has more than 50 characters"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(pdf_reading, name, limit)
            with pytest.raises(ValueError, match=reason):
                extract_pdf(content)


def test_a_stream_that_unpacks_to_gigabytes() -> None:
    bomb = make_pdf([b" " * (pdf_reading.STREAM_LIMIT + 1)], compress=True)
    assert len(bomb) < 2**20
    with pytest.raises(ValueError, match="too large: it unpacks to more than can be read"):
        extract_pdf(bomb)


def test_a_page_that_cannot_be_read_is_left_out() -> None:
    content = make_pdf([set_lines("First."), set_lines("Second."), set_lines("Third.")])
    broken = content.replace(b"7 0 obj\n<< /Type /Page ", b"7 0 obj\n<< /Type /Font ")
    assert broken != content
    blocks = extract_pdf(broken).blocks
    assert blocks[0] == Block("text", 0, "First.", 1) and blocks[-1] == Block("text", 0, "Third.", 3)


def test_every_page_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(document: Any, index: int) -> None:
        raise PdfiumError("cannot be loaded")

    monkeypatch.setattr(pdf_reading, "_read_page", fail)
    with pytest.raises(ValueError, match=r"^it is damaged: none of its pages can be read$"):
        extract_pdf(make_pdf([set_lines("Text.")]))


def test_crowded_pages_end_in_time() -> None:
    places = [(10 + number % 50 * 11, 830 - number // 50 * 2) for number in range(20_000)]
    crowd = b"BT /F 1 Tf " + b"".join(
        b"1 0 0 1 %d %d Tm (w%d-) Tj " % (*place, number) for number, place in enumerate(places)
    ) + b"ET"  # fmt: skip
    outline = [Entry(0, f"w{number}", 0, 400) for number in range(3_000)]
    begin = time.monotonic()
    assert extract_pdf(make_pdf([crowd] * 5, outline=outline, compress=True)).blocks
    assert time.monotonic() - begin < 30


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Cut the file, flip bits, or swap blocks of it."""
    changed = bytearray(content)
    way = chance.randrange(3)
    if way == 0:
        return bytes(changed[: chance.randrange(len(changed))])
    if way == 1:
        for _ in range(chance.choice([1, 5, 50])):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    size = chance.choice([8, 64, 256])
    first, second = (chance.randrange(len(changed) - size) for _ in range(2))
    changed[first : first + size], changed[second : second + size] = (
        changed[second : second + size], changed[first : first + size],
    )  # fmt: skip
    return bytes(changed)


@pytest.mark.long
def test_damaged_files_end_with_text_or_a_reason() -> None:
    pages = [[Line(72, 800, "Head"), *body(number), *set_lines(PROSE, y=500)] for number in range(5)]
    outline = [Entry(number % 2, f"Part {number}", number, 700) for number in range(5)]
    plain, packed = (make_pdf(pages, "A title", "en", outline, compress=compress) for compress in (False, True))
    kinds = [plain, packed]
    refused = 0
    for seed in range(200 * FACTOR):
        chance = random.Random(seed)
        begin = time.monotonic()
        reason = ""
        try:
            blocks = extract_pdf(mutate(chance.choice(kinds), chance)).blocks
        except ValueError as error:
            reason = str(error)
            refused += 1
        else:
            assert all(block.text and block.page >= 1 for block in blocks), f"seed {seed}"
        assert not reason or reason.startswith(("it is ", "no text: ", "too ")), f"seed {seed}: {reason}"
        assert time.monotonic() - begin < 10, f"seed {seed}"
    assert 0 < refused < 200 * FACTOR


def test_handles_are_closed() -> None:
    before = {kind: len(handles) for kind, handles in ObjectTracker.items() if handles}
    for content in (make_pdf([set_lines("Text.")] * 3), make_pdf([b""]), make_pdf([set_lines("x")])[:-400]):
        with contextlib.suppress(ValueError):
            extract_pdf(content)
    assert {kind: len(handles) for kind, handles in ObjectTracker.items() if handles} == before


@pytest.mark.slow
def test_the_installation_guides(installation_guides: Path) -> None:
    paths = sorted(installation_guides.glob("*.pdf"))
    assert len(paths) >= 15
    for path in paths[:: len(paths) // 4]:
        assert len(texts_of(extract_pdf(path))) > 500, path.name
    english = extract_pdf(installation_guides / "install.en.pdf")
    assert english.title == "Debian GNU/Linux Installation Guide"
    headings = [block for block in english.blocks if block.kind == "heading"]
    assert len(headings) > 200
    at = english.blocks.index(next(block for block in headings if block.text == "Back Up Your Existing Data!"))
    assert english.blocks[at].level == 2
    assert english.blocks[at + 1].text.startswith("Before you start, make sure to back up every file")
    assert english.blocks[at + 1].page == english.blocks[at].page
    texts = texts_of(english)
    assert not any("CHAPTER 3. BEFORE INSTALLING" in text for text in texts)
    assert any("Introducing the leading software actors" in text for text in texts)
    pages = {block.page for block in english.blocks}
    assert len(pages) > 100
