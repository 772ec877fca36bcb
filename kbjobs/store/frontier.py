"""The frontier of a scrape: every address seen, in the order of fetching, and the result of its fetch.

Each source has one SQLite file (``scrape.db``). A fetched page and the addresses it leads to are committed together, so
a kill costs only the fetches in flight. Addresses are fetched in order of depth, then of discovery.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbjobs.store.connection import connect, transaction
from kbjobs.store.database import Database
from kbjobs.store.frontier_schema import FRONTIER_VERSION, create_frontier

QUEUED, SAVED, SAME, SKIPPED, FAILED, GONE = "queued", "saved", "same", "skipped", "failed", "gone"
"""The states of an address: waiting to be fetched; saved as a file; the same page as another address; not a page, or
excluded; not fetchable; no longer there."""

_CANONICAL = "canonical "  # prefix of a fact's name, before an id; its value: the canonical address that the page names
LISTED = "listed"
"""The cause of a wiki page that is queued because the wiki lists it."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address to fetch.

    ``depth`` is the number of links that lead to it; ``tries`` the number of failed fetches; ``etag``,
    ``last_modified`` and ``body_hash`` are from its last successful fetch; ``file`` is its path below the pages ('' for
    none), and ``page`` the page's number in its wiki (0 for an ordinary web page).
    """

    id: int
    url: str
    depth: int
    is_asset: bool
    tries: int
    etag: str
    last_modified: str
    body_hash: str
    file: str
    page: int = 0


@dataclass(frozen=True, slots=True)
class ListedPage:
    """A page that a wiki lists: its address and number, its latest revision and that revision's time (ISO 8601)."""

    url: str
    page: int
    revision: str
    modified: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """The result of fetching an address: its state, the cause, and what its next fetch needs.

    ``canonical`` is the canonical address that the page names, '' if it names none or its own.
    """

    id: int
    state: str
    cause: str = ""
    file: str = ""
    etag: str = ""
    last_modified: str = ""
    body_hash: str = ""
    canonical: str = ""


@dataclass(frozen=True, slots=True)
class Double:
    """A page that names another saved page as its canonical one: its id and file, the other's address and file."""

    id: int
    file: str
    canonical: str
    canonical_file: str


@dataclass(frozen=True, slots=True)
class FrontierCounts:
    """The number of addresses of a run per state; ``waiting`` counts the queued ones whose fetch has failed before."""

    states: dict[str, int]
    waiting: int

    def of(self, state: str) -> int:
        """The number of addresses in a state."""
        return self.states.get(state, 0)

    @property
    def total(self) -> int:
        """The number of known addresses."""
        return sum(self.states.values())


