"""Read a PDF as blocks of text: its pages in order, without running heads, with headings from its outline.

PDFium reads the file. It returns a page's characters in drawing order, with line breaks of its own;
`kbjobs.content.pdf_layout` turns the lines into paragraphs.
"""

from __future__ import annotations

import ctypes
import re
import zlib
from itertools import pairwise
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium

from kbjobs.content.block_list import TEXT_LIMIT
from kbjobs.content.dates import read_date
from kbjobs.content.document import (
    DESCRIPTION_LIMIT,
    MAX_AUTHORS,
    MAX_CATEGORIES,
    TITLE_LIMIT,
    About,
    Extract,
    clean_description,
    clean_names,
    clean_title,
)
from kbjobs.content.pdf_layout import OutlineEntry, PageLine, arrange
from kbjobs.content.titles import is_given_title

PAGE_LIMIT = 20_000
"""The most pages of a document that is read."""

PAGE_TEXT_LIMIT = 1_000_000
"""The most characters of a page that is read. A full page has about 4,000."""

OUTLINE_LIMIT = 10_000
"""The most entries of an outline that become headings."""

STREAM_LIMIT = 64 * 2**20
"""Largest stream of a file, in unpacked bytes, unless it is a picture or an attached file."""

_OUTLINE_DEPTH = 15
_OUTLINE_BYTES = 4_000_000  # of titles: a file may refer to one long title many times
_STREAM = re.compile(rb"(?<!end)stream\r?\n")
_STREAM_DICTIONARY = 1_000  # bytes before a stream that hold its dictionary
_STREAM_STEP = 2**18
_STREAMS_LIMIT = 2**31  # bytes of all streams
_NOT_UNPACKED = (b"/Image", b"/EmbeddedFile")

_AFTER_ACCENT = re.compile("\\w[\u0300-\u036f]+ (?=\\w)")
_FALSE_SPACE = "\ufdd0"  # no character
_SPACE_WIDTH = 0.12  # of the font size; a narrow space has about 0.2


def extract_pdf(data: bytes | Path) -> Extract:
    """Extract a PDF's text, from its bytes or its file, as paragraphs that know their page.

    The title is the file's own if a person may have chosen it, else empty; the language is the one that the file
    claims, else empty. Raises ValueError, with a reason for people, if the file is encrypted, damaged, scanned or too
    large, and OSError if a path cannot be read.
    """
    if isinstance(data, Path):
        data = data.read_bytes()
    _refuse_bombs(data)
    # If PDFium gives no reason, as for a file without pages, an earlier failure's reason remains: this sets another.
    pdfium.FPDF_LoadMemDocument(b"%", 1, None)
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise ValueError(_explain(error)) from error
    with document:
        return _read(document)


def _explain(error: pypdfium2.PdfiumError) -> str:
    reasons = {
        pdfium.FPDF_ERR_PASSWORD: "it is encrypted and needs a password",
        pdfium.FPDF_ERR_SECURITY: "it is encrypted in a way that cannot be read",
        pdfium.FPDF_ERR_FORMAT: "it is damaged: it does not have the form of a PDF",
    }
    return reasons.get(error.err_code, "it is damaged: it cannot be opened")


def _refuse_bombs(data: bytes) -> None:
    """Raise ValueError for a stream that unpacks to gigabytes: PDFium would take twenty times its size (measured).

    Pictures and attached files are skipped, since nothing unpacks them here.
    """
    view, total = memoryview(data), 0
    for found in _STREAM.finditer(data):
        dictionary = data[max(0, found.start() - _STREAM_DICTIONARY) : found.start()].rpartition(b" obj")[2]
        if b"/FlateDecode" not in dictionary or any(name in dictionary for name in _NOT_UNPACKED):
            continue
        unpacker = zlib.decompressobj()
        position, length = found.end(), 0
        try:
            while position < len(data) and length <= STREAM_LIMIT and not unpacker.eof:
                packed: bytes | memoryview = view[position : position + _STREAM_STEP]
                position += _STREAM_STEP
                while len(packed) and length <= STREAM_LIMIT and not unpacker.eof:
                    length += len(unpacker.decompress(packed, _STREAM_STEP))
                    packed = unpacker.unconsumed_tail
        except zlib.error:
            continue  # packed in another way, or damaged
        finally:
            total += length
        if length > STREAM_LIMIT or total > _STREAMS_LIMIT:
            raise ValueError("too large: it unpacks to more than can be read")


