"""Writes small PDFs: pages of lines, a title, a language, an outline."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple


class Line(NamedTuple):
    """Words at a place: points from the left and from the bottom of a page of 595 by 842 points."""

    x: float
    y: float
    text: str
    size: float = 10.0


class Entry(NamedTuple):
    """An entry of the outline: its level from 0, its page from 0, how high on the page (0: the page as a whole)."""

    level: int
    title: str
    page: int
    y: float = 0.0


def set_lines(text: str, y: float = 700, x: float = 72, size: float = 10.0) -> list[Line]:
    """The lines of a text, one below the other; an empty line leaves a gap."""
    return [Line(x, y - 1.2 * size * number, line, size) for number, line in enumerate(text.split("\n")) if line]


def make_pdf(
    pages: Sequence[Sequence[Line] | bytes],
    title: str = "",
    language: str = "",
    outline: Sequence[Entry] = (),
    rotate: int = 0,
    compress: bool = False,
    information: bytes = b"",
) -> bytes:
    """A PDF with one font, Helvetica; a page is its lines, or the operators of its content.

    ``information`` is more of its information dictionary.
    """
    count = len(pages)
    first_entry = 5 + 2 * count
    to_unicode = (
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /A def /CMapType 2 def "
        b"1 begincodespacerange <00> <ff> endcodespacerange "
        b"4 beginbfchar <01> <D835DC00> <02> <FB01> <03> <00AD> <A8> <0308> endbfchar "
        b"1 beginbfrange <20> <7e> <0020> endbfrange "
        b"endcmap CMapName currentdict /CMap defineresource pop end end"
    )
    catalog = b"<< /Type /Catalog /Pages 2 0 R"
    if language:
        catalog += b" /Lang " + _text(language)
    if outline:
        catalog += b" /Outlines %d 0 R" % first_entry
    kids = b" ".join(b"%d 0 R" % (5 + 2 * number) for number in range(count))
    objects = [
        catalog + b" >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, count),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding /ToUnicode 4 0 R >>",
        _stream(to_unicode, compress=False),
    ]
    for number, page in enumerate(pages):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Rotate %d /Resources << /Font << /F 3 0 R >> >> "
            b"/Contents %d 0 R >>" % (rotate, 6 + 2 * number)
        )
        content = page if isinstance(page, bytes) else b"\n".join(map(_show, page))
        objects.append(_stream(content, compress))
    if outline:
        objects += _outline(outline, first_entry)
    objects.append(b"<< /Title %s %s >>" % (_text(title), information))
    return _assemble(objects, len(objects))


def _show(line: Line) -> bytes:
    # what a test writes by these three letters, the font above knows by the codes 1 to 3
    codes = line.text.replace("𝐀", "\x01").replace("ﬁ", "\x02").replace("\u00ad", "\x03").encode("cp1252")
    return b"BT /F %.2f Tf %.2f %.2f Td <%s> Tj ET" % (line.size, line.x, line.y, codes.hex().encode())


def _text(text: str) -> bytes:
    return b"<feff" + text.encode("utf-16-be", "surrogatepass").hex().encode() + b">"


def _stream(content: bytes, compress: bool) -> bytes:
    filters = b" /Filter /FlateDecode" if compress else b""
    content = zlib.compress(content) if compress else content
    return b"<< /Length %d%s >>\nstream\n%s\nendstream" % (len(content), filters, content)


def _outline(outline: Sequence[Entry], first: int) -> list[bytes]:
    """The outline's objects: the root, whose number is ``first``, and one for each entry."""
    parents: list[int] = []
    children: dict[int, list[int]] = {first: []}
    above = [first]
    for number, entry in enumerate(outline, start=first + 1):
        del above[entry.level + 1 :]
        parents.append(above[-1])
        children[above[-1]].append(number)
        children[number] = []
        above.append(number)
    objects = [b"<< /Type /Outlines%s >>" % _ends(children[first])]
    for number, (entry, parent) in enumerate(zip(outline, parents, strict=True), start=first + 1):
        after = [other for other in children[parent] if other > number]
        place = b"/XYZ 72 %.2f 0" % entry.y if entry.y else b"/Fit"
        objects.append(
            b"<< /Title %s /Parent %d 0 R /Dest [%d 0 R %s]%s%s >>"
            % (
                _text(entry.title),
                parent,
                5 + 2 * entry.page,
                place,
                b" /Next %d 0 R" % after[0] if after else b"",
                _ends(children[number]),
            )
        )
    return objects


def _ends(children: list[int]) -> bytes:
    return b" /First %d 0 R /Last %d 0 R" % (children[0], children[-1]) if children else b""


def _assemble(objects: list[bytes], information: int) -> bytes:
    pdf = b"%PDF-1.7\n"
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(pdf))
        pdf += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return pdf + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (len(objects) + 1, table, len(objects) + 1, information, len(pdf))
    )
