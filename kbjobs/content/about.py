"""What an HTML page says of itself in its head, in JSON-LD and in a few marks of its text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode

from kbjobs.content.dates import read_date
from kbjobs.content.document import MAX_AUTHORS, MAX_CATEGORIES, About, clean_description, clean_names

MAX_ALTERNATES = 200

_MAX_TAGS = 500  # of a head
_MAX_SCRIPTS, _SCRIPT_LIMIT, _MAX_THINGS = 10, 200_000, 100  # of JSON-LD

_DESCRIPTIONS = ("description", "og:description", "dc.description", "dcterms.description", "twitter:description")
_DATES = (
    "article:published_time", "og:article:published_time", "citation_publication_date", "citation_date",
    "dcterms.issued", "dc.date.issued", "dc.date", "dcterms.date", "dcterms.created", "dc.date.created",
    "datepublished", "date", "pubdate", "publishdate", "publish_date", "publication_date", "parsely-pub-date",
    "sailthru.date",
)  # fmt: skip
_AUTHORS = ("author", "article:author", "citation_author", "dc.creator", "dcterms.creator", "parsely-author", "byl")
_CATEGORIES = ("article:section", "article:tag", "category", "dc.subject", "dcterms.subject", "citation_keywords")
_KEYWORDS = ("keywords", "news_keywords")  # taken where there is nothing better
_KINDS = {
    "article": "article", "blogposting": "article", "blog": "article", "techarticle": "reference",
    "apireference": "reference", "definedterm": "reference", "newsarticle": "news", "reportagenewsarticle": "news",
    "report": "paper", "scholarlyarticle": "paper", "medicalscholarlyarticle": "paper", "thesis": "paper",
    "howto": "how-to", "recipe": "recipe", "faqpage": "faq", "qapage": "question", "question": "question",
    "discussionforumposting": "discussion", "book": "book", "books.book": "book", "chapter": "book",
    "product": "product", "review": "review", "event": "event", "person": "person", "profilepage": "person",
    "profile": "person", "organization": "organisation", "localbusiness": "organisation",
    "place": "place", "videoobject": "video",
    "video": "video", "video.other": "video", "video.movie": "video", "movie": "video", "dataset": "dataset",
    "course": "course", "collectionpage": "collection", "itemlist": "collection", "softwareapplication": "software",
    "softwaresourcecode": "software",
}  # fmt: skip
# Words in the class or id of what stands around a date that is a page's own, not one that its text tells of.
_SIGNS_OF_DATE = ("date", "publish", "posted", "byline", "entry-meta", "post-meta", "article-meta")
_SIGNS_OF_CATEGORY = (
    b"mw-normal-catlinks", b'rel="tag', b"rel='tag", b"rel=tag", b' tag"', b'rel="category', b"rel='category",
    b"rel=category",
)  # fmt: skip
_CATEGORY_LINKS = "#mw-normal-catlinks li a, a[rel~=tag], a[rel~=category]"
_TIME_ANCESTORS = 3


def read_about(tree: LexborHTMLParser, page: bytes) -> About:
    """What a page says of itself. To be called before the page's furniture is taken away.

    Args:
        tree: the page.
        page: its bytes: what does not occur in them is not looked for.
    """
    metas, alternates = _read_head(tree)
    things = list(_read_things(tree)) if b"ld+json" in page else []
    main = next((thing for thing in things if _kind_of(thing)), things[0] if things else {})
    authors = [*_names(main.get("author")), *_of(metas, _AUTHORS)]
    if not authors and b'rel="author"' in page:
        authors = [node.text() for node in tree.css("a[rel~=author]")[:MAX_AUTHORS]]
    categories = [*_names(main.get("articleSection")), *_of(metas, _CATEGORIES)]
    if any(
        sign in page for sign in _SIGNS_OF_CATEGORY
    ):  # a selector is tried at each element: that takes longer than all the rest
        categories += [node.text() for node in tree.css(_CATEGORY_LINKS)[:MAX_CATEGORIES]]
    if not categories:
        listed = [*_names(main.get("keywords")), *_of(metas, _KEYWORDS)]
        categories = [word for words in listed for word in words.replace(";", ",").split(",")]
    dates = [*_texts(main.get("datePublished")), *_of(metas, _DATES)]
    published = next(filter(None, map(read_date, dates)), "")
    if not published and b"<time" in page:
        published = _read_time(tree)
    descriptions = [*_of(metas, _DESCRIPTIONS), *_texts(main.get("description"))]
    return About(
        description=next(filter(None, map(clean_description, descriptions)), ""),
        published=published,
        authors=clean_names(authors, MAX_AUTHORS),
        categories=clean_names(categories, MAX_CATEGORIES),
        kind=_kind_of(main) or next(filter(None, map(_find_kind, _of(metas, ("og:type", "dc.type")))), "page"),
        alternates=tuple(alternates[:MAX_ALTERNATES]),
    )


def _read_head(tree: LexborHTMLParser) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """The contents of <meta> by lower-case name, and the alternates: pairs of tag and reference."""
    metas: dict[str, list[str]] = {}
    alternates: list[tuple[str, str]] = []
    head = tree.head
    if head is None:
        return metas, alternates
    for number, node in enumerate(head.iter()):
        if number == _MAX_TAGS:
            break
        if node.tag == "meta":
            attributes = node.attributes
            name = attributes.get("name") or attributes.get("property") or attributes.get("itemprop")
            if name and (content := attributes.get("content")):
                metas.setdefault(name.strip().lower(), []).append(content)
        elif node.tag == "link":
            attributes = node.attributes
            if (tag := attributes.get("hreflang")) and "alternate" in (attributes.get("rel") or "").lower():
                alternates.append((tag, attributes.get("href") or ""))
    return metas, alternates


def _of(metas: dict[str, list[str]], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield from metas.get(name, ())


def _read_things(tree: LexborHTMLParser) -> Iterator[dict[str, Any]]:
    """What JSON-LD describes: schema.org's things, those of a graph too. What cannot be read is passed over."""
    found = 0
    for script in tree.css('script[type="application/ld+json" i]')[:_MAX_SCRIPTS]:
        try:
            waiting = [json.loads(script.text()[:_SCRIPT_LIMIT])]
        except (ValueError, RecursionError):
            continue
        while waiting and found < _MAX_THINGS:
            value = waiting.pop(0)
            if isinstance(value, list):
                waiting = [*value[:_MAX_THINGS], *waiting]
            elif isinstance(value, dict):
                found += 1
                yield value
                waiting.append(value.get("@graph"))


