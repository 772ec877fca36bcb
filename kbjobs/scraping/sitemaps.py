"""Sitemaps, in which a site lists its pages (sitemaps.org/protocol.html), and feeds, which serve as sitemaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

from kbjobs.scraping.decompression import unpack
from kbjobs.scraping.web_urls import is_web_url

MAX_BYTES = 50 * 1024 * 1024
MAX_URLS = 50_000
"""Most URLs of one file. Both limits are the protocol's; the bytes are those of the unpacked file."""
MAX_DEPTH = 50
"""Deepest nesting of elements, so that a file of opening tags alone cannot fill the memory."""
ENTRIES = {"urlset": "url", "sitemapindex": "sitemap", "rss": "item", "RDF": "item", "feed": "entry"}
"""The name of an entry, by the file's root element."""
FIELDS = {"loc": "loc", "link": "link", "lastmod": "date", "pubDate": "date", "updated": "date", "date": "date"}


@dataclass
class Sitemap:
    """The entries of one file, in its order."""

    urls: list[tuple[str, str]] = field(default_factory=list)
    """Pages, each with the date of its last change as written there; it may be empty."""
    sitemaps: list[str] = field(default_factory=list)
    """Other sitemaps, if it is an index."""
    is_cut: bool = False
    """Whether it lists more than :data:`MAX_URLS`."""

    def add(self, kind: str, url: str, date: str) -> None:
        """Add an entry, unless it is not a web address.

        Args:
            kind: ``sitemap`` for another sitemap; anything else is a page.
            url: the address.
            date: the date of its last change as written there; may be empty.
        """
        if len(self.urls) + len(self.sitemaps) >= MAX_URLS:
            self.is_cut = True
        elif not is_web_url(url):
            return
        elif kind == "sitemap":
            self.sitemaps.append(url)
        else:
            self.urls.append((url, date))


def read_sitemap(body: bytes) -> Sitemap:
    """Read a sitemap: XML, an index of sitemaps, a list of URLs as text, RSS or Atom, each plain or gzipped.

    Raises:
        ValueError: the body is none of these, is damaged or too large, or declares entities.
    """
    text = unpack(body, MAX_BYTES).lstrip()
    if is_xml(text):
        return read_xml(text)
    sitemap = Sitemap()
    for line in text.decode("utf-8-sig", errors="replace").splitlines():
        sitemap.add("url", line.strip(), "")
    if text and not sitemap.urls:
        raise ValueError("it is neither XML nor a list of URLs")
    return sitemap


def is_xml(text: bytes) -> bool:
    """Whether a text begins like XML, in UTF-8 or UTF-16."""
    return text.lstrip(b"\xef\xbb\xbf\xff\xfe\x00").startswith(b"<")


def read_xml(text: bytes) -> Sitemap:
    """Read an XML sitemap; see :func:`read_sitemap`."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    reading = _Reading()
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.read
    parser.EntityDeclHandler = reading.refuse_entity
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, LookupError) as error:  # LookupError for an unknown charset
        raise ValueError(f"it is not XML: {error}") from error
    return reading.sitemap


class _Reading:
    """The state of reading a file. Namespaces are ignored, and fields count only directly below an entry."""

    def __init__(self) -> None:
        self.sitemap = Sitemap()
        self._entry_name = ""
        self._path: list[str] = []
        self._entry: dict[str, str] = {}
        self._text: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if len(self._path) == MAX_DEPTH:
            raise ValueError(f"its elements are nested more than {MAX_DEPTH} deep")
        if not self._path:
            if name not in ENTRIES:
                raise ValueError(f"it is not a sitemap: it begins with <{name}>")
            self._entry_name = ENTRIES[name]
        elif name == self._entry_name:
            self._entry = {}
        elif name == "link" and attributes.get("rel", "alternate") == "alternate" and self._is_in_entry():
            self._entry.setdefault("href", attributes.get("href", ""))
        self._path.append(name)
        self._text = []

    def read(self, text: str) -> None:
        self._text.append(text)

    def end(self, name: str) -> None:
        name = self._path.pop()
        if name == self._entry_name:
            url = self._entry.get("loc") or self._entry.get("link") or self._entry.get("href", "")
            self.sitemap.add(name, url, self._entry.get("date", ""))
        elif name in FIELDS and self._is_in_entry():
            self._entry.setdefault(FIELDS[name], "".join(self._text).strip())

    def refuse_entity(self, name: str, *declared: object) -> None:
        # A few lines of entities can expand to gigabytes; no sitemap needs any.
        raise ValueError(f"it declares an entity: {name}")

    def _is_in_entry(self) -> bool:
        return bool(self._path) and self._path[-1] == self._entry_name
