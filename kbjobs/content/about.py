"""What an HTML page says about itself: in its head, in JSON-LD and in marked text. The strongest claim wins."""

from __future__ import annotations

import datetime
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from kbjobs.content.bylines import (
    clean_author,
    find_authors,
    find_byline,
    find_marked_dates,
    is_organisation,
    is_user_name,
    lines_near,
)
from kbjobs.content.dates import date_in_path, find_date, read_date
from kbjobs.content.document import (
    MAX_AUTHORS,
    MAX_CATEGORIES,
    NAME_LIMIT,
    SAYS_NOTHING,
    About,
    clean_description,
    clean_names,
    clean_title,
)
from kbjobs.content.json_ld import Thing, Things

MAX_ALTERNATES = 200

_MAX_TAGS = 500  # of a head that are read

_DESCRIPTIONS = ("description", "og:description", "dc.description", "dcterms.description", "twitter:description")
_DATES = (
    "article:published_time", "og:article:published_time", "citation_publication_date", "citation_date",
    "dcterms.issued", "dc.date.issued", "dc.date", "dcterms.date", "dcterms.created", "dc.date.created",
    "datepublished", "date", "pubdate", "publishdate", "publish_date", "publication_date", "parsely-pub-date",
    "sailthru.date",
)  # fmt: skip
_LATER_DATES = ("article:modified_time", "og:updated_time", "dcterms.modified", "last-modified", "date.modified")
_AUTHORS = (
    "citation_author", "parsely-author", "sailthru.author", "dc.creator", "dcterms.creator", "article:author", "author",
    "og:article:author", "dc.author", "byl",
)  # fmt: skip
_LICENCES = ("dcterms.license", "dc.rights", "dcterms.rights", "license", "citation_license")
_WRITTEN_BY = ("written", "verfasst", "geschrieben", "écrit", "escrito", "scritto", "geschreven", "napisane")
_LIKE_ARTICLE = frozenset(["article", "news", "reference", "how-to", "recipe", "review", "discussion", "question"])
_OF_TEXT, _OF_HEAD, _ORGANISATION, _WEAK = 1, 3, 5, 10  # strengths of claims about authors; 0 is the strongest
_EARLIEST = "1990"
_IN_SCRIPTS = re.compile(
    rb"""["'](?:published_?at|date_?published|publish(?:ed)?_?date|publication_?date|pub_?date|published)\\?["']\s*:\s*"""
    rb"""\\?["'](\d{4}-\d\d-\d\d)""",
    re.IGNORECASE,
)
_TELLS_DATE = re.compile(
    r"\b(?:published|posted|updated|veröffentlicht|aktualisiert|erstellt|stand|datum|date|publié|mis à jour|publicado"
    r"|actualizado|fecha|pubblicato|aggiornato|geplaatst|опубликовано)\b",
    re.IGNORECASE,
)
_HOUR = re.compile(r"T(\d\d)")
_UTC = re.compile(r"(?:Z|GMT|[+-]00:?00)$")
_MARKED = 1  # strength of a date in JSON-LD or the head
_ADDRESS = 3  # strength of a date in the page's address
_NEAR_TITLE = 6
_SHOWN = (4, _NEAR_TITLE)  # strengths of dates that readers see
_TAG = re.compile(r"<[^<>]{1,200}>")
_NOON = 12
_WHOLE = len("2024-05-17")
_LINE_LIMIT = 200  # characters
_TEXT_LIMIT = 200_000  # characters in which a date is searched

_CATEGORIES = ("article:section", "article:tag", "category", "dc.subject", "dcterms.subject", "citation_keywords")
_KEYWORDS = ("keywords", "news_keywords")  # used only if there is nothing better
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
_NAMES_CATEGORY = re.compile(rb"rel\s*=\s*[\"']?(?:[^\"'<>]{0,40}\s)?(?:tag|category)")
_CATEGORY_LINKS = "#mw-normal-catlinks li a, a[rel~=tag], a[rel~=category]"