def _read(document: pypdfium2.PdfDocument) -> Extract:
    count = len(document)
    if count > PAGE_LIMIT:
        raise ValueError(f"too many pages: {count:,}, the limit is {PAGE_LIMIT:,}")
    pages: list[list[PageLine]] = []
    length = unreadable = 0
    has_pictures = False
    for index in range(count):
        try:
            lines, is_drawn = _read_page(document, index)
        except pypdfium2.PdfiumError:
            lines, is_drawn = [], False
            unreadable += 1
        pages.append(lines)
        has_pictures = has_pictures or is_drawn
        length += sum(len(line.text) for line in lines)
        if length > TEXT_LIMIT:
            raise ValueError(f"too much text: more than {TEXT_LIMIT:,} characters")
    if unreadable == count:
        raise ValueError("it is damaged: none of its pages can be read")
    blocks = arrange(pages, _read_outline(document, count))
    if all(block.kind == "heading" for block in blocks):
        raise ValueError(
            "no text: its pages are pictures (scanned)" if has_pictures else "no text: its pages are empty"
        )
    return Extract(_read_title(document), _read_language(document), "", blocks, [], _read_about(document))


def _read_page(document: pypdfium2.PdfDocument, index: int) -> tuple[list[PageLine], bool]:
    """Return a page's lines, and whether anything is drawn on it."""
    page = document[index]
    try:
        textpage = page.get_textpage()
        try:
            if pdfium.FPDFText_CountChars(textpage) > PAGE_TEXT_LIMIT:
                raise ValueError(f"too much text: page {index + 1} has more than {PAGE_TEXT_LIMIT:,} characters")
            lines = _read_lines(textpage, pdfium.FPDFPage_GetRotation(page))
        finally:
            textpage.close()
        return lines, pdfium.FPDFPage_CountObjects(page) > 0
    finally:
        page.close()


def _read_lines(textpage: pypdfium2.PdfTextPage, rotation: int) -> list[PageLine]:
    """Return the lines of a page. PDFium replaces a line-end hyphen by U+FFFE and puts the next line right behind
    it."""
    length = pdfium.FPDFText_CountChars(textpage)
    if length < 1:
        return []
    # pypdfium2's own method first asks where the text begins; this buffer is larger than any answer
    buffer = (ctypes.c_ushort * (length + 2))()
    filled = pdfium.FPDFText_GetText(textpage, 0, length, buffer)
    text = bytes(memoryview(buffer).cast("B")[: 2 * max(0, filled - 1)]).decode("utf-16-le", "replace")
    is_wide = not text.isascii() and max(text) > "\uffff"
    if not rotation and not is_wide:
        text = _mark_false_spaces(textpage, text)
    x, y = ctypes.c_double(), ctypes.c_double()
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    lines: list[PageLine] = []
    start = 0
    for piece in text.replace("\ufffe", "\ufffe\r\n").split("\r\n"):
        size = len(piece) + sum(letter > "\uffff" for letter in piece) if is_wide else len(piece)
        end = start + size
        words = piece.replace(_FALSE_SPACE, "").strip()
        if words:
            # PDFium counts UTF-16 units, and has characters that are not in the text
            first = pdfium.FPDFText_GetCharIndexFromTextIndex(textpage, start + len(piece) - len(piece.lstrip()))
            last = pdfium.FPDFText_GetCharIndexFromTextIndex(textpage, end - 1 - len(piece) + len(piece.rstrip()))
            last -= piece.endswith("\ufffe")  # has no box of its own
            # if one of these calls fails, the line gets the previous line's place
            pdfium.FPDFText_GetCharOrigin(textpage, first, x, y)
            pdfium.FPDFText_GetCharBox(textpage, last, left, right, bottom, top)
            begin, height = _turn(x.value, y.value, rotation)
            finish = max(
                _turn(left.value, bottom.value, rotation)[0], _turn(right.value, top.value, rotation)[0], begin
            )
            lines.append(PageLine(words, begin, height, finish, pdfium.FPDFText_GetFontSize(textpage, first)))
        start = end if piece.endswith("\ufffe") else end + 2
    return lines


def _mark_false_spaces(textpage: pypdfium2.PdfTextPage, text: str) -> str:
    """Replace invisible spaces after accents by `_FALSE_SPACE`.

    If an accent is drawn separately, PDFium measures from it to the next letter: "fü r".
    """
    unused = [ctypes.c_double() for _ in range(3)]
    right, left = ctypes.c_double(), ctypes.c_double()
    false: list[int] = []
    for found in _AFTER_ACCENT.finditer(text):
        letter, space = found.start(), found.end() - 1
        first = pdfium.FPDFText_GetCharIndexFromTextIndex(textpage, letter)
        after = pdfium.FPDFText_GetCharIndexFromTextIndex(textpage, space + 1)
        if (
            pdfium.FPDFText_IsGenerated(textpage, after - 1) == 1
            and pdfium.FPDFText_GetCharBox(textpage, first, unused[0], right, unused[1], unused[2])
            and pdfium.FPDFText_GetCharBox(textpage, after, left, unused[0], unused[1], unused[2])
            and left.value - right.value < _SPACE_WIDTH * pdfium.FPDFText_GetFontSize(textpage, first)
        ):
            false.append(space)
    if not false:
        return text
    pieces = [text[start + 1 : end] for start, end in pairwise([-1, *false, len(text)])]
    return _FALSE_SPACE.join(pieces)


