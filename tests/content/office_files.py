"""Builders of small, well-formed EPUB, DOCX and ODT files, and of zip files that are not."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""

METADATA = """<dc:title>The Lighthouse</dc:title><dc:creator>Ada Keeper</dc:creator><dc:creator>Ben Oar</dc:creator>
<dc:language>en-GB</dc:language><dc:date>1999-05-17</dc:date><dc:subject>Sea</dc:subject>
<dc:description>&lt;p&gt;A keeper and his lamp.&lt;/p&gt;</dc:description>
<meta property="dcterms:modified">2020-02-03T10:00:00Z</meta>"""


def zip_files(files: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def make_chapter(body: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml" '
        f'xmlns:epub="http://www.idpf.org/2007/ops"><head><title>x</title></head><body>{body}</body></html>'
    )


def epub_files(
    chapters: Mapping[str, str], toc: str = "", ncx: str = "", metadata: str = METADATA
) -> dict[str, str | bytes]:
    """The files of an EPUB with these chapters in this order, ``toc`` (an ``<ol>``) and ``ncx`` (``navPoint``\\ s)."""
    items = [
        f'<item id="c{number}" href="{name}" media-type="application/xhtml+xml"/>'
        for number, name in enumerate(chapters)
    ]
    spine = [f'<itemref idref="c{number}"/>' for number in range(len(chapters))]
    files: dict[str, str | bytes] = {"mimetype": "application/epub+zip", "META-INF/container.xml": CONTAINER}
    if toc:
        items.append('<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>')
        files["OEBPS/nav.xhtml"] = make_chapter(f'<nav epub:type="toc"><h1>Contents</h1>{toc}</nav>')
    if ncx:
        items.append('<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>')
        files["OEBPS/toc.ncx"] = (
            '<?xml version="1.0"?><!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" '
            '"http://www.daisy.org/z3986/2005/ncx-2005-1.dtd"><ncx xmlns="http://www.daisy.org/z3986/2005/ncx/">'
            f"<navMap>{ncx}</navMap></ncx>"
        )
    files["OEBPS/book.opf"] = (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/">{metadata}</metadata><manifest>{"".join(items)}</manifest>'
        f'<spine toc="ncx">{"".join(spine)}</spine></package>'
    )
    return files | {f"OEBPS/{name}": make_chapter(body) for name, body in chapters.items()}


def make_epub(chapters: Mapping[str, str], toc: str = "", ncx: str = "") -> bytes:
    """An EPUB, see `epub_files`."""
    return zip_files(epub_files(chapters, toc, ncx))
