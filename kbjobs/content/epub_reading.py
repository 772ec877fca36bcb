"""Read an EPUB as blocks of text: its chapters in reading order, with headings from its table of contents.

Source: EPUB 3.3 (W3C), which also describes what is left of EPUB 2. Pictures, fonts, styles and scripts are not opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from kbjobs.content.block_list import BlockList
from kbjobs.content.dates import read_date
from kbjobs.content.document import (
    MAX_AUTHORS,
    MAX_CATEGORIES,
    About,
    Extract,
    clean_description,
    clean_names,
    clean_title,
)
from kbjobs.content.encoding import NotText, decode_page
from kbjobs.content.epub_contents import (
    TocEntry,
    drop_printed_contents,
    fold_title,
    mark_places,
    read_navigation,
    read_ncx,
    resolve_path,
    set_headings,
)
from kbjobs.content.html import read_whole_page
from kbjobs.content.nesting import TooDeeplyNested
from kbjobs.content.xml_tree import DamagedXml, child_of, parse_xml, text_of, texts_of
from kbjobs.content.zipped_files import DamagedFile, ZippedFiles

CONTAINER = "META-INF/container.xml"
"""The file that every EPUB has: it names the package document (EPUB 3.3, 4.2.6.3.1)."""

CHAPTER_LIMIT = 32 * 2**20
"""Largest chapter that is read, in bytes. A larger page takes gigabytes when parsed."""

_ENCRYPTION = "META-INF/encryption.xml"
_CHAPTER_TYPES = frozenset(["application/xhtml+xml", "text/html", "text/x-oeb1-document"])
_NCX_TYPE = "application/x-dtbncx+xml"
_DESCRIPTION = 20_000  # characters of a description, which may be HTML
_TAG = re.compile(r"<[^<>]{0,500}>")


@dataclass(frozen=True, slots=True)
class _Item:
    """A file of the book, as its manifest lists it."""

    path: str
    media_type: str
    properties: frozenset[str]


def extract_epub(files: ZippedFiles) -> Extract:
    """Extract the text and the metadata of an EPUB.

    Chapters that are missing or damaged are left out, unless none is left. Raises ValueError, with a reason for people,
    if the book is encrypted, damaged, hostile, without text or too large.
    """
    path = _find_package(files)
    package = parse_xml(files.read(path), path)
    items = _read_manifest(package, path)
    chapters = _order_chapters(package, items)
    if locked := _encrypted_paths(files).intersection(chapters):
        raise ValueError(f"it is encrypted (DRM): {min(locked)[:100]} and others need a key")
    contents = _read_contents(files, package, items)
    entries: dict[str, list[TocEntry]] = {}
    for entry in contents:
        entries.setdefault(entry.path, []).append(entry)
    titles = frozenset(fold_title(entry.title, numbered=False) for entry in contents) - {""}
    found, references, languages = BlockList(), [], []
    unreadable: list[str] = []
    for chapter in chapters:
        own = entries.get(chapter, [])
        try:
            text = mark_places(decode_page(files.read(chapter, CHAPTER_LIMIT)), own)
            extract = read_whole_page(text.encode("utf-8", "replace"), is_xml=True)
        except (DamagedFile, NotText, TooDeeplyNested) as error:
            unreadable.append(str(error))
            continue
        found.add_read(set_headings(drop_printed_contents(extract.blocks, titles), own))
        references += [link for link in extract.references if link.startswith(("http://", "https://"))]
        languages.append(extract.language)
    if len(unreadable) == len(chapters):
        raise ValueError(unreadable[0] if unreadable else "no text: it has no chapters")
    metadata = package.find("metadata")
    title = text_of(child_of(metadata, "title"))
    language = text_of(child_of(metadata, "language")) or next(filter(None, languages), "")
    return Extract(title, language, "", found.blocks, references, _read_about(metadata))


def _find_package(files: ZippedFiles) -> str:
    container = parse_xml(files.read(CONTAINER), CONTAINER)
    for rootfile in container.iter("rootfile"):
        if path := rootfile.get("full-path", ""):
            return path
    raise ValueError(f"it is damaged: {CONTAINER} does not name its contents")


def _read_manifest(package: Element, path: str) -> dict[str, _Item]:
    manifest = package.find("manifest")
    items: dict[str, _Item] = {}
    for item in manifest if manifest is not None else ():
        place = resolve_path(path, item.get("href", ""))[0]
        properties = frozenset(item.get("properties", "").split())
        items[item.get("id", "")] = _Item(place, item.get("media-type", "").lower(), properties)
    return items


def _order_chapters(package: Element, items: dict[str, _Item]) -> list[str]:
    """List the files of text in reading order, each once, without the table of contents."""
    spine = package.find("spine")
    ordered = [items.get(reference.get("idref", "")) for reference in (spine if spine is not None else ())]
    return list(
        dict.fromkeys(
            item.path for item in ordered if item and item.media_type in _CHAPTER_TYPES and "nav" not in item.properties
        )
    )


def _encrypted_paths(files: ZippedFiles) -> frozenset[str]:
    """Return the files that need a key. Fonts are often among them, and then the text is readable."""
    if _ENCRYPTION not in files:
        return frozenset()
    root = parse_xml(files.read(_ENCRYPTION), _ENCRYPTION)
    return frozenset(unquote(reference.get("URI", "")) for reference in root.iter("CipherReference"))


def _read_contents(files: ZippedFiles, package: Element, items: dict[str, _Item]) -> list[TocEntry]:
    """Read the table of contents. A damaged one costs headings, but no text."""
    spine = package.find("spine")
    named = items.get(spine.get("toc", "") if spine is not None else "")
    candidates = [(item.path, read_navigation) for item in items.values() if "nav" in item.properties]
    candidates += [(item.path, read_ncx) for item in items.values() if item is named or item.media_type == _NCX_TYPE]
    for path, read in candidates[:2]:
        try:
            if entries := read(parse_xml(files.read(path), path), path):
                return entries
        except (DamagedFile, DamagedXml):
            continue  # the other one may be whole
    return []


def _read_about(metadata: Element | None) -> About:
    dates = [child for child in (metadata if metadata is not None else ()) if child.tag == "date"]
    dates.sort(key=lambda date: date.get("event", "publication") != "publication")
    modified = [
        text_of(child)
        for child in (metadata if metadata is not None else ())
        if child.tag == "meta" and child.get("property") == "dcterms:modified"
    ]
    return About(
        description=clean_description(_TAG.sub(" ", " ".join(texts_of(metadata, "description"))[:_DESCRIPTION])),
        published=next(filter(None, [read_date(text_of(date)) for date in dates]), ""),
        authors=clean_names(texts_of(metadata, "creator"), MAX_AUTHORS),
        categories=clean_names(texts_of(metadata, "subject"), MAX_CATEGORIES),
        kind="book",
        modified=next(filter(None, map(read_date, modified)), ""),
        licence=clean_title(" ".join(texts_of(metadata, "rights"))),
    )
