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


_WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STYLES = """<w:style w:styleId="Titel"><w:name w:val="Title"/></w:style>
<w:style w:styleId="U1"><w:name w:val="heading 1"/></w:style>
<w:style w:styleId="U2"><w:name w:val="Heading 2"/><w:basedOn w:val="U1"/></w:style>
<w:style w:styleId="Own"><w:name w:val="My own"/><w:basedOn w:val="U2"/></w:style>
<w:style w:styleId="Plain"><w:name w:val="Plain"/><w:basedOn w:val="U2"/>
<w:pPr><w:outlineLvl w:val="9"/></w:pPr></w:style>
<w:style w:styleId="Toc1"><w:name w:val="toc 1"/></w:style>
<w:style w:styleId="A"><w:name w:val="a"/><w:basedOn w:val="B"/></w:style>
<w:style w:styleId="B"><w:name w:val="b"/><w:basedOn w:val="A"/></w:style>"""
CORE = """<dc:title>The winter house</dc:title><dc:creator>Ada Keeper; Ben Oar</dc:creator>
<dc:language>de-CH</dc:language>
<cp:keywords>wool, bread; fire</cp:keywords><dc:description>How to live.</dc:description>
<dcterms:created>2019-11-03T10:00:00Z</dcterms:created><dcterms:modified>2020-01-05T10:00:00Z</dcterms:modified>"""


def docx_files(body: str, footnotes: str = "", core: str = CORE) -> dict[str, str | bytes]:
    """The files of a DOCX whose body is this XML."""

    def relations(*found: tuple[str, str, str]) -> str:
        lines = [
            f'<Relationship Id="r{number}" Type="{_RELATION}/{kind}" Target="{target}"{mode}/>'
            for number, (kind, target, mode) in enumerate(found)
        ]
        return (
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f"{''.join(lines)}</Relationships>"
        )

    return {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": relations(
            ("officeDocument", "word/document.xml", ""), ("metadata/core-properties", "docProps/core.xml", "")
        ),
        "word/_rels/document.xml.rels": relations(
            ("styles", "styles.xml", ""),
            ("footnotes", "/word/footnotes.xml", ""),
            ("hyperlink", "https://example.org/stove", ' TargetMode="External"'),
            ("attachedTemplate", "file:///etc/passwd", ' TargetMode="External"'),
        ),
        "word/document.xml": f'<?xml version="1.0"?><w:document {_WORD}><w:body>{body}</w:body></w:document>',
        "word/styles.xml": f"<w:styles {_WORD}>{STYLES}</w:styles>",
        "word/footnotes.xml": f"<w:footnotes {_WORD}>{footnotes}</w:footnotes>",
        "docProps/core.xml": (
            '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" '
            'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/">'
            f"{core}</cp:coreProperties>"
        ),
    }


def make_docx(body: str, footnotes: str = "", core: str = CORE) -> bytes:
    """A DOCX, see `docx_files`."""
    return zip_files(docx_files(body, footnotes, core))


def word_paragraph(text: str, style: str = "", more: str = "") -> str:
    """A paragraph of a DOCX; ``more`` are further runs."""
    named = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{named}<w:r><w:t xml:space="preserve">{text}</w:t></w:r>{more}</w:p>'


_ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "style", "meta", "drawing", "manifest")
)
META = """<dc:title>The winter house</dc:title><meta:initial-creator>Ada Keeper</meta:initial-creator>
<dc:creator>Ben Oar</dc:creator><dc:language>de-CH</dc:language><meta:keyword>wool</meta:keyword>
<meta:creation-date>2019-11-03T10:00:00</meta:creation-date><dc:date>2020-01-05T10:00:00</dc:date>
<dc:description>How to live.</dc:description>"""
_STYLES = """<style:style style:name="P1" style:parent-style-name="Title"/>
<style:style style:name="P2" style:parent-style-name="Standard"/>"""


def odt_files(body: str, meta: str = META) -> dict[str, str | bytes]:
    """The files of an ODT whose text is this XML."""
    namespaces = f'{_ODF} xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return {
        "mimetype": "application/vnd.oasis.opendocument.text",
        "META-INF/manifest.xml": f"<manifest:manifest {namespaces}/>",
        "content.xml": (
            f'<?xml version="1.0"?><office:document-content {namespaces}><office:automatic-styles>{_STYLES}'
            f"</office:automatic-styles><office:body><office:text>{body}</office:text></office:body>"
            "</office:document-content>"
        ),
        "meta.xml": f"<office:document-meta {namespaces}><office:meta>{meta}</office:meta></office:document-meta>",
    }


def make_odt(body: str, meta: str = META) -> bytes:
    """An ODT, see `odt_files`."""
    return zip_files(odt_files(body, meta))
