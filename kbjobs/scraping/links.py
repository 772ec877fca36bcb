"""What a page of the web leads to, and what it says of how it wants to be taken."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser

from kbjobs.content.nesting import TooDeeplyNested, refuse_deep_nesting
from kbjobs.scraping.addresses import normalise

MOST_LINKS = 2_000
"""Most links of one page that are followed."""

_ASSETS = (("img", "src"), ("source", "src"), ("video", "poster"), ("input", "src"))
_IN_STYLE = re.compile(r"""url\(\s*["']?([^"')\s]{1,2000})|@import\s+["']([^"']{1,2000})""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PageLinks:
    """The addresses of a page, in one form and each once: ``links``, ``assets`` (pictures and styles), ``canonical``.

    ``may_follow`` and ``may_keep`` are what its robots meta allows.
    """

    links: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    canonical: str = ""
    may_follow: bool = True
    may_keep: bool = True


def read_links(page: str, url: str) -> PageLinks:
    """The addresses of an HTML page that was found at ``url``. Of one that is nested too deeply there are none."""
    data = page.encode("utf-8", "replace")
    try:
        refuse_deep_nesting(data)
    except TooDeeplyNested:
        return PageLinks()
    tree = LexborHTMLParser(data)
    base = find_base(tree, url)
    rules = " ".join(
        (node.attributes.get("content") or "").lower() for node in tree.css("meta[name=robots i], meta[name=kbjobs i]")
    )
    canonical = ""
    if (node := tree.css_first("link[rel~=canonical i][href]")) is not None:
        canonical = normalise(node.attributes.get("href") or "", base) or ""
    links: dict[str, None] = {}
    for node in tree.css("a[href], area[href], frame[src], link[rel~=next i][href]"):
        attributes = node.attributes
        if "nofollow" in (attributes.get("rel") or "").lower():
            continue
        if found := normalise(attributes.get("href") or attributes.get("src") or "", base):
            links[found] = None
            if len(links) == MOST_LINKS:
                break
    assets: dict[str, None] = {}
    for tag, name in _ASSETS:
        for node in tree.css(f"{tag}[{name}]"):
            if found := normalise(node.attributes.get(name) or "", base):
                assets[found] = None
    for node in tree.css("link[rel~=stylesheet i][href]"):
        if found := normalise(node.attributes.get("href") or "", base):
            assets[found] = None
    may_follow = "nofollow" not in rules and "none" not in rules.split()
    may_keep = "noindex" not in rules and "none" not in rules.split()
    return PageLinks(tuple(links), tuple(assets)[:MOST_LINKS], canonical, may_follow, may_keep)


def read_style_links(style: str, url: str) -> tuple[str, ...]:
    """The addresses of pictures and styles that a style sheet asks for."""
    found = (normalise(one[1] or one[2], url) for one in _IN_STYLE.finditer(style))
    return tuple(dict.fromkeys(filter(None, found)))[:MOST_LINKS]


def find_base(tree: LexborHTMLParser, url: str) -> str:
    """What the relative addresses of a page that was found at ``url`` begin from."""
    node = tree.css_first("base[href]")
    try:
        return url if node is None else urljoin(url, node.attributes.get("href") or "")
    except ValueError:
        return url
