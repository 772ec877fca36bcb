"""The result of a reader: a document with its blocks of text, and the identities derived from them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from kbjobs.errors import KbjobsError

EXTRACTION_VERSION = 3
"""Version of the extractor. Raise it when the same file gives different text. The ledger stores it with each document,
and documents of an older version are read and cut again."""

CUTTING_VERSION = 2
"""Version of the chunker. Raise it when it cuts the same text differently. Passages of an older version are cut again
by the next run of a local model, and by a run of an online model on request."""

READING_VERSION = 3
"""Version of the code that finds files and decodes their bytes. Raise it when the same file gives different text.
Documents of an older version are read again, but only text that changes is embedded again."""

TITLE_LIMIT = 300
"""Longest title kept, in characters."""

DESCRIPTION_LIMIT = 500
"""Longest description kept, in characters."""

NAME_LIMIT = 120
"""Longest name of an author or a category, in characters: a longer text is not a name."""

MAX_AUTHORS, MAX_CATEGORIES = 20, 40

KINDS = (
    "article", "book", "collection", "course", "dataset", "discussion", "event", "faq", "how-to", "news",
    "organisation", "page", "paper", "pdf", "person", "place", "product", "question", "recipe", "reference", "review",
    "software", "text", "video",
)  # fmt: skip
"""The kinds of documents. ``page``, ``pdf`` and ``text`` are those that say no more about themselves."""

# C0 and C1 controls except tab and line feed, the separators U+2028/2029, lone surrogates and noncharacters:
# SQLite, JSON and terminals each fail on some of them. Bidirectional overrides are removed too: with them a page can
# display one thing and be indexed as another.
_UNWANTED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufeff\ufffe\uffff\ud800-\udfff]"
)
_CONTROL_BYTES = bytes(range(0x09)) + bytes(range(0x0B, 0x20)) + b"\x7f"
_UNWANTED_WIDE = re.compile(
    rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xef\xb7[\x90-\xaf]|\xef\xbb\xbf|\xef\xbf[\xbe\xbf]"
)


class UnreadableDocument(KbjobsError):
    """A file that cannot become a document; ``key`` names it, ``reason`` says why. Other files are still read."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason


class EmptyDocument(UnreadableDocument):
    """A file without a single word outside of navigation, scripts and markup."""


class Block(NamedTuple):  # not a dataclass: a large page has thousands, and a frozen one takes 3 times as long to make
    """A heading, paragraph, list item, table row or listing, in document order.

    ``level`` is 1-6 for a heading and 0 for text. Only listings keep line breaks. ``page`` is the page on which the
    block begins, from 1; 0 if the file has no pages.
    """

    kind: Literal["heading", "text"]
    level: int
    text: str
    page: int = 0


class About(NamedTuple):
    """What a file says about itself apart from its text; empty if it says nothing.

    ``published`` is a date as exact as the file gives it (``2024``, ``2024-05``, ``2024-05-17``), and so is
    ``modified``. ``kind`` is one of :data:`KINDS`. ``alternates`` are the same page in other languages, possibly with
    itself: pairs of language tag and reference, as the file has them. ``site`` is the site's name; ``licence`` the
    licence's address or name.
    """

    description: str = ""
    published: str = ""
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    kind: str = ""
    alternates: tuple[tuple[str, str], ...] = ()
    modified: str = ""
    site: str = ""
    licence: str = ""


SAYS_NOTHING = About()


@dataclass(frozen=True, slots=True)
class Document:
    """A readable file: its identity, its place and its text.

    ``path`` is the file's key within its source; ``url`` is http(s) or file; ``language`` is a lower-case BCP 47 tag,
    or None if neither the page nor its archive names one; ``links`` are absolute URLs of the same site;
    ``said_languages`` are pairs of the origin of a claim (``page``, ``archive`` or ``alternate``) and a tag.
    """

    doc_id: str
    path: str
    url: str
    title: str
    language: str | None
    blocks: tuple[Block, ...]
    content_hash: str
    word_count: int
    links: tuple[str, ...]
    about: About = SAYS_NOTHING
    said_languages: tuple[tuple[str, str], ...] = ()

    def without_text(self) -> Document:
        """Return the document without its blocks."""
        return replace(self, blocks=())


def document_id(source_id: str, key: str) -> str:
    """Return the id of the document ``key`` in ``source_id``: 32 hex digits, the same in every run."""
    return hashlib.sha256(f"{source_id}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def clean_text(text: str) -> str:
    """Return ``text`` in NFC, with controls, bidirectional overrides and surrogates turned into spaces."""
    if not is_clean(text):
        text = _UNWANTED.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
    return unicodedata.normalize("NFC", text)


def is_clean(text: str) -> bool:
    """Whether ``text`` holds nothing that `clean_text` would replace (apart from NFC)."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return False
    # bytes.translate and a regex with literal prefixes: about ten times faster than a character class
    return len(encoded.translate(None, _CONTROL_BYTES)) == len(encoded) and (
        text.isascii() or _UNWANTED_WIDE.search(encoded) is None
    )


def clean_title(text: str) -> str:
    """Return ``text`` on one line, clean, at most `TITLE_LIMIT` characters."""
    return " ".join(clean_text(text[: TITLE_LIMIT * 20]).split())[:TITLE_LIMIT].strip()


def clean_description(text: str) -> str:
    """Return ``text`` on one line, clean, at most `DESCRIPTION_LIMIT` characters."""
    return " ".join(clean_text(text[: DESCRIPTION_LIMIT * 4]).split())[:DESCRIPTION_LIMIT].strip()


def clean_names(names: Iterable[str], max_count: int) -> tuple[str, ...]:
    """Return names of authors or categories, clean and unique, without addresses and texts too long for a name."""
    kept: dict[str, None] = {}
    for name in names:
        name = " ".join(clean_text(name[: NAME_LIMIT * 4]).split())
        if name and len(name) <= NAME_LIMIT and not name.startswith(("http://", "https://", "/")):
            kept[name] = None
    return tuple(kept)[:max_count]


def clean_blocks(blocks: list[Block]) -> list[Block]:
    """Return ``blocks`` with clean text in NFC, without blocks of only white space."""
    joined = "\n".join([block.text for block in blocks])
    if is_clean(joined) and unicodedata.is_normalized("NFC", joined):
        return blocks
    cleaned = (Block(block.kind, block.level, clean_text(block.text).strip(), block.page) for block in blocks)
    return [block for block in cleaned if block.text]


def measure_content(title: str, blocks: Iterable[Block]) -> tuple[str, int]:
    """Return the content hash (sha256 of title and text, white space collapsed) and the number of words."""
    words = "\n".join([block.text for block in blocks]).split()
    digest = hashlib.sha256(f"{' '.join(title.split())}\n{' '.join(words)}".encode())
    return digest.hexdigest(), len(words)


@dataclass(frozen=True, slots=True)
class Extract:
    """A file's content before it gets an identity; strings are as in the file.

    ``canonical`` and ``references`` are URLs that the page claims or links to: neither checked nor resolved.
    """

    title: str
    language: str
    canonical: str
    blocks: list[Block]
    references: list[str]
    about: About = SAYS_NOTHING
