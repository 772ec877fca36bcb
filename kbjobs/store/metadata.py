"""The metadata in a ledger: the facts about each document, the marks of language filters, the targets of links."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kbjobs.store.connection import transaction
from kbjobs.store.document_filter import DocumentFilter
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import FROM_PACK, DocumentLike

LINK_PAGE = 5_000  # links compared and committed together
MAX_TAGS = 1_000  # a page may claim any language
MAX_NUMBER = 2**53  # well below the largest number of SQLite
UNKNOWN = "unknown"
_SETTLED = "links resolved"
_COLUMNS = (
    "doc_id", "state", "signature", "language", "evidence", "snippet", "characters", "heading_count", "headings",
    "description", "published", "authors", "categories", "doc_type", "modified", "site", "licence",
)  # fmt: skip
_PUT = (
    f"INSERT INTO metadata ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
    f" ON CONFLICT (doc_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}"
)


class AboutLike(Protocol):
    """What the ledger keeps of a document's own statements about itself."""

    @property
    def description(self) -> str: ...  # noqa: D102
    @property
    def published(self) -> str: ...  # noqa: D102
    @property
    def authors(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def categories(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def modified(self) -> str: ...  # noqa: D102
    @property
    def site(self) -> str: ...  # noqa: D102
    @property
    def licence(self) -> str: ...  # noqa: D102


class MetadataLike(Protocol):
    """What the ledger keeps of a document's metadata."""

    @property
    def language(self) -> str | None: ...  # noqa: D102
    @property
    def evidence(self) -> object: ...  # noqa: D102
    @property
    def about(self) -> AboutLike: ...  # noqa: D102
    @property
    def snippet(self) -> str: ...  # noqa: D102
    @property
    def characters(self) -> int: ...  # noqa: D102
    @property
    def heading_count(self) -> int: ...  # noqa: D102
    @property
    def headings(self) -> Sequence[tuple[int, str]]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class KnownMetadata:
    """What the ledger knows of a document; ``state`` and ``signature`` are empty if its metadata was never read."""

    path: str
    content_hash: str
    state: str
    signature: str
    has_file: bool
    """Whether its file was read here; False for a document from a pack whose file was not seen yet."""


@dataclass(frozen=True, slots=True)
class LinkCounts:
    """The numbers of links that lead to a document of the source, and of those that do not."""

    resolved: int
    unresolved: int


def known_metadata(ledger: Ledger) -> dict[str, KnownMetadata]:
    """What is known of each document, by id."""
    rows = ledger.connection.execute(
        "SELECT d.doc_id, d.path, d.content_hash, coalesce(m.state, ''), coalesce(m.signature, ''),"
        f" d.signature <> '{FROM_PACK}'"
        " FROM documents d LEFT JOIN metadata m ON m.doc_id = d.doc_id"
    )
    return {row[0]: KnownMetadata(row[1], row[2], row[3], row[4], bool(row[5])) for row in rows}


def put_metadata(
    ledger: Ledger,
    pipeline: str,
    state: str,
    batch: Iterable[tuple[DocumentLike, str, MetadataLike]],
    paid: Collection[int] = (),
) -> None:
    """Write documents with their signatures and metadata, in one transaction.

    A document whose content changed no longer counts as cut, so that the next index run cuts it again. Its old passages
    stay until then, because the collection still holds them.

    Args:
        ledger: the source's ledger.
        pipeline: the name and version of the code that read the documents.
        state: the name and version of the code that read the metadata.
        batch: each document with the signature of its file, and its metadata.
        paid: the profiles with paid vectors: a document still counts as cut for them if only a newer version of the
            reader changed its text.
    """
    with transaction(ledger.connection):
        execute = ledger.connection.execute
        for document, signature, metadata in batch:
            ledger.write_document(pipeline, document, signature, paid)
            about = metadata.about
            execute(
                _PUT,
                (
                    document.doc_id,
                    state,
                    signature,
                    metadata.language,
                    _dump(metadata.evidence),
                    metadata.snippet,
                    metadata.characters,
                    metadata.heading_count,
                    _dump(metadata.headings),
                    about.description,
                    about.published,
                    _dump(about.authors),
                    _dump(about.categories),
                    about.kind,
                    about.modified,
                    about.site,
                    about.licence,
                ),
            )


def list_matching(ledger: Ledger, wanted: DocumentFilter) -> list[str]:
    """The ids of the documents that match."""
    rows = ledger.connection.execute(
        "SELECT d.doc_id, coalesce(m.language, d.language), m.published, m.categories, d.path, m.doc_type"
        " FROM documents d LEFT JOIN metadata m ON m.doc_id = d.doc_id"
    )
    return [
        doc_id
        for doc_id, language, published, categories, path, doc_type in rows
        if wanted.matches(
            {
                "language": language,
                "published": published,
                "categories": json.loads(categories) if categories else (),
                "path": path,
                "doc_type": doc_type,
            }
        )
    ]


def list_documents(ledger: Ledger, doc_ids: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """What is known of each document, as JSON values, in order of path. Metadata that was never read is None.

    Args:
        ledger: the source's ledger.
        doc_ids: only these documents; None for all.
    """
    only = "" if doc_ids is None else " WHERE doc_id IN (SELECT value FROM json_each(:doc_ids))"
    rows = ledger.connection.execute(
        "SELECT d.doc_id, d.path, d.url, d.title, coalesce(m.language, d.language), d.filtered, d.word_count,"
        " d.content_hash, m.characters, m.published, m.doc_type, m.description, m.snippet, m.authors, m.categories,"
        " m.heading_count, m.headings, (SELECT count(*) FROM links WHERE links.doc_id = d.doc_id), p.passages,"
        " m.modified, m.site, m.licence"
        f" FROM (SELECT * FROM documents{only}) d LEFT JOIN metadata m ON m.doc_id = d.doc_id LEFT JOIN ("
        "SELECT doc_id, max(count) AS passages FROM"
        f" (SELECT doc_id, count(*) AS count FROM chunks{only} GROUP BY doc_id, profile) GROUP BY doc_id"
        ") p ON p.doc_id = d.doc_id ORDER BY d.path",
        {} if doc_ids is None else {"doc_ids": json.dumps(list(doc_ids))},
    )
    names = (
        "doc_id", "path", "url", "title", "language", "filtered", "words", "content_hash", "characters", "published",
        "doc_type", "description", "snippet", "authors", "categories", "heading_count", "headings", "links", "passages",
        "modified", "site", "licence",
    )  # fmt: skip
    for row in rows:
        found = dict(zip(names, row, strict=True))
        found["filtered"] = bool(found["filtered"])
        found["passages"] = found["passages"] or 0
        for name in ("authors", "categories", "headings"):
            found[name] = json.loads(found[name]) if found[name] is not None else None
        yield found


def find_doc_id(ledger: Ledger, name: str) -> str | None:
    """The id of a document, named by id, path, URL, or number in the list of all; None if there is none."""
    execute = ledger.connection.execute
    row = execute("SELECT doc_id FROM documents WHERE ? IN (doc_id, path, url) ORDER BY path", (name,)).fetchone()
    if row is None and name.isdecimal() and name.isascii() and 0 < int(name) < MAX_NUMBER:
        row = execute("SELECT doc_id FROM documents ORDER BY path LIMIT 1 OFFSET ?", (int(name) - 1,)).fetchone()
    return None if row is None else str(row[0])


def number_of(ledger: Ledger, path: str) -> int:
    """The number in the list of all documents, from 1, of the one with this path."""
    return int(ledger.connection.execute("SELECT count(*) FROM documents WHERE path <= ?", (path,)).fetchone()[0])


def count_years(ledger: Ledger) -> dict[int, int]:
    """The number of documents published in each year, earliest first; documents without a year are left out."""
    rows = ledger.connection.execute(
        "SELECT CAST(substr(published, 1, 4) AS INTEGER) AS year, count(*) FROM metadata WHERE year > 0 GROUP BY year"
    )
    return {row[0]: row[1] for row in rows}


def mark_filtered(ledger: Ledger, is_wanted: Callable[[str], bool]) -> int:
    """Mark exactly the documents whose language is known and not wanted; returns how many are marked."""
    execute = ledger.connection.execute
    languages = [row[0] for row in execute("SELECT DISTINCT language FROM metadata WHERE language IS NOT NULL")]
    unwanted = json.dumps([language for language in languages if not is_wanted(language)])
    marked = "doc_id IN (SELECT doc_id FROM metadata WHERE language IN (SELECT value FROM json_each(?)))"
    with transaction(ledger.connection):
        execute(f"UPDATE documents SET filtered = 0 WHERE filtered = 1 AND NOT {marked}", (unwanted,))
        execute(f"UPDATE documents SET filtered = 1 WHERE filtered = 0 AND {marked}", (unwanted,))
    return count_filtered(ledger)


def count_filtered(ledger: Ledger) -> int:
    """The number of marked documents: kept in the ledger, but neither embedded nor in a collection."""
    return int(ledger.connection.execute("SELECT count(*) FROM documents WHERE filtered = 1").fetchone()[0])


def count_languages(ledger: Ledger) -> dict[str, int]:
    """The number of documents per language tag, most frequent first; ``unknown`` counts those without a language."""
    rows = ledger.connection.execute(
        "SELECT coalesce(language, ?), count(*) FROM metadata GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?",
        (UNKNOWN, MAX_TAGS),
    )
    return dict(rows.fetchall())


def count_headings(ledger: Ledger) -> int:
    """The total number of headings in all documents."""
    return int(ledger.connection.execute("SELECT coalesce(sum(heading_count), 0) FROM metadata").fetchone()[0])


def document_urls(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Pairs of doc_id and URL."""
    for row in ledger.connection.execute("SELECT doc_id, url FROM documents ORDER BY doc_id"):
        yield row[0], row[1]


def is_finalized(ledger: Ledger) -> bool:
    """Whether links and languages are up to date with the documents."""
    return ledger.fact(_SETTLED) is not None


def forget_finalized(ledger: Ledger) -> None:
    """Record, before documents change, that links and languages must be finalized again."""
    ledger.set_fact(_SETTLED, None)


def note_finalized(ledger: Ledger) -> None:
    """Record that links and languages are up to date with the documents."""
    ledger.set_fact(_SETTLED, "yes")


def read_evidence(ledger: Ledger) -> Iterator[tuple[str, str | None, Any]]:
    """Each document's id, its language and the evidence for it (a JSON value), as given to :func:`put_metadata`."""
    rows = ledger.connection.execute("SELECT doc_id, language, evidence FROM metadata WHERE evidence IS NOT NULL")
    for doc_id, language, evidence in rows:
        yield doc_id, language, json.loads(evidence)


def set_languages(ledger: Ledger, languages: Sequence[tuple[str | None, str]]) -> None:
    """Change the language of documents, given as pairs of language and doc_id."""
    with transaction(ledger.connection):
        ledger.connection.executemany("UPDATE metadata SET language = ? WHERE doc_id = ?", languages)


def resolve_links(ledger: Ledger, find: Callable[[str], str | None], check: Callable[[], None]) -> None:
    """Set the document that each link leads to, page by page.

    Args:
        ledger: the source's ledger.
        find: returns the id of the document at a URL, or None.
        check: called before each page; may raise to stop.
    """
    execute = ledger.connection.execute
    after = ("", "")
    while True:
        check()
        rows = execute(
            "SELECT doc_id, url, target FROM links WHERE (doc_id, url) > (?, ?) ORDER BY doc_id, url LIMIT ?",
            (*after, LINK_PAGE),
        ).fetchall()
        if not rows:
            break
        after = (rows[-1][0], rows[-1][1])
        changed = [(target, row[0], row[1]) for row in rows if (target := find(row[1])) != row[2]]
        if changed:
            with transaction(ledger.connection):
                ledger.connection.executemany("UPDATE links SET target = ? WHERE doc_id = ? AND url = ?", changed)


def count_links(ledger: Ledger) -> LinkCounts:
    """Count the links that lead to a document of the source, and those that do not."""
    total, resolved = ledger.connection.execute("SELECT count(*), count(target) FROM links").fetchone()
    return LinkCounts(int(resolved), int(total) - int(resolved))


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
