"""The files of a scraped site: naming the file of an address, and rewriting a page so that it works offline."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from selectolax.lexbor import LexborHTMLParser

from kbjobs.content.nesting import TooDeeplyNested, prepare_page
from kbjobs.scraping.links import find_base
from kbjobs.scraping.site_scope import normalise, site_of
from kbjobs.store.sources import RESERVED
from kbjobs.system.files import atomic_write

SEGMENT_LIMIT = 100
"""Longest component of a file's path in bytes; file systems allow 255."""

DEPTH_LIMIT = 20
"""Most folders of a file's path."""

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
SUFFIXES = {
    "text/html": ".html", "application/xhtml+xml": ".html", "application/pdf": ".pdf", "text/plain": ".txt",
    "text/markdown": ".md", "application/epub+zip": ".epub", "application/rtf": ".rtf", "text/rtf": ".rtf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.oasis.opendocument.text": ".odt", "text/css": ".css", "image/png": ".png", "image/jpeg": ".jpg",
    "image/gif": ".gif", "image/webp": ".webp", "image/svg+xml": ".svg", "image/x-icon": ".ico", "image/avif": ".avif",
}  # fmt: skip
"""The types that are saved, with the suffix of their files."""

_NO_PAGE = ("text/css", "image/")
PAGE_TYPES = frozenset(media_type for media_type in SUFFIXES if not media_type.startswith(_NO_PAGE))
"""The types that become documents. Tables and e-mail are not among them: on a site they are data, and often large."""

