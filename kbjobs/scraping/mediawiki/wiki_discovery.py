"""Finding out whether a page belongs to a MediaWiki, and where the wiki's API may be."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser

from kbjobs.content.encoding import NotText, decode_page
from kbjobs.content.nesting import TooDeeplyNested, prepare_page
from kbjobs.scraping.reply import Reply
from kbjobs.scraping.site_scope import normalise

USUAL_PLACES = ("/w/api.php", "/api.php", "/wiki/api.php")
"""Usual paths of the API on its host (Manual:Short URL)."""


def find_apis(reply: Reply) -> list[str]:
    """The addresses that the API may have, given a page of the site; none if the page is not a MediaWiki's."""
    if urlsplit(reply.url).path.endswith("/api.php"):
        return [reply.url.partition("?")[0]]
    try:
        page = prepare_page(decode_page(reply.body, reply.charset).encode("utf-8", "replace"))
    except (NotText, TooDeeplyNested):
        return []
    head = LexborHTMLParser(page).head
    if head is None:
        return []
    found = []
    # Really Simple Discovery: the link is the API's address with ?action=rsd.
    for node in head.css("link[rel=EditURI i][href]"):
        found.append(_join(reply.url, (node.attributes.get("href") or "").partition("?")[0]))
    generators = [node.attributes.get("content") or "" for node in head.css("meta[name=generator i]")]
    if any(generator.startswith("MediaWiki") for generator in generators):
        found += [_join(reply.url, place) for place in USUAL_PLACES]
    return [url for url in dict.fromkeys(found) if url is not None and url.endswith("/api.php")]


def _join(base: str, reference: str) -> str | None:
    try:
        return normalise(urljoin(base, reference))
    except ValueError:
        return None
