"""Listing a wiki's pages into the frontier, and finding the pages that have changed since the last run.

A wiki is listed completely once; later runs read its recent changes for titles that were edited, created, moved or
deleted, and ask the wiki for the current state of each. If the changes do not reach back to the last run, the wiki is
listed again. A stop at any time costs one answer, because the frontier records how far the list was read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard
from urllib.parse import quote

from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.mediawiki.wiki_api import WikiApi
from kbjobs.scraping.site_scope import SiteScope, normalise
from kbjobs.store.frontier import Frontier, ListedPage
from kbjobs.system.crashpoints import crash_point

OVERLAP = timedelta(minutes=10)
"""How long before the last look changes are requested, because a wiki's replicas lag behind each other."""

MAX_CHANGES = 200_000
"""If there are more events since the last look, listing all pages again is faster."""

MAX_ANSWERS = 50_000
"""Most answers of one list, to stop at a wiki without end."""

FIRST_PLACE = {"namespace": 0, "next": None, "ended": False, "since": None}
"""The start of the list: a namespace's index, the mark of the next batch, whether all was read, the start time."""

_TITLES_AT_ONCE, _TITLES_LENGTH = 50, 4_000  # most titles of a query, and most bytes of them in a URL
_INFO = {"action": "query", "prop": "info|revisions", "inprop": "url", "rvprop": "ids|timestamp"}


