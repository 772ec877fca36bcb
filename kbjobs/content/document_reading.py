"""Turn one file into one document: read it safely, decode, extract, identify."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, urljoin, urlsplit

from kbjobs.content.dates import date_in_path
from kbjobs.content.document import (
    Document,
    EmptyDocument,
    Extract,
    UnreadableDocument,
    clean_blocks,
    clean_title,
    document_id,
    measure_content,
)
from kbjobs.content.encoding import decode_page
from kbjobs.content.source_files import (
    HTML_SUFFIXES,
    MARKDOWN_SUFFIXES,
    OTHER_SUFFIXES,
    PDF_SUFFIXES,
    TABLE_SUFFIXES,
    FoundFile,
)
from kbjobs.content.text import extract_markdown, extract_text
from kbjobs.content.titles import NO_SITE, SiteTitles

SIZE_LIMIT = 32 * 2**20
"""Largest file that is read, in bytes. A larger page is a data dump, and takes gigabytes when parsed."""

PICTURES_SIZE_LIMIT = 256 * 2**20
"""Largest file that is read if its format holds pictures or attachments, such as a PDF, in bytes."""

DOCUMENT_SECONDS = 30.0
"""Processor time that reading a document may take, plus a second per MB of it."""

LINK_LIMIT = 1_000
"""The most links kept per document."""

URL_LIMIT = 2_000
"""Longest URL kept, in characters."""

_PDF_MARK = b"%PDF-"
_OTHER_MARKS = (b"PK\x03\x04", b"{\\rtf")  # zip files, which e-books and office documents are, and RTF
_WITH_PICTURES = (PDF_SUFFIXES | OTHER_SUFFIXES) - TABLE_SUFFIXES
_HTML_BEGIN = re.compile(r"\s*(?:<\?xml[^>]{0,200}>\s*)?<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)
_READ_SIZE = 2**20
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{1,8}){0,4}\Z")
_HOST = re.compile(r"[a-z0-9.\-\[\]:]{1,255}\Z")
_REFUSED_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028-\u202e\u2066-\u2069\ud800-\udfff\"<>\\^`{|}]")
_URL_SAFE = "%/:=&?~#+!$,;'@()*[]"


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a document.

    Attributes:
        key: names the document within its source.
        name: its title if it has none.
        url: its own address.
        page_url: the address that its references are relative to.
        base_url: the address of its source's root, if any.
        archive_language: the language that its archive declares for its entries, or ''.
    """

    key: str
    name: str
    url: str
    page_url: str
    base_url: str | None
    archive_language: str = ""


def max_seconds(size: int, min_seconds: float = DOCUMENT_SECONDS) -> float:
    """Return the most processor seconds that reading a document of ``size`` bytes may take."""
    return min_seconds + size / 1_000_000


def read_document(
    found: FoundFile,
    source_id: str,
    base_url: str | None = None,
    titles: SiteTitles = NO_SITE,
    *,
    keeps_comments: bool = False,
) -> Document:
    """Read, decode and extract one file.

    Args:
        found: the file.
        source_id: the source that the file belongs to.
        base_url: the address (http or https) of the source's root on the web, if any.
        titles: what the pages of the source repeat in their titles.
        keeps_comments: whether readers' comments are part of a page's text.

    Raises:
        UnreadableDocument: the file is empty, too large, binary, without text, gone, or changed while it was read;
            the error gives the reason for people.
    """
    extract = extract_page(found.key, read_bytes(found), found.path.suffix.lower(), keeps_comments=keeps_comments)
    url, is_claimed = _choose_url(found, extract.canonical, base_url)
    page_url = url if is_claimed or not base_url else join_base(base_url, found)
    return make_document(source_id, extract, Origin(found.key, found.path.stem, url, page_url, base_url), titles)


def extract_page(key: str, page: bytes, suffix: str, *, keeps_comments: bool = False) -> Extract:
    """Extract what a file or an archive's entry says.

    Args:
        key: names the file within its source, for errors.
        page: the file's bytes, which choose the reader.
        suffix: the file's suffix in lower case, such as ``.html``: chooses the reader if the bytes do not.
        keeps_comments: whether readers' comments are part of a page's text.

    Raises:
        UnreadableDocument: the bytes are not text, are nested too deeply, or cannot be parsed.
    """
    try:
        return _extract(page, suffix, keeps_comments)
    except ValueError as error:  # NotText and TooDeeplyNested, or a parser's error on hostile input
        raise UnreadableDocument(key, str(error)) from error


