"""Files of all formats that are damaged at random, mislabelled, or made to take memory and time."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kbjobs.content.document import UnreadableDocument
from kbjobs.content.document_reading import SIZE_LIMIT, extract_page, read_document
from kbjobs.content.source_files import FoundFile, find_files
from kbjobs.content.titles import NO_SITE
from kbjobs.scanning.file_reading import Read, Reader, Unread
from kbjobs.scanning.reading_pool import read_all
from tests.conftest import FACTOR
from tests.content.office_files import docx_files, epub_files, make_docx, make_epub, make_odt, odt_files, zip_files

MAIL = b"""From a@b Fri May 17 10:00:00 2024
From: =?utf-8?q?=C3=84da?= <a@b.org>
Subject: The lamp
Content-Type: multipart/mixed; boundary="x"

--x
Content-Type: text/html; charset=utf-8

<p>It burns.</p>
--x
Content-Type: application/pdf; name="a.pdf"

%PDF
--x--
"""
TOC = '<ol><li><a href="a.xhtml">A</a><ol><li><a href="a.xhtml#b">B</a></li></ol></li></ol>'
RTF = (
    rb"{\rtf1\ansi{\fonttbl{\f0\fcharset204 T;}}{\stylesheet{\s1 heading 1;}}{\info{\title x}}"
    rb"\s1 A\par\pard \f0\'d5\u1061?}"
)
PARTS: dict[str, dict[str, str | bytes]] = {
    ".epub": epub_files({"a.xhtml": '<h1>A</h1><p id="b">B <a href="#b">b</a></p>'}, toc=TOC),
    ".docx": docx_files("<w:p><w:r><w:t>A</w:t></w:r></w:p><w:tbl><w:tr><w:tc><w:p/></w:tc></w:tr></w:tbl>"),
    ".odt": odt_files(
        '<text:h text:outline-level="2">A</text:h><text:p>B<text:note><text:note-body/></text:note></text:p>'
    ),
}
PLAIN = {".csv": b'a,b\n"1",2\n3;4\n', ".eml": MAIL, ".mbox": MAIL * 2, ".rtf": RTF}


def damage(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, lost, doubled or put in."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        place, length = chance.randrange(len(changed) + 1), chance.randint(0, 9)
        piece = chance.choice(
            [b"", bytes(changed[place : place + length]) * 2, chance.randbytes(length), b"<", b"{", b'"']
        )
        changed[place : place + length] = piece
    return bytes(changed)


def read(data: bytes, suffix: str) -> None:
    """Read it, or refuse it with a reason; any other error fails the test."""
    reason = "a reason"
    try:
        extract_page("a", data, suffix)
    except UnreadableDocument as error:
        reason = error.reason
    assert 5 < len(reason) < 300


@pytest.mark.long
@pytest.mark.parametrize("suffix", [*PARTS, *PLAIN])
def test_damaged_files_are_read_or_refused_with_a_reason(suffix: str) -> None:
    chance = random.Random(suffix)
    for _ in range(100 * FACTOR):
        if suffix in PLAIN:
            read(damage(PLAIN[suffix], chance), suffix)
        else:
            files = dict(PARTS[suffix])
            name = chance.choice(list(files))
            content = files[name]
            files[name] = damage(content.encode() if isinstance(content, str) else content, chance)
            read(zip_files(files), suffix)
            read(damage(zip_files(files), chance), suffix)


@pytest.mark.parametrize("suffix", [*PARTS, *PLAIN])
def test_cut_files_are_read_or_refused_with_a_reason(suffix: str) -> None:
    data = PLAIN.get(suffix) or zip_files(PARTS[suffix])
    for length in range(1, len(data), max(1, len(data) // 200)):
        read(data[:length], suffix)


@pytest.mark.parametrize("suffix", [".html", ".txt", ".md", ".pdf", ".zip"])
@pytest.mark.parametrize("make", [make_epub, make_docx, make_odt])
def test_a_file_under_another_name_is_known_by_its_content(make: Callable[..., bytes], suffix: str) -> None:
    body = {make_docx: "<w:p><w:r><w:t>A lamp.</w:t></w:r></w:p>", make_odt: "<text:p>A lamp.</text:p>"}.get(make)
    data = make(body) if body else make_epub({"a.xhtml": "<p>A lamp.</p>"})
    assert extract_page("a", data, suffix).blocks[0].text == "A lamp."


@pytest.mark.parametrize("suffix", [".html", ".txt", ".md"])
@pytest.mark.parametrize("files", [{}, {"a": "b"}, {"xl/workbook.xml": "x", "_rels/.rels": "<Relationships/>"}])
def test_another_zip_file_is_binary(files: dict[str, str], suffix: str) -> None:
    with pytest.raises(UnreadableDocument, match="binary content"):
        extract_page("a", zip_files({**files, "z": "z"}), suffix)


@pytest.mark.parametrize("name", ["a.epub", "a.docx", "a.odt", "a.rtf", "a.eml", "a.csv"])
def test_files_with_pictures_may_be_larger(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(SIZE_LIMIT + 1)
    (found,) = find_files([path])
    assert isinstance(found, FoundFile)
    with pytest.raises(UnreadableDocument) as caught:
        read_document(found, "s")
    assert ("too large: 32 MiB" in caught.value.reason) == (name == "a.csv")


def read_in_process(path: Path, seconds: float = 30.0) -> Read | Unread:
    """The outcome of a file that is read in a process that can be killed, as all are."""
    (found,) = find_files([path])
    assert isinstance(found, FoundFile)
    reader = Reader("s", None, NO_SITE, describes=False, keeps_text=False, document_seconds=seconds)
    ((_, (outcome,)),) = read_all(reader, [[found]], is_large=False, check=lambda: None)
    return outcome


def write_bomb(folder: Path, content: str) -> Path:
    path = folder / "bomb.docx"
    path.write_bytes(zip_files(docx_files("") | {"word/document.xml": content}))
    return path


@pytest.mark.processes
def test_a_file_that_takes_too_long_costs_only_itself(tmp_path: Path) -> None:
    bomb = write_bomb(tmp_path, "<a>" + "<b/>" * 1_500_000 + "</a>")
    outcome = read_in_process(bomb, seconds=0.1)
    assert isinstance(outcome, Unread) and "reading it takes more than" in outcome.reason


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for suffix, parts in PARTS.items():
        read(zip_files(parts), suffix)
        read(zip_files(parts | {"../evil.txt": "x", "evil.txt": "x"}), suffix)
    assert not list(folder.iterdir()) and not (tmp_path / "evil.txt").exists()