_ALIKE = {".html": (".html", ".htm", ".xhtml"), ".jpg": (".jpg", ".jpeg"), ".txt": (".txt", ".text", ".rst")}
_FILE_SUFFIXES = frozenset(SUFFIXES.values()).union(*_ALIKE.values())
_UNSAFE = re.compile(r"[\x00-\x1f\x7f<>:\"/\\|?*\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_HEAD = re.compile(r"<head(?:\s[^>]{0,500})?>", re.IGNORECASE)
_HTML = re.compile(r"<html(?:\s[^>]{0,500})?>|<!doctype[^>]{0,500}>", re.IGNORECASE)
_LINKS = (
    ("a[href], area[href], link[rel~=stylesheet i][href]", "href"),
    ("img[src], source[src], input[src], frame[src]", "src"),
    ("video[poster]", "poster"),
)


def name_file(url: str, media_type: str, home_site: str, is_taken: Callable[[str], bool], named: str = "") -> str:
    """Name an address's file: a path below the pages, with ``/``, that is the same each time.

    It follows the path of the address. A query, another host of the site, or a name that is taken already (ignoring
    case) adds to it.

    Args:
        url: the normalised address.
        media_type: the type of the reply.
        home_site: the site whose files need no folder of their own.
        is_taken: whether another address has a file of that name.
        named: an address whose path is used instead.
    """
    parts = urlsplit(named or url)
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    segments = [_clean(segment) for segment in parts.path.split("/")[1:]]
    if not segments[-1]:
        segments[-1] = "index"
    segments = [segment for segment in segments if segment]
    if len(segments) > DEPTH_LIMIT:
        segments = [*segments[: DEPTH_LIMIT - 1], f"{segments[-1][:60]}-{digest}"]
    stem, suffix = PurePosixPath(segments[-1]).stem, PurePosixPath(segments[-1]).suffix
    wanted = SUFFIXES.get(media_type, "")
    if suffix.lower() not in _ALIKE.get(wanted, (wanted,)):
        stem, suffix = segments[-1], wanted
    if parts.query or parts.fragment:
        stem += f"-{digest}"
    folders = [_name_folder(segment) for segment in segments[:-1]]
    if site_of(url) != home_site:
        folders.insert(0, _name_folder(_clean(site_of(url))))
    place = "/".join([*folders, stem])
    # A hostile site may predict names, so the next one may be taken, too.
    more = ("" if number == 0 else f"-{digest}" if number == 1 else f"-{digest}-{number}" for number in count())
    return next(name for each in more if not is_taken(name := f"{place}{each}{suffix}"))


def write_page(text: str, url: str) -> str:
    """Rewrite an HTML page for saving: in UTF-8, with absolute links, and with its address as canonical link.

    Canonical links of its own are removed.
    """

    address = quote(url, safe="%/:?=&+,;@!$()*~#[]")
    marks = f'<meta charset="utf-8"><link rel="canonical" href="{address}">'
    if (tree := _parse(text)) is None:
        return marks + text
    base = find_base(tree, url)

    def make_absolute(value: str) -> str | None:
        reference, mark, fragment = value.partition("#")
        found = normalise(reference, base)
        return None if found is None else f"{found}{mark}{fragment}"

    is_changed = _replace_links(tree, make_absolute)
    # Absolute links need no base, and later links to files must not have one.
    for node in tree.css("base, link[rel~=canonical i]"):
        node.decompose()
        is_changed = True
    text = (tree.html or text) if is_changed else text
    for place in (_HEAD, _HTML):
        if found := place.search(text[:20_000]):
            marked = text[: found.end()] + marks + text[found.end() :]
            if _find_canonical(marked) == address:  # otherwise it landed inside a comment, for example
                return marked
    return marks + text


def relink(text: str, file: str, files: Mapping[str, str]) -> str:
    """Make the links of a saved page lead to the files of other saved pages.

    Args:
        text: the page.
        file: its path below the folder of pages.
        files: the paths of saved files by their addresses.
    """
    folder = str(PurePosixPath(file).parent)

    def make_relative(value: str) -> str | None:
        reference, mark, fragment = value.partition("#")
        place = files.get(reference)
        if place is None:
            return None
        return quote(os.path.relpath(place, folder), safe="/-._~!$&'()*+,;=@") + mark + fragment

    tree = _parse(text)
    return (tree.html or text) if tree is not None and _replace_links(tree, make_relative) else text


def _parse(text: str) -> LexborHTMLParser | None:
    """Parse a page; None if it is nested too deeply."""
    try:
        return LexborHTMLParser(prepare_page(text.encode("utf-8", "replace")))
    except TooDeeplyNested:
        return None


def _find_canonical(text: str) -> str:
    tree = _parse(text)
    node = None if tree is None or tree.head is None else tree.head.css_first("link[rel~=canonical i][href]")
    return "" if node is None else node.attributes.get("href") or ""


def _replace_links(tree: LexborHTMLParser, replace: Callable[[str], str | None]) -> bool:
    """Replace the links of a page; returns whether any was replaced."""
    is_changed = False
    for selector, name in _LINKS:
        for node in tree.css(selector):
            value = (node.attributes.get(name) or "").strip()
            if not value or value.startswith("#"):
                continue
            target = replace(value)
            if target is not None and target != value:
                node.attrs[name] = target
                is_changed = True
    return is_changed


def save(path: Path, data: bytes) -> None:
    """Write a file completely or not at all, creating its folders; on a full disk, nothing is left behind."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with atomic_write(path, path.with_name(f".{path.name[:200]}.part"), durable=False) as file:
        file.write(data)


def _name_folder(segment: str) -> str:
    """A folder name that no page's file has: ``/a`` is saved as ``a.html``, so ``/a.html/b`` needs another folder."""
    return f"{segment}_" if PurePosixPath(segment).suffix.lower() in _FILE_SUFFIXES else segment


def _clean(segment: str) -> str:
    """A path component that every file system accepts; '' if nothing is left of it."""
    name = _UNSAFE.sub("_", unquote(segment, errors="replace")).strip(" .")
    if name.split(".")[0].lower() in RESERVED:
        name = f"_{name}"
    encoded = name.encode("utf-8", "replace")
    if len(encoded) > SEGMENT_LIMIT:
        stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
        digest = hashlib.sha256(encoded).hexdigest()[:8]
        kept = stem.encode("utf-8", "replace")[: SEGMENT_LIMIT - 20].decode("utf-8", "ignore")
        name = f"{kept}-{digest}{suffix[:10]}"
    return name
