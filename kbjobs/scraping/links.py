"""The links of a web page, and its rules for robots."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser

from kbjobs.content.nesting import TooDeeplyNested, prepare_page
from kbjobs.scraping.site_scope import normalise, normalise_route, site_of

MAX_LINKS = 2_000
"""Most links of one page that are followed."""

REDIRECTING = 1.0
"""A meta refresh of at most this many seconds is a redirect; a longer one is a link."""

_ROBOT = "kbjobs"
_REFRESH = re.compile(
    r"\s*([0-9]{1,6})(?:\.[0-9]*)?\s*[;,]\s*(?:url\s*=\s*)?(['\"]?)(.{1,2000})", re.IGNORECASE | re.DOTALL
)
_ASSETS = (
    ("img", "src"),
    ("source", "src"),
    ("video", "poster"),
    ("input", "src"),
    ("link[rel~=stylesheet i]", "href"),
)
_IN_STYLE = re.compile(r"""url\(\s*["']?([^"')\s]{1,2000})|@import\s+["']([^"']{1,2000})""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rules:
    """What robots may do with a page."""

    may_follow: bool = True
    may_keep: bool = True


EVERYTHING = Rules()


@dataclass(frozen=True, slots=True)
class PageLinks:
    """The normalised addresses of a page, each once: ``links``, ``assets`` (pictures and styles), ``canonical``.

    ``may_follow`` and ``may_keep`` are what its robots meta and its X-Robots-Tag allow; ``moved_to`` is the address
    that it redirects its readers to.
    """

    links: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    canonical: str = ""
    may_follow: bool = True
    may_keep: bool = True
    moved_to: str = ""


def read_rules(tokens: str) -> Rules:
    """Read the rules of a robots meta, such as ``noindex, nofollow``."""
    words = set(re.split(r"[\s,]+", tokens.lower()))
    return Rules(not words & {"nofollow", "none"}, not words & {"noindex", "none"})


def read_robots_tag(value: str) -> Rules:
    """Read the rules of an X-Robots-Tag that apply to kbjobs.

    ``noindex`` is for all robots, ``otherbot: noindex`` for another one (Google, robots meta tag specifications).
    """
    said = []
    robot = ""
    for part in value.split(","):
        name, mark, rest = part.strip().partition(":")
        if mark and not re.match(r"unavailable_after|max-", name, re.IGNORECASE):
            robot, part = name.strip().lower(), rest
        if robot in ("", _ROBOT):
            said.append(part)
    return read_rules(",".join(said))


def read_links(page: str, url: str, header: Rules = EVERYTHING) -> PageLinks:
    """Return the addresses that an HTML page leads to; none if it is nested too deeply to be read.

    Args:
        page: the page's HTML.
        url: its own address, from which relative ones are resolved.
        header: the rules of its X-Robots-Tag.
    """
    try:
        data = prepare_page(page.encode("utf-8", "replace"))
    except TooDeeplyNested:
        return PageLinks(may_follow=header.may_follow, may_keep=header.may_keep)
    tree = LexborHTMLParser(data)
    base = find_base(tree, url)
    rules = read_rules(
        ",".join(node.attributes.get("content") or "" for node in tree.css("meta[name=robots i], meta[name=kbjobs i]"))
    )
    canonical = ""
    if (node := tree.css_first("link[rel~=canonical i][href]")) is not None:
        canonical = normalise(node.attributes.get("href") or "", base) or ""
    seconds, target = _read_refresh(tree, base)
    found = (
        normalise(node.attributes.get(name) or "", base) for tag, name in _ASSETS for node in tree.css(f"{tag}[{name}]")
    )
    return PageLinks(
        _find_links(tree, base, url, target),
        tuple(dict.fromkeys(filter(None, found)))[:MAX_LINKS],
        canonical,
        header.may_follow and rules.may_follow,
        header.may_keep and rules.may_keep,
        target if seconds <= REDIRECTING else "",
    )


def add_links(found: PageLinks, more: Iterable[str]) -> PageLinks:
    """Add addresses that a page's scripts lead to; a hash route keeps its fragment."""
    extra = filter(None, map(normalise_route, more))
    return replace(found, links=tuple(dict.fromkeys([*found.links, *extra]))[:MAX_LINKS])


def drop_noscript(page: str) -> str:
    """Remove from an HTML page what only readers without scripts see."""
    try:
        tree = LexborHTMLParser(prepare_page(page.encode("utf-8", "replace")))
    except TooDeeplyNested:
        return page
    for node in tree.css("noscript"):
        node.decompose()
    return tree.html or ""


def _find_links(tree: LexborHTMLParser, base: str, url: str, target: str) -> tuple[str, ...]:
    """The targets of a page's links, beginning with the ``target`` of its refresh, if it has one."""
    links: dict[str, None] = {target: None} if target else {}
    for node in tree.css("a[href], area[href], frame[src], iframe[src], link[rel~=next i][href]"):
        attributes = node.attributes
        if "nofollow" in (attributes.get("rel") or "").lower():
            continue
        found = normalise(attributes.get("href") or attributes.get("src") or "", base)
        if not found or (node.tag == "iframe" and site_of(found) != site_of(url)):
            continue
        links[found] = None
        if len(links) == MAX_LINKS:
            break
    return tuple(links)


def _read_refresh(tree: LexborHTMLParser, base: str) -> tuple[float, str]:
    """The seconds and the target of a page's meta refresh; the target is '' if it has none."""
    for node in tree.css("meta[http-equiv=refresh i][content]"):
        if found := _REFRESH.match(node.attributes.get("content") or ""):
            address = found[3].partition(found[2])[0] if found[2] else found[3]
            return float(found[1]), normalise(address.strip(), base) or ""
    return 0.0, ""


def read_style_links(style: str, url: str) -> tuple[str, ...]:
    """The addresses of pictures and styles that a style sheet asks for."""
    found = (normalise(one[1] or one[2], url) for one in _IN_STYLE.finditer(style))
    return tuple(dict.fromkeys(filter(None, found)))[:MAX_LINKS]


def find_base(tree: LexborHTMLParser, url: str) -> str:
    """The base of the relative addresses of a page that was found at ``url``."""
    node = tree.css_first("base[href]")
    try:
        return url if node is None else urljoin(url, node.attributes.get("href") or "")
    except ValueError:
        return url