def _turn(x: float, y: float, rotation: int) -> tuple[float, float]:
    """Return a place as seen on a page that is shown turned by ``rotation`` quarters, clockwise."""
    return ((x, y), (y, -x), (-x, -y), (-y, x))[rotation % 4]


def _read_outline(document: pypdfium2.PdfDocument, pages: int) -> list[OutlineEntry]:
    """Return the outline's entries that lead to a page, in order. An outline may be circular."""
    entries: list[OutlineEntry] = []
    seen: set[int] = set()
    left = _OUTLINE_BYTES
    waiting = [(pdfium.FPDFBookmark_GetFirstChild(document, None), 1)]
    while waiting and len(seen) < OUTLINE_LIMIT:
        bookmark, level = waiting.pop()
        if not bookmark:
            continue
        address = ctypes.addressof(bookmark.contents)
        if address in seen:
            continue
        seen.add(address)
        waiting.append((pdfium.FPDFBookmark_GetNextSibling(document, bookmark), level))
        if level < _OUTLINE_DEPTH:
            waiting.append((pdfium.FPDFBookmark_GetFirstChild(document, bookmark), level + 1))
        length = pdfium.FPDFBookmark_GetTitle(bookmark, None, 0)
        left -= length
        if left < 0:
            break
        buffer = ctypes.create_string_buffer(length)
        pdfium.FPDFBookmark_GetTitle(bookmark, buffer, length)
        title = clean_title(buffer.raw[:-2].decode("utf-16-le", "replace"))
        place = pdfium.FPDFBookmark_GetDest(document, bookmark)
        page = pdfium.FPDFDest_GetDestPageIndex(document, place) if place else -1
        if title and 0 <= page < pages:
            entries.append(OutlineEntry(min(level, 6), title, page, _height_of(place)))
    return entries


def _height_of(place: object) -> float | None:
    """Return the height of an outline's place on its page, in points from the bottom; None if it names none."""
    has_x, has_y, has_zoom = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    x, y, zoom = ctypes.c_float(), ctypes.c_float(), ctypes.c_float()
    found = pdfium.FPDFDest_GetLocationInPage(place, has_x, has_y, has_zoom, x, y, zoom)
    return y.value if found and has_y.value else None


def _read_title(document: pypdfium2.PdfDocument) -> str:
    title = clean_title(_read_entry(document, b"Title", TITLE_LIMIT))
    return title if is_given_title(title) else ""


def _read_about(document: pypdfium2.PdfDocument) -> About:
    """Read the document's information dictionary (ISO 32000-1, 14.3.3)."""
    keywords = _read_entry(document, b"Keywords", DESCRIPTION_LIMIT).replace(";", ",").split(",")
    return About(
        description=clean_description(_read_entry(document, b"Subject", DESCRIPTION_LIMIT)),
        published=read_date(_read_entry(document, b"CreationDate", TITLE_LIMIT)),
        authors=clean_names(_read_entry(document, b"Author", TITLE_LIMIT).split(";"), MAX_AUTHORS),
        categories=clean_names(keywords, MAX_CATEGORIES),
        kind="pdf",
    )


def _read_entry(document: pypdfium2.PdfDocument, name: bytes, limit: int) -> str:
    """Return an entry of the information dictionary, long enough for ``limit`` clean characters."""
    length = pdfium.FPDF_GetMetaText(document, name + b"\0", None, 0)
    buffer = ctypes.create_string_buffer(length)
    pdfium.FPDF_GetMetaText(document, name + b"\0", buffer, length)
    return buffer.raw[: max(0, min(length - 2, limit * 40))].decode("utf-16-le", "replace")


def _read_language(document: pypdfium2.PdfDocument) -> str:
    length = pdfium.FPDFCatalog_GetLanguage(document, None, 0)
    if not 2 < length <= 100:
        return ""
    buffer = (ctypes.c_ushort * (length // 2))()
    pdfium.FPDFCatalog_GetLanguage(document, buffer, length)
    return bytes(buffer).decode("utf-16-le", "replace").rstrip("\0")