class PageList:
    """The pages of one wiki in one frontier.

    Args:
        api: the wiki's API.
        frontier: the frontier that takes the pages.
        namespaces: the numbers of the wanted namespaces.
        scope: which addresses are wanted.
        has_file: whether a saved file still exists.
        on_progress: called with the number of known pages from time to time.
    """

    def __init__(
        self,
        api: WikiApi,
        frontier: Frontier,
        namespaces: tuple[int, ...],
        scope: SiteScope,
        has_file: Callable[[str], bool],
        on_progress: Callable[[int], None],
    ) -> None:
        self.unchanged = 0
        """The number of pages found unchanged."""
        self._api, self._frontier, self._namespaces = api, frontier, namespaces
        self._scope, self._has_file, self._on_progress = scope, has_file, on_progress

    @property
    def is_ended(self) -> bool:
        """Whether all pages were listed."""
        return bool(self._place()["ended"])

    async def update(self) -> None:
        """Record the changes since the last look, once per run; or that the list must be read again."""
        if self._frontier.fact("wiki looked"):
            return
        since = self._frontier.fact("wiki since")
        known = self._frontier.forget_missing(self._has_file)
        now, changed = await self._changes_since(since) if since else (await self._now(), None)
        if changed is None:
            # If pages are known already, the next run may rely on changes only after the list was read to its end.
            self._frontier.set_fact("wiki since", None if known else now)
            self._frontier.set_fact("wiki list", {**FIRST_PLACE, "since": now})
        else:
            for titles in _chunks(changed):
                pages = await self._collect({**_INFO, "titles": titles})
                self._note(pages)
                crash_point("scrape.wiki_change")
            self.unchanged += self._frontier.keep_unchanged()
            self._frontier.set_fact("wiki since", now)
        self._frontier.set_fact("wiki looked", True)

    async def extend(self, count: int) -> None:
        """Continue reading the list until it has given ``count`` pages, or to its end."""
        place = self._place()
        for _ in range(MAX_ANSWERS):
            if place["ended"] or self._frontier.listed() >= count:
                return
            number = place["namespace"]
            question = {
                **_INFO, "generator": "allpages", "gapnamespace": self._namespaces[number],
                "gapfilterredir": "nonredirects", "gaplimit": "max",
            }  # fmt: skip
            pages, after = await self._collect_step(question, place["next"])
            self._note(pages)
            if after is not None and after == place["next"]:
                raise FetchError(self._api.url, "broken reply", "its list of pages repeats itself")
            if after is None:
                number += 1
            place |= {"namespace": number, "next": after, "ended": number >= len(self._namespaces)}
            if place["ended"] and self._frontier.fact("wiki since") is None:
                # The list was read from its start: pages that it does not name are gone.
                self._frontier.drop_unlisted()
                self._frontier.set_fact("wiki since", place["since"])
            self._frontier.set_fact("wiki list", place)
            crash_point("scrape.wiki_list")
            self._on_progress(self._frontier.listed())
        raise FetchError(self._api.url, "broken reply", "its list of pages does not end")

    def _place(self) -> dict[str, Any]:
        """How far the list has been read."""
        place = self._frontier.fact("wiki list")
        return dict(place) if isinstance(place, dict) else dict(FIRST_PLACE)

    def _note(self, pages: Iterable[dict[str, Any]]) -> None:
        there, gone = [], []
        for page in pages:
            url = normalise(str(page.get("fullurl", "")))
            if url is None or not self._scope.has(url) or page.get("ns") not in self._namespaces:
                continue
            listed = _read_page(page, url)
            if listed is None:
                gone.append(url)
            else:
                there.append(listed)
        self.unchanged += self._frontier.list_pages(there, gone)

    async def _now(self) -> str:
        """The time by the wiki's clock."""
        answer = await self._api.ask_patiently(action="query", curtimestamp=1)
        return _read_time(answer)

    async def _changes_since(self, since: str) -> tuple[str, list[str] | None]:
        """The wiki's time, and the titles with changes since then; None for these if they are not known."""
        oldest = await self._api.ask_patiently(
            action="query", list="recentchanges", rcdir="newer", rclimit=1, rcprop="timestamp", curtimestamp=1
        )
        now = _read_time(oldest)
        first = next(iter(_items(oldest, "recentchanges")), None)
        if first is None or str(first.get("timestamp", "")) > since:
            return now, None  # the wiki may have dropped earlier changes
        titles: dict[str, None] = {}
        events = 0
        question = {
            "action": "query", "list": "recentchanges", "rcdir": "newer", "rcstart": _earlier(since), "rclimit": "max",
            "rctype": "edit|new|log", "rcprop": "title|timestamp|loginfo",
        }  # fmt: skip
        async for answer in self._continue(question):
            for event in _items(answer, "recentchanges"):
                events += 1
                parameters = event.get("logparams")
                moved = parameters.get("target_title") if isinstance(parameters, dict) else None
                titles |= {title: None for title in (event.get("title"), moved) if _is_title(title)}
            self._on_progress(self._frontier.listed())
            if events > MAX_CHANGES:
                return now, None
        return now, list(titles)

    async def _continue(self, question: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        after: dict[str, Any] = {}
        for _ in range(MAX_ANSWERS):
            answer = await self._api.ask_patiently(**question, **after)
            yield answer
            following = answer.get("continue")
            if not isinstance(following, dict) or not following:
                return
            if following == after:
                raise FetchError(self._api.url, "broken reply", "its answers repeat themselves")
            after = following
        raise FetchError(self._api.url, "broken reply", "its answers have no end")

    async def _collect(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        """All pages of a request, each merged from its several answers."""
        pages, after = await self._collect_step(question, None)
        while after is not None:
            more, after = await self._collect_step(question, after)
            pages += more
        return pages

    async def _collect_step(
        self, question: dict[str, Any], after: dict[str, Any] | None
    ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """The pages of one batch, and the mark of the next one; None at the end."""
        found: dict[str, dict[str, Any]] = {}
        async for answer in self._continue({**question, **(after or {})}):
            for page in _items(answer, "pages"):
                found.setdefault(str(page.get("title")), {}).update(page)
            following = answer.get("continue")
            # Properties of a batch may come in several answers; the last one says batchcomplete (API:Continue).
            if answer.get("batchcomplete") or not isinstance(following, dict):
                return list(found.values()), following if isinstance(following, dict) and following else None
        return list(found.values()), None


def _read_page(page: dict[str, Any], url: str) -> ListedPage | None:
    """Read a page of the list; None if it is missing, a redirect, or malformed."""
    number, revision = page.get("pageid"), page.get("lastrevid")
    if page.get("missing") or page.get("invalid") or page.get("redirect"):
        return None
    if type(number) is not int or type(revision) is not int or not 0 < number < 2**63:
        return None
    revisions = page.get("revisions")
    latest = revisions[0] if isinstance(revisions, list) and revisions and isinstance(revisions[0], dict) else {}
    return ListedPage(url, number, str(revision), str(latest.get("timestamp", ""))[:40])


def _items(answer: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    query = answer.get("query")
    items = query.get(name) if isinstance(query, dict) else None
    yield from (one for one in items if isinstance(one, dict)) if isinstance(items, list) else ()


def _is_title(title: object) -> TypeGuard[str]:
    return isinstance(title, str) and 0 < len(title) < 500 and "|" not in title


def _chunks(titles: list[str]) -> Iterator[str]:
    """Join titles into parameters, each with as many titles as a query may have."""
    chunk: list[str] = []
    length = 0
    for title in titles:
        size = len(quote(title)) + 3
        if chunk and (len(chunk) == _TITLES_AT_ONCE or length + size > _TITLES_LENGTH):
            yield "|".join(chunk)
            chunk, length = [], 0
        chunk.append(title)
        length += size
    if chunk:
        yield "|".join(chunk)


def _read_time(answer: dict[str, Any]) -> str:
    """The wiki's time in an answer, as ISO 8601 in UTC; this machine's time if it has none."""
    try:
        return _write_time(datetime.fromisoformat(str(answer.get("curtimestamp"))).astimezone(UTC))
    except ValueError:
        return _write_time(datetime.now(UTC))


def _earlier(time: str) -> str:
    return _write_time(datetime.fromisoformat(time) - OVERLAP)


def _write_time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