class Frontier(Database):
    """One ``scrape.db``. Its writer holds the source's lock."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, connect(path, FRONTIER_VERSION, create_frontier))
        # A page lost in a power cut is fetched again; at a page a second, no sync is worth waiting for.
        self.connection.execute("PRAGMA synchronous = NORMAL")

    def fact(self, name: str) -> Any:
        """A remembered JSON value; None if there is none."""
        row = self.connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set_fact(self, name: str, value: Any) -> None:
        """Remember a JSON value."""
        self.connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    @property
    def is_open(self) -> bool:
        """Whether a run has begun and not ended."""
        return bool(self.fact("open"))

    def begin(self, whole: bool = False) -> None:
        """Begin a run, which fetches all addresses again; ``whole``: download also unchanged pages."""
        with transaction(self.connection):
            if whole:
                self.connection.execute("UPDATE urls SET etag = '', last_modified = ''")
            self.connection.execute(
                "UPDATE urls SET state = 'queued', cause = '', tries = 0, retry_at = 0"
                " WHERE page = 0 OR state <> 'gone'"
            )
            self.connection.execute("DELETE FROM facts WHERE name LIKE ?", (f"{_CANONICAL}%",))
            self.set_fact("open", True)

    def go_on(self) -> None:
        """Continue a run: addresses that wait for another try are due at once."""
        self.connection.execute("UPDATE urls SET retry_at = 0, tries = 0 WHERE state = 'queued' AND tries > 0")

    def end(self) -> None:
        """End the run. What is still queued waits for the next one."""
        with transaction(self.connection):
            # A wiki lists its pages, so a page that is gone is not asked for again.
            self.connection.execute("DELETE FROM urls WHERE page <> 0 AND state = 'gone' AND file = ''")
            self.set_fact("open", False)

    def add(self, urls: Iterable[str], depth: int, is_asset: bool = False) -> int:
        """Queue addresses that are not known yet.

        Args:
            urls: the addresses.
            depth: the number of links from the start to them.
            is_asset: whether they are files that pages need, rather than pages.

        Returns:
            The number of addresses queued.
        """
        before = self.connection.total_changes
        with transaction(self.connection):
            self._add(urls, depth, is_asset)
        return self.connection.total_changes - before

    def next(self, count: int, now: float, wants_assets: bool, but: Sequence[int] = ()) -> list[Address]:
        """The next addresses to fetch, pages first.

        Args:
            count: the largest number of addresses.
            now: seconds since 1970; addresses that wait for a later time are left out.
            wants_assets: whether to return assets once no page is left.
            but: ids of the addresses that are being fetched.
        """
        marks = ",".join("?" * len(but))
        rows = self.connection.execute(
            "SELECT id, url, depth, asset, tries, etag, last_modified, body_hash, file, page FROM urls"
            " INDEXED BY queued_urls"
            f" WHERE state = 'queued' AND retry_at <= ? AND asset <= ? AND id NOT IN ({marks})"
            " ORDER BY asset, depth, id LIMIT ?",
            (now, int(wants_assets), *but, count),
        )
        return [Address(row[0], row[1], row[2], bool(row[3]), *row[4:]) for row in rows]

    def next_moment(self) -> float | None:
        """The time when the first queued address may be fetched, in seconds since 1970; None if none is queued."""
        row = self.connection.execute("SELECT min(retry_at) FROM urls WHERE state = 'queued'").fetchone()
        return None if row[0] is None else float(row[0])

    def put(self, fetched: Fetched, links: Iterable[str] = (), assets: Iterable[str] = (), depth: int = 0) -> None:
        """Record the result of a fetch, and queue the addresses that the page leads to.

        Args:
            fetched: the result.
            links: the pages that the page links to.
            assets: the files that it needs.
            depth: the depth of those pages and files.
        """
        with transaction(self.connection):
            self.connection.execute(
                "UPDATE urls SET state = ?, cause = ?, file = ?, etag = ?, last_modified = ?, body_hash = ?"
                " WHERE id = ?",
                (fetched.state, fetched.cause, fetched.file, fetched.etag, fetched.last_modified, fetched.body_hash,
                 fetched.id),
            )  # fmt: skip
            if fetched.canonical:
                self.set_fact(f"{_CANONICAL}{fetched.id}", fetched.canonical)
            self._add(links, depth, False)
            self._add(assets, depth, True)

    def put_off(self, address: int, cause: str, until: float) -> None:
        """Leave an address queued for another try.

        Args:
            address: the id of the address.
            cause: why this try failed.
            until: the time of the next try, in seconds since 1970.
        """
        self.connection.execute(
            "UPDATE urls SET tries = tries + 1, cause = ?, retry_at = ? WHERE id = ?", (cause, until, address)
        )

    def _add(self, urls: Iterable[str], depth: int, is_asset: bool) -> None:
        self.connection.executemany(
            "INSERT OR IGNORE INTO urls (url, depth, asset, state) VALUES (?, ?, ?, 'queued')",
            [(url, depth, int(is_asset)) for url in urls],
        )

    def list_pages(self, there: Iterable[ListedPage], gone: Iterable[str]) -> int:
        """Record a wiki's list of pages, and queue those whose revision has changed.

        Args:
            there: pages that the wiki has.
            gone: addresses that are not, or no longer, pages of the wiki.

        Returns:
            The number of queued pages that have not changed.
        """
        unchanged = 0
        with transaction(self.connection):
            for one in there:
                row = self.connection.execute(
                    "SELECT id, state, etag, file FROM urls WHERE url = ?", (one.url,)
                ).fetchone()
                if row is None:
                    self.connection.execute(
                        "INSERT INTO urls (url, depth, state, cause, page, last_modified)"
                        " VALUES (?, 0, 'queued', ?, ?, ?)",
                        (one.url, LISTED, one.page, one.modified),
                    )
                elif row[2] == one.revision and row[3]:
                    unchanged += row[1] == QUEUED
                    self.connection.execute(
                        "UPDATE urls SET state = 'saved', cause = '', page = ? WHERE id = ?", (one.page, row[0])
                    )
                else:
                    self.connection.execute(
                        "UPDATE urls SET state = 'queued', cause = ?, etag = '', last_modified = ?, page = ?,"
                        " tries = 0, retry_at = 0 WHERE id = ?",
                        (LISTED, one.modified, one.page, row[0]),
                    )
            for url in gone:
                self.connection.execute("DELETE FROM urls WHERE url = ? AND page <> 0 AND file = ''", (url,))
                self.connection.execute(
                    "UPDATE urls SET state = 'gone', cause = 'deleted or moved' WHERE url = ? AND page <> 0", (url,)
                )
        return unchanged

    def listed(self) -> int:
        """The number of wiki pages listed in this run that are saved, unchanged or still to be fetched."""
        row = self.connection.execute(
            "SELECT count(*) FROM urls"
            " WHERE page <> 0 AND (state IN ('saved', 'same') OR state = 'queued' AND cause = ?)",
            (LISTED,),
        ).fetchone()
        return int(row[0])

    def keep_unchanged(self) -> int:
        """Mark wiki pages that the wiki's changes do not mention as saved; returns how many those are."""
        return self.connection.execute(
            "UPDATE urls SET state = 'saved'"
            " WHERE page <> 0 AND state = 'queued' AND cause = '' AND file <> '' AND etag <> ''"
        ).rowcount

    def drop_unlisted(self) -> None:
        """Mark wiki pages that the wiki's complete list does not name as gone."""
        self.connection.execute(
            "UPDATE urls SET state = 'gone', cause = 'not listed' WHERE page <> 0 AND state = 'queued' AND cause = ''"
        )

    def forget_missing(self, is_there: Callable[[str], bool]) -> int:
        """Forget the revisions of wiki pages whose file is missing; returns how many pages still have their file."""
        rows = self.connection.execute("SELECT id, file FROM urls WHERE page <> 0 AND file <> ''").fetchall()
        missing = [(row[0],) for row in rows if not is_there(row[1])]
        with transaction(self.connection):
            self.connection.executemany("UPDATE urls SET etag = '' WHERE id = ?", missing)
        return len(rows) - len(missing)

    def find(self, url: str) -> tuple[int, str, str] | None:
        """Id, state and body hash of an address; None if it was never seen."""
        row = self.connection.execute("SELECT id, state, body_hash FROM urls WHERE url = ?", (url,)).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def find_body(self, body_hash: str, but: int) -> str | None:
        """The address of another page that was saved with the same body in this run."""
        row = self.connection.execute(
            "SELECT url FROM urls WHERE body_hash = ? AND state = 'saved' AND id <> ? AND asset = 0"
            " ORDER BY id LIMIT 1",
            (body_hash, but),
        ).fetchone()
        return None if row is None else str(row[0])

    def doubles(self) -> list[Double]:
        """Pages saved in this run whose canonical address is another page saved in it."""
        claims = self.connection.execute("SELECT name, value FROM facts WHERE name LIKE ?", (f"{_CANONICAL}%",))
        found = []
        for name, value in claims.fetchall():
            row = self.connection.execute(
                "SELECT page.id, page.file, other.url, other.file FROM urls page, urls other WHERE page.id = ?"
                " AND other.url = ? AND page.id <> other.id AND page.state = 'saved' AND other.state = 'saved'",
                (int(name.removeprefix(_CANONICAL)), json.loads(value)),
            ).fetchone()
            if row is not None:
                found.append(Double(*row))
        return found

    def drop_double(self, double: Double) -> None:
        """Mark a page as the same as its canonical page; its own file is forgotten."""
        self.connection.execute(
            "UPDATE urls SET state = 'same', cause = ?, file = '' WHERE id = ?",
            (f"the same as {double.canonical}", double.id),
        )

    def has_file(self, file: str, but: int) -> bool:
        """Whether another address has a file of that name, ignoring case."""
        row = self.connection.execute(
            "SELECT 1 FROM urls WHERE lower(file) = lower(?) AND file <> '' AND id <> ?", (file, but)
        ).fetchone()
        return row is not None

    def files(self) -> Iterator[tuple[str, str]]:
        """Pairs of address and file, for all addresses that have a file."""
        rows = self.connection.execute("SELECT url, file FROM urls WHERE file <> '' ORDER BY id")
        yield from (tuple(row) for row in rows)

    def gone(self) -> list[tuple[int, str]]:
        """Ids and files of addresses that still have a file but are gone, skipped or another address's page now."""
        rows = self.connection.execute(
            "SELECT id, file FROM urls WHERE file <> '' AND state IN ('gone', 'same', 'skipped') ORDER BY id"
        )
        return [(row[0], row[1]) for row in rows]

    def forget_files(self, ids: Sequence[int]) -> None:
        """Record that addresses no longer have a file."""
        with transaction(self.connection):
            self.connection.executemany("UPDATE urls SET file = '' WHERE id = ?", [(one,) for one in ids])

    def count(self, assets: bool = False) -> FrontierCounts:
        """Count the pages, or the assets, per state."""
        rows = self.connection.execute(
            "SELECT state, count(*) FROM urls WHERE asset = ? GROUP BY state", (int(assets),)
        ).fetchall()
        waiting = self.connection.execute(
            "SELECT count(*) FROM urls WHERE asset = ? AND state = 'queued' AND tries > 0", (int(assets),)
        ).fetchone()[0]
        return FrontierCounts(dict(map(tuple, rows)), int(waiting))

    def count_moved(self) -> int:
        """The number of pages that redirect to another address, or name a saved page as their canonical one."""
        row = self.connection.execute(
            "SELECT count(*) FROM urls WHERE state = 'same' AND asset = 0 AND cause <> ''"
        ).fetchone()
        return int(row[0])

    def causes(self, state: str) -> dict[str, int]:
        """The number of addresses in a state per cause, most frequent first."""
        rows = self.connection.execute(
            "SELECT cause, count(*) FROM urls WHERE state = ? AND cause <> '' GROUP BY cause ORDER BY 2 DESC, 1",
            (state,),
        )
        return dict(map(tuple, rows))

    def left_out(self, max_count: int) -> list[tuple[str, str, str]]:
        """Addresses that did not become a page: the state ("failed" or "skipped"), the address and the cause."""
        rows = self.connection.execute(
            "SELECT state, url, cause FROM urls WHERE state IN ('failed', 'skipped') ORDER BY state, cause, id LIMIT ?",
            (max_count,),
        )
        return [(row[0], row[1], row[2]) for row in rows]