@dataclass(slots=True)
class PageClaims:
    """What a page says about itself. Of two claims, the one with the smaller number is the stronger.

    Args:
        about: facts that have no rival claims: description, categories, kind, other languages.
        authors: names as the page writes them.
        dates: days of publication, as the page writes them.
        changes: days of the last change, the most credible first.
        site: the name of the site.
        article_body: the text of an article as JSON-LD has it, without tags, white space folded.
        language: the tag of its language, lower-case.
    """

    about: About = SAYS_NOTHING
    authors: list[tuple[int, list[str]]] = field(default_factory=list)
    dates: list[tuple[int, str]] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    site: str = ""
    article_body: str = ""
    language: str = ""

    @property
    def month_first(self) -> bool:
        """Whether 05/06/2024 means the sixth of May on this page."""
        return self.language in ("en-us", "en_us")

    @property
    def tells_day(self) -> bool:
        """Whether JSON-LD gives the day, in the readers' time zone, and the head gives no other."""
        told = {(strength, read_date(text)) for strength, text in self.dates if strength <= _MARKED}
        days = {date for _, date in told if len(date) == _WHOLE and _is_likely(date)}
        in_utc = any(strength <= _MARKED and _UTC.search(text) for strength, text in self.dates)
        return len(days) == 1 and (0, *days) in told and not in_utc

    @property
    def has_author(self) -> bool:
        """Whether JSON-LD names a person."""
        return any(strength == 0 for strength, _ in self._rank_authors())

    def conclude(self) -> About:
        """Decide what the page says, by its strongest claims."""
        published = self._choose_date()
        modified = next((date for date in map(read_date, self.changes) if _is_likely(date)), "")
        return self.about._replace(
            published=published,
            authors=self._choose_authors(),
            modified=modified if modified[: len(published)] != published else "",
            site=clean_title(html.unescape(self.site))[:NAME_LIMIT],
        )

    def _choose_date(self) -> str:
        """Choose the date of the strongest claim; an implausible date needs a second witness."""
        read = [(strength, date) for strength, text in self.dates if (date := read_date(text))]
        read.sort(key=lambda claim: claim[0])
        dates = [date for _, date in read]
        witnesses = {(date, strength <= _MARKED) for strength, date in read}
        chosen = next((date for date in dates if _is_likely(date) or {(date, True), (date, False)} <= witnesses), "")
        if not chosen:
            return ""
        chosen = next((date for date in dates if date.startswith(chosen) and len(date) == _WHOLE), chosen)
        if any(_UTC.search(text) and read_date(text) == chosen and _is_morning(text) for _, text in self.dates):
            chosen = self._day_before(chosen)
        return self._prefer_witnessed(chosen, read)

    def _prefer_witnessed(self, chosen: str, read: Sequence[tuple[int, str]]) -> str:
        """Prefer the day that readers see if the head names others, or an earlier day in the page's address.

        Meta elements alone may give the day of a draft: if there is exactly one marked day next to the title, it is the
        better witness. If JSON-LD and meta elements give different days, the visible one is.

        A page that moved to another system may keep its address, and get the day of the move as its date.
        """
        told = [date for strength, date in read if strength <= _MARKED and len(date) == _WHOLE]
        shown = [date for strength, date in read if strength in _SHOWN]
        in_address = next((date for strength, date in read if strength == _ADDRESS and len(date) == _WHOLE), "")
        if chosen in told and in_address and in_address < chosen:
            return in_address
        if chosen not in told or chosen in shown:
            return chosen
        if read[0][0] == _MARKED and len(shown) > 1 and len({*shown}) == 1:
            return shown[0]
        return next((date for date in told if date in shown), chosen)

    def _day_before(self, date: str) -> str:
        """Return the day before if it is the one that readers see: the page's time zone is behind UTC."""
        before = (datetime.date.fromisoformat(date) - datetime.timedelta(days=1)).isoformat()
        shown = [text for strength, text in self.dates if strength in _SHOWN]
        return before if before in shown and date not in shown else date

    def _choose_authors(self) -> tuple[str, ...]:
        """Choose the names of the strongest claim. The site's own name is an author only if the text says so."""
        ranked = sorted(self._rank_authors(), key=lambda claim: claim[0])
        chosen = ranked[0][1] if ranked else []
        # a claim of one author does not contradict a claim of two
        wider = (
            names
            for strength, names in ranked
            if strength <= _OF_HEAD and {*names} > {*chosen} and all(" " in name for name in names)
        )
        return clean_names(next(wider, chosen), MAX_AUTHORS)

    def _rank_authors(self) -> list[tuple[int, list[str]]]:
        cleaned: list[tuple[int, list[str]]] = []
        for strength, said in self.authors:
            names = [name for text in said[:MAX_AUTHORS] for name in clean_author(html.unescape(text))]
            if not names or any(map(is_organisation, names)):
                continue
            if strength >= _OF_HEAD and any(map(self._is_site, names)):
                continue
            is_weak = strength != _OF_TEXT and (any(map(is_user_name, names)) or any(map(self._is_site, names)))
            cleaned.append((strength + is_weak * _WEAK, names))
        return cleaned

    def _is_site(self, name: str) -> bool:
        name, site = ("".join(filter(str.isalnum, text.casefold())) for text in (name, self.site))
        return bool(site) and (name in site or site in name)