def _kind_of(thing: dict[str, Any]) -> str:
    return next(filter(None, map(_find_kind, _texts(thing.get("@type")))), "")


def _find_kind(name: str) -> str:
    return _KINDS.get(name.strip().rpartition("/")[2].lower(), "")


def _texts(value: object) -> list[str]:
    """The strings of a JSON-LD value, which may be one or a list."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values[:_MAX_THINGS] if isinstance(one, str)]


def _names(value: object) -> list[str]:
    """The names of a JSON-LD value: strings, or things with a name."""
    values = value if isinstance(value, list) else [value]
    named = (one.get("name") if isinstance(one, dict) else one for one in values[:_MAX_THINGS])
    return [one for one in named if isinstance(one, str)]


def _read_time(tree: LexborHTMLParser) -> str:
    """The first <time> that says it is the page's date, by its own marks or by what it stands in."""
    for node in tree.css("time[datetime]")[:_MAX_THINGS]:
        attributes = node.attributes
        is_own = "pubdate" in attributes or attributes.get("itemprop") == "datePublished" or _is_of_date(node)
        if is_own and (date := read_date(attributes.get("datetime") or "")):
            return date
    return ""


def _is_of_date(node: LexborNode) -> bool:
    above: LexborNode | None = node
    for _ in range(_TIME_ANCESTORS):
        if above is None:
            return False
        attributes = above.attributes
        marks = f"{attributes.get('class') or ''} {attributes.get('id') or ''}".lower()
        if any(sign in marks for sign in _SIGNS_OF_DATE):
            return True
        above = above.parent
    return False