def make_document(source_id: str, extract: Extract, origin: Origin, titles: SiteTitles = NO_SITE) -> Document:
    """Make a document from the content of a file or an archive's entry.

    Args:
        source_id: the source that the document belongs to.
        extract: what the file or entry says.
        origin: where it comes from.
        titles: what the pages of the source repeat in their titles.

    Raises:
        EmptyDocument: it has no words.
    """
    blocks = clean_blocks(extract.blocks)
    title = titles.shorten(clean_title(extract.title)) or clean_title(origin.name) or "untitled"
    content_hash, word_count = measure_content(title, blocks)
    if word_count == 0:
        raise EmptyDocument(origin.key, "no text: nothing is left without navigation, scripts and markup")
    about, url = extract.about, origin.url
    if not about.published:
        about = about._replace(published=date_in_path(urlsplit(url).path if is_web(url) else f"/{origin.key}"))
    language = read_language(extract.language)
    alternate = _own_alternate(extract, url, origin.page_url)
    said = [("page", language), ("archive", origin.archive_language), ("alternate", alternate)]
    return Document(
        doc_id=document_id(source_id, origin.key),
        path=origin.key,
        url=url,
        title=title,
        language=language or origin.archive_language or None,
        blocks=tuple(blocks),
        content_hash=content_hash,
        word_count=word_count,
        links=resolve_links(extract.references, origin.page_url, origin.base_url),
        about=about,
        said_languages=tuple((rule, tag) for rule, tag in said if tag),
    )


def is_web(url: str) -> bool:
    """Whether a URL is http or https."""
    return url.startswith(("http://", "https://"))


def _own_alternate(extract: Extract, url: str, page_url: str) -> str:
    """Find the language under which a page lists itself (``<link rel=alternate hreflang=fr href=…>``); '' for none, or
    two."""
    own = {url, page_url}
    found = {
        tag
        for tag, reference in extract.about.alternates
        if len(reference) <= URL_LIMIT and (resolved := _resolve(page_url, reference)) and resolved[1] in own
    }
    return found.pop() if len(found) == 1 else ""


def read_language(tag: str) -> str | None:
    """Return a language tag in lower case if it looks like BCP 47 (``en``, ``pt-br``), else None."""
    tag = tag.strip()[:40].lower().replace("_", "-")
    return tag if _LANGUAGE.match(tag) else None


def check_web_url(url: str) -> str | None:
    """Return ``url`` without its fragment if it is http(s), has a plain host and no controls, else None."""
    url = url.strip()
    if len(url) > URL_LIMIT or _REFUSED_IN_URL.search(url):
        return None
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.username or not _HOST.match(parts.netloc.lower()):
            return None
        _ = parts.port  # raises for an invalid port
    except ValueError:
        return None
    return quote(parts._replace(fragment="").geturl(), safe=_URL_SAFE)


def resolve_links(references: list[str], page_url: str, base_url: str | None = None) -> tuple[str, ...]:
    """Return the links that stay on the site of ``page_url`` or ``base_url``: absolute, unique, in order.

    Args:
        references: the targets of the page's links, as written there.
        page_url: the address that they are relative to.
        base_url: the address of the source's root, if any.
    """
    hosts = {urlsplit(url).netloc.lower() for url in (page_url, base_url) if url}
    folder = page_url[: page_url.rfind("/") + 1]
    links: dict[str, None] = {}
    for reference in dict.fromkeys(reference.partition("#")[0].strip() for reference in references):
        if not reference or len(reference) > URL_LIMIT:
            continue
        resolved = _resolve(page_url if reference.startswith("?") else folder, reference)
        if resolved is not None and resolved[0] in hosts and resolved[1] != page_url:
            links[resolved[1]] = None
            if len(links) == LINK_LIMIT:
                break
    return tuple(links)