def _is_morning(text: str) -> bool:
    """Whether it is so early in UTC that it may still be the day before elsewhere."""
    hour = _HOUR.search(text)
    return hour is None or int(hour[1]) < _NOON


def _is_likely(date: str) -> bool:
    latest = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).date().isoformat()
    return _EARLIEST <= date <= latest


def read_claims(tree: LexborHTMLParser, page: bytes) -> PageClaims:
    """Read a page's head and JSON-LD. Call this before furniture is removed.

    Args:
        tree: the page.
        page: its bytes; marks that do not occur in them are not searched.
    """
    metas, alternates = _read_head(tree)
    claims = PageClaims()
    things = Things(tree) if b"ld+json" in page else None
    main: Thing = _choose_main(things) if things is not None else {}
    categories: list[str] = []
    descriptions = list(_of(metas, _DESCRIPTIONS))
    keywords: list[str] = []
    kinds: list[str] = []
    if things is not None:
        categories += [name for name, _ in things.names(main, "articleSection")]
        descriptions += things.texts(main, "description")
        keywords += [name for name, _ in things.names(main, "keywords")]
        kinds.append(_kind_of(things, main))
        _hear_things(claims, things, main)
    categories += _of(metas, _CATEGORIES)
    if _NAMES_CATEGORY.search(page) or b"mw-normal-catlinks" in page:
        # a selector is tried at each element, which takes longer than everything else
        categories += [node.text() for node in tree.css(_CATEGORY_LINKS)[:MAX_CATEGORIES]]
    if not categories:
        listed = [*keywords, *_of(metas, _KEYWORDS)]
        categories = [word for words in listed for word in words.replace(";", ",").split(",")]
    licences = things.texts(main, "license") if things is not None else []
    licences += [*_of(metas, _LICENCES)]
    if b"license" in page:
        found = tree.css_first("link[rel~=license][href],a[rel~=license][href]")
        licences += [found.attributes.get("href") or ""] if found is not None else []
    kinds += map(_find_kind, _of(metas, ("og:type", "dc.type")))
    claims.about = About(
        description=next(filter(None, map(clean_description, descriptions)), ""),
        categories=clean_names(categories, MAX_CATEGORIES),
        kind=next(filter(None, kinds), "page"),
        alternates=tuple(alternates[:MAX_ALTERNATES]),
        licence=clean_title(next(filter(None, licences), "")),
    )
    _hear_head(claims, metas, tree)
    return claims


def _hear_things(claims: PageClaims, things: Things, main: Thing) -> None:
    said = things.names(main, "author") or things.names(main, "creator")
    people = [name for name, kind in said if kind != "Organization"]
    if people:
        claims.authors.append((0, people))
    claims.authors += [(_ORGANISATION, [name]) for name, kind in said if kind == "Organization"]
    claims.dates += [(0, date) for date in things.texts(main, "datePublished")]
    later = ("dateCreated", "uploadDate", "dateModified")
    claims.dates += [(7, date) for name in later for date in things.texts(main, name)]
    claims.dates += [(5, date) for one in things.all for date in things.texts(one, "datePublished")]
    bodies = [body for one in things.all for body in things.texts(one, "articleBody")]
    claims.article_body = " ".join(_TAG.sub(" ", html.unescape(max(bodies, key=len, default=""))).split())
    claims.changes += things.texts(main, "dateModified")
    claims.site = next((name for name, _ in things.names(main, "publisher")), "")


