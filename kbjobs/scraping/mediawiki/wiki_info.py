"""A MediaWiki's description of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from kbjobs.errors import KbjobsError
from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.mediawiki.wiki_api import WikiApi
from kbjobs.scraping.site_scope import SiteScope, normalise, site_of

TEXT_LIMIT = 500
"""Most characters of a name or a licence."""


@dataclass(frozen=True, slots=True)
class Wiki:
    """A wiki's description of itself.

    ``namespaces`` are the numbers of its content namespaces; ``pages`` is the page count of its own statistics;
    ``server`` is the base address of its pages.
    """

    api: str
    name: str
    license: str
    namespaces: tuple[int, ...]
    pages: int
    server: str


async def describe_wiki(api: WikiApi) -> Wiki:
    """Ask a wiki for its description.

    Raises:
        KbjobsError: the wiki no longer answers, or only its users may read it.
        FetchError: the address is not an API of a MediaWiki.
    """
    answer = await api.ask_patiently(action="query", meta="siteinfo", siprop="general|namespaces|rightsinfo|statistics")
    query = answer.get("query")
    query = query if isinstance(query, dict) else {}
    general, rights = _object(query, "general"), _object(query, "rightsinfo")
    spaces = [one for one in _object(query, "namespaces").values() if isinstance(one, dict) and one.get("content")]
    numbers = sorted(one["id"] for one in spaces if type(one.get("id")) is int)
    server = normalise(urljoin(api.url, _text(general, "server")))
    if not numbers or server is None:
        raise FetchError(api.url, "broken reply", "not an answer of a MediaWiki")
    count = _object(query, "statistics").get("articles")
    return Wiki(
        api.url,
        _text(general, "sitename"),
        _text(rights, "text") or _text(rights, "url"),
        tuple(numbers),
        count if type(count) is int else 0,
        server,
    )


async def count_pages(api: WikiApi, wiki: Wiki, max_pages: int) -> int:
    """Count the pages that a wiki lists; its own statistics leave out pages without a link.

    Args:
        api: the wiki's API.
        wiki: the wiki, for its namespaces.
        max_pages: the count at which to stop.

    Raises:
        FetchError: the API gives no usable answer.
    """
    count = 0
    for namespace in wiki.namespaces:
        question = {"action": "query", "list": "allpages", "apnamespace": namespace, "aplimit": "max"}
        mark: dict[str, str] = {}
        while count < max_pages:
            answer = await api.ask_patiently(**question, apfilterredir="nonredirects", **mark)
            listed = _object(answer, "query").get("allpages")
            count += len(listed) if isinstance(listed, list) else 0
            following = {str(name): str(value) for name, value in _object(answer, "continue").items()}
            if not following or following == mark or not listed:
                break
            mark = following
    return min(count, max_pages)


def refuse_other_server(wiki: Wiki, scope: SiteScope) -> None:
    """Raise KbjobsError if a wiki's pages have another host than the scraped site."""
    if not scope.is_on_site(wiki.server):
        raise KbjobsError(
            f"the wiki's pages are at {site_of(wiki.server)}, which is another site",
            f"Give that address: --url {wiki.server}",
        )


def _object(values: dict[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    return value.strip()[:TEXT_LIMIT] if isinstance(value, str) else ""