@lru_cache(maxsize=20_000)  # the pages of a folder link to the same pages
def _resolve(base: str, reference: str) -> tuple[str, str] | None:
    """Return host and URL of ``reference`` relative to ``base``, or None if it is not a page that can be opened
    there."""
    try:
        parts = urlsplit(urljoin(base, reference))
    except ValueError:
        return None
    # a web page links to web pages, a file to files
    if parts.scheme not in (("file",) if base.startswith("file:") else ("http", "https")):
        return None
    url = quote(parts.geturl().encode("utf-8", "replace"), safe=_URL_SAFE)
    return (parts.netloc.lower(), url) if len(url) <= URL_LIMIT else None


def read_bytes(found: FoundFile) -> bytes:
    """Return the file's bytes, even if it has become a link, a pipe or another file since it was found.

    Raises UnreadableDocument.
    """
    limit = PICTURES_SIZE_LIMIT if found.path.suffix.lower() in _WITH_PICTURES else SIZE_LIMIT
    if found.size > limit:
        raise UnreadableDocument(found.key, _too_large(found.size, limit))
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(found.path, flags)
    except OSError as error:
        raise UnreadableDocument(found.key, (error.strerror or "cannot be opened").lower()) from error
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise UnreadableDocument(found.key, "not a regular file (a device, a pipe or a socket)")
        if before.st_size > limit:
            raise UnreadableDocument(found.key, _too_large(before.st_size, limit))
        pieces: list[bytes] = []
        length = 0
        while piece := os.read(descriptor, _READ_SIZE):
            pieces.append(piece)
            length += len(piece)
            if length > limit:
                raise UnreadableDocument(found.key, _too_large(length, limit))
        after = os.fstat(descriptor)
    except OSError as error:
        raise UnreadableDocument(found.key, f"read error: {(error.strerror or str(error)).lower()}") from error
    finally:
        os.close(descriptor)
    if length != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise UnreadableDocument(found.key, "changed while it was read")
    if not length:
        raise UnreadableDocument(found.key, "empty file (0 bytes)")
    return b"".join(pieces)


def _too_large(size: int, limit: int) -> str:
    return f"too large: {size / 2**20:,.0f} MiB, the limit is {limit // 2**20} MiB"


def _extract(page: bytes, suffix: str, keeps_comments: bool) -> Extract:
    # ISO 32000 requires %PDF- at the very beginning; readers search for it in the first 1,024 bytes.
    if _PDF_MARK in page[: 1024 if suffix in PDF_SUFFIXES else len(_PDF_MARK)]:
        from kbjobs.content.pdf_reading import extract_pdf

        return extract_pdf(page)
    if suffix in OTHER_SUFFIXES or page.startswith(_OTHER_MARKS) or not suffix:
        from kbjobs.content.other_formats import extract_other

        if (extract := extract_other(page, suffix)) is not None:
            return extract
    text = decode_page(page)
    if suffix in HTML_SUFFIXES or _HTML_BEGIN.match(text):
        from kbjobs.content.html import extract_html

        is_xml = suffix == ".xhtml" or text[:200].lstrip().startswith("<?xml")
        return extract_html(text.encode("utf-8", "replace"), is_xml=is_xml, keeps_comments=keeps_comments)
    if suffix in MARKDOWN_SUFFIXES:
        return extract_markdown(text)
    return extract_text(text)


def _choose_url(found: FoundFile, canonical: str, base_url: str | None) -> tuple[str, bool]:
    """Return the document's URL, and whether it is the one that the page claims for itself.

    A page may claim any address. If the source's address is known, a claim of another host is not believed: a search
    result must not lead the reader to a place that the source's owner never named.
    """
    claimed = check_web_url(canonical) if canonical else None
    if claimed and (not base_url or urlsplit(claimed).netloc.lower() == urlsplit(base_url).netloc.lower()):
        return claimed, True
    if base_url:
        return join_base(base_url, found), False
    return "file://" + quote(os.fsencode(found.path)), False


def join_base(base_url: str, found: FoundFile) -> str:
    """Return the URL of a file below the URL of its source's root."""
    return base_url.rstrip("/") + "/" + quote(os.fsencode(found.relative))