def _hear_head(claims: PageClaims, metas: dict[str, list[str]], tree: LexborHTMLParser) -> None:
    claims.site = next(_of(metas, ("og:site_name", "application-name")), claims.site)
    claims.dates += [(1, date) for date in _of(metas, _DATES)]
    claims.changes += _of(metas, _LATER_DATES)
    claims.dates += [(8, date) for date in _of(metas, _LATER_DATES)]
    for name in _AUTHORS:
        if said := [author for author in metas.get(name, ()) if "://" not in author]:
            claims.authors.append((_OF_HEAD, said))
    label = next(_of(metas, ("twitter:label1",)), "").lower()
    if any(sign in label for sign in _WRITTEN_BY):
        claims.authors.append((_OF_HEAD, list(_of(metas, ("twitter:data1",)))))
    root = tree.root
    claims.language = ((root.attributes.get("lang") or "") if root is not None else "").lower()


def hear_marks(claims: PageClaims, body: LexborNode, page: bytes) -> None:
    """Add claims from marks in a page's body that its head lacks. Call this before furniture is removed.

    Args:
        claims: what the page has said so far.
        body: its body.
        page: its bytes.
    """
    if not claims.tells_day:
        claims.dates += [(2 + 2 * strength, date) for strength, date in find_marked_dates(body, claims.month_first)]
    if not claims.has_author:
        claims.authors.append((_OF_TEXT, find_authors(body, page)))


def hear_text(claims: PageClaims, body: LexborNode, page: bytes, title: str, address: str) -> None:
    """Add what the text near a page's title says.

    Args:
        claims: what the page has said so far.
        body: its body, with furniture removed.
        page: its bytes.
        title: its title.
        address: the address that it claims for itself, or ''.
    """
    claims.dates.append((_ADDRESS, date_in_path(address)))
    if claims.tells_day and claims.has_author:
        return
    lines = lines_near(body, title)
    if not claims.tells_day:
        shown = (find_date(line[:_LINE_LIMIT], claims.month_first) for line in lines)
        claims.dates.append((_NEAR_TITLE, next(filter(None, shown), "")))
    if not any(len(read_date(date)) == _WHOLE for _, date in claims.dates):
        claims.dates += [(9, date) for date in _read_anywhere(claims, body, page, title)]
    if not claims.has_author:
        claims.authors.append((_OF_TEXT + 1, find_byline(lines, title)))


def _read_anywhere(claims: PageClaims, body: LexborNode, page: bytes, title: str) -> Iterator[str]:
    """Yield dates of a page that marks none: in data for scripts, in its description, after a telling word, or any."""
    if found := _IN_SCRIPTS.search(page):
        yield found[1].decode()
    yield find_date(f"{title}\n{claims.about.description}", claims.month_first)
    text = body.text(separator="\n")[:_TEXT_LIMIT]
    for told in _TELLS_DATE.finditer(text):
        yield find_date(text[told.end() : told.end() + 60], claims.month_first)
    yield find_date(text, claims.month_first)


def _read_head(tree: LexborHTMLParser) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """Read the contents of <meta> by lower-case name, and the alternates as pairs of tag and reference."""
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


def _choose_main(things: Things) -> Thing:
    """Choose the thing that the page is about: an article before a web site, and a dated one before others."""

    def rank(thing: Thing) -> tuple[bool, bool, bool]:
        kind = _kind_of(things, thing)
        return kind in _LIKE_ARTICLE, bool(kind), "datePublished" in thing

    return max(things.all, key=rank, default={})


def _kind_of(things: Things, thing: Thing) -> str:
    return next(filter(None, map(_find_kind, things.texts(thing, "@type"))), "")


def _find_kind(name: str) -> str:
    return _KINDS.get(name.strip().rpartition("/")[2].lower(), "")
