"""Find a page's authors and dates in its text and markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from selectolax.lexbor import LexborNode

from kbjobs.content.dates import find_date, read_date
from kbjobs.content.document import MAX_AUTHORS

_SIGNS = (b"author", b"Author", b"byline", b"Byline", b"autor", b"Autor", b"auteur")
_MARKED = (
    "[itemprop~=author],[rel~=author],[class*=author i],[class*=byline i],[class*=autor i],[class*=auteur i],"
    "[id*=author i],.submitted .username"
)
_DATED = (
    "time,[itemprop=datePublished],[property='dc:date'],[class*=date i],[class*=publish i],[class*=posted i],"
    "[class*=timestamp i],[class*=byline i],[class*=-meta i],[class*=datum i],[class*=fecha i],[id*=date i]"
)
_OTHERS = re.compile(
    r"comment|related|teaser|recommend|popular|latest|most-|reply|recirc|licen[sc]e|copyright|listing|liste-"
)
_ASIDE = re.compile(r"sidebar|widget|footer|promo\b")
# "content-area with-sidebar" is not a sidebar, nor is a post's footer a page footer.
_OWN = re.compile(r"content|article|entry|post|node")
_ANCESTORS = 6
_MAX_MARKED, _MAX_DATED = 60, 80
_LONGEST_BYLINE = 160  # characters
_LONGEST_LABEL = 12  # characters of a line that only says "Written by"
_TEXT_LIMIT = 400  # of a supposed author's name
_LINES_BEFORE, _LINES_AFTER = 6, 14  # of the title

# How bylines begin in the web's most frequent languages, and how links to an author's pages do.
_DONE = (
    "written post posted published words story text article articles review interview posts mehr more artikel beitrag"
    " essay geschrieben verfasst veröffentlicht erstellt eingestellt gesendet gespeichert pressemitteilung kommentar"
    " fragen gastbeitrag blogbeitrag publiziert autor publié écrit rédigé escrito publicado redacción scritto"
    " pubblicato geplaatst geschreven napisane"
)
_DONE_PHRASES = (
    "view all posts", "all posts", "all articles", "show all articles", "see all", "alle beiträge", "alle artikel",
    "zeige alle beiträge", "ein gastbeitrag", "blog beitrag", "propos recueillis",
)  # fmt: skip
_BY_WORDS = "by von vom par por di door av af przez from od yazan автор текст"
_BY = rf"(?:(?:{'|'.join([*_DONE_PHRASES, *_DONE.split()])})\s+)?(?:{'|'.join(_BY_WORDS.split())})"
_ROLES = (
    "autor autorin autoren author authors auteur autore auteurs autores redakteur redakteurin reporter journalist"
    " journalistin text foto fotos interview redaktion schreiber verfasser kontakt автор yazar"
)
_ROLE = rf"(?:{'|'.join(_ROLES.split())}|staff writer|about the author|über den autor)"
_LEAD = re.compile(rf"^(?:{_BY}\b\s*:?\s*|{_ROLE}\s*[:·|]\s*|aut(?:or|hor|eur)\s+|[-–—|•·:,\s»]+)+", re.IGNORECASE)
_LABEL = re.compile(rf"^{_ROLE}\s*:\s*", re.IGNORECASE)
_ANNOUNCES = re.compile(rf"(?:{_BY}|{_ROLE})\s*:?", re.IGNORECASE)
_BY_LINE = re.compile(rf"^(?:{_BY}\b:?|{_ROLE}\s*:)\s+(?=[^\W\d_])", re.IGNORECASE)
_CUT = re.compile(
    r"\s*(?:[|•·(\[<→»]|\s[-–—/]\s?|\b\d|https?:|\bwww\.|@|\b(?:am|on|vom|le|el|il|op|under|updated|published|veröffentlicht|"
    r"publié|publicado|posted|aktualisiert|last|for the|staff|follow|bio|profile|read more|email|e-mail|twitter)\b).*$",
    re.IGNORECASE | re.DOTALL,
)
_AND = re.compile(r"\s*(?:;|&|,|\s(?:and|And|AND|und|et|y|e|en|og|och|i)\s)\s*")
# "Weekend By Ann Lee"; within a name these words are in lower case.
_WITHIN = re.compile(r"^.*\s(?:By|Von|Par|Por)\s+(?=[^\W\d_])")
_NO_NAME = re.compile(
    r"^(?:\w*admin\w*|webmaster|editor|user|guest|gast|unknown|anonym\w*|none|null|share|posted|written|in|"
    r"comments?|kommentare?|home|news|contact|kontakt|about|more|mehr|menu|the|text|texte|fotos?|publiziert|publicado|quelle|source|archiv\w*|datum|newsletter|impressum|human|autor|agencies|agenturen|\W+)$",
    re.IGNORECASE,
)
_ORGANISATION = re.compile(
    r"^\w+\.\w+$|\b(?:gmbh|e\. ?v\.?|ag|inc|ltd|verlag|stiftung|media|news|magazin|\w*zeitung|online|images)\b"
    r"|-archiv\w*$",
    re.IGNORECASE,
)
_INITIALS = re.compile("[A-Z]{2,4}")  # next to a name, these are of an agency
_NAME_WORDS = 5
_LONGEST_INITIAL = 3  # characters, including the point: "Jr."
_NAME_LENGTHS = range(2, 50)


def clean_author(text: str) -> list[str]:
    """Extract the names from a byline, without the words around them; empty if it holds none."""
    text = " ".join(text[:_TEXT_LIMIT].split()).strip(" '\"“”„")
    text = _WITHIN.sub("", _LEAD.sub("", text))
    text = (text[:1] + _CUT.sub("", text[1:])).strip(" ,;:'\"“”-–—|") if not _is_plain(text) else text
    names = [name for name in map(_clean_name, _AND.split(text)) if name]
    if len(names) > 1:
        names = [name for name in names if not _INITIALS.fullmatch(name)] or names
    return names[:MAX_AUTHORS]


def is_user_name(name: str) -> bool:
    """Whether a name is an account's rather than a person's."""
    return " " not in name and (name.islower() or "_" in name)


def is_organisation(name: str) -> bool:
    """Whether a name is a company's or a site's rather than a person's."""
    return _ORGANISATION.search(name) is not None


def _is_plain(text: str) -> bool:
    return 0 < len(text) < 30 and all(word[:1].isupper() for word in text.split()) and text.replace(" ", "").isalpha()


def _clean_name(name: str) -> str:
    name = _LABEL.sub("", name).strip(" ,;:'\"“”-–—|")
    name = before if " " in (before := name.partition(": ")[0]) else name
    words = name.split()
    if words and len(words[-1]) > _LONGEST_INITIAL:
        name = name.rstrip(".")
    has_form = 0 < len(words) <= _NAME_WORDS and len(name) in _NAME_LENGTHS and name[0].isalpha()
    return name if has_form and not _NO_NAME.match(name) else ""


def find_authors(body: LexborNode, page: bytes) -> list[str]:
    """Find the names that a page marks as its authors, by microdata, link relations and class names.

    Args:
        body: the element to search, including furniture: a byline may be in an article's footer.
        page: the page's markup; marks that do not occur in it are not searched.
    """
    if not any(sign in page for sign in _SIGNS):
        return []
    groups: dict[int, list[list[str]]] = {}
    for node in body.css(_MARKED)[:_MAX_MARKED]:
        names = _read_marked(node)
        if not names or _is_of_another(node):
            continue
        groups.setdefault(_strength(node), []).append(names)
    for strength in sorted(groups):
        found = groups[strength]
        return list(dict.fromkeys(name for names in (found if strength == 0 else found[:1]) for name in names))
    return []


def _read_marked(node: LexborNode) -> list[str]:
    inner = node.css_first("[itemprop~=name],[rel~=author],.fn,[class*=author-name i],[class*=author__name i]")
    attributes = node.attributes
    text = attributes.get("content") or (inner if inner is not None else node).text(separator=" ")
    text = " ".join(text.split())
    return clean_author(text) if len(text) <= _LONGEST_BYLINE else []


def _strength(node: LexborNode) -> int:
    attributes = node.attributes
    if "author" in (attributes.get("itemprop") or ""):
        return 0
    if "author" in (attributes.get("rel") or ""):
        return 1
    return 2


def _is_of_another(node: LexborNode) -> bool:
    """Whether an element belongs to a comment, or to a teaser of another page."""
    above: LexborNode | None = node
    for _ in range(_ANCESTORS):
        if above is None or above.tag in ("body", "html"):
            return False
        if above.tag == "figcaption":
            return True
        attributes = above.attributes
        names = " ".join([attributes.get(name) or "" for name in ("class", "id", "itemprop")]).lower()
        if _OTHERS.search(names) or (_ASIDE.search(names) and not _OWN.search(names)):
            return True
        above = above.parent
    return False


def lines_near(body: LexborNode, title: str) -> list[str]:
    """List the lines of text near a page's title, nearest first; the page's first lines if the title is not found."""
    lines = [line for line in map(str.strip, body.text(separator="\n").split("\n")) if line]
    wanted = " ".join(title.split()).casefold()
    at = next((index for index, line in enumerate(lines) if len(line) > 8 and line.casefold() in wanted), None)
    if at is None:
        return lines[: _LINES_AFTER * 2]
    return [*lines[at + 1 : at + 1 + _LINES_AFTER], *reversed(lines[max(0, at - _LINES_BEFORE) : at])]


def find_byline(lines: Iterable[str], title: str) -> list[str]:
    """Find the names in the first line that begins like a byline and is not part of the title."""
    is_announced = False
    title = title.casefold()
    for line in lines:
        if len(line) > _LONGEST_LABEL and line.casefold() in title:
            continue
        if len(line) <= _LONGEST_BYLINE and (is_announced or _BY_LINE.match(line)):
            names = clean_author(line)
            if names and all(_may_be_author(name, title) for name in names):
                return names
        is_announced = len(line) <= _LONGEST_LABEL * 2 and _ANNOUNCES.fullmatch(line) is not None
    return []


def _may_be_author(name: str, title: str) -> bool:
    """Whether a name's first and last words begin like names, and the title (casefolded) does not contain the name."""
    words = name.split()
    return not words[0][0].islower() and not words[-1][0].islower() and name.casefold() not in title


def find_marked_dates(body: LexborNode, month_first: bool) -> Iterator[tuple[int, str]]:
    """Yield pairs of strength (0 is the strongest) and date for elements marked as dates."""
    for node in body.css(_DATED)[:_MAX_DATED]:
        attributes = node.attributes
        text = " ".join(node.text(separator=" ").split())
        if len(text) > _LONGEST_BYLINE:
            continue
        said = attributes.get("datetime") or attributes.get("content") or attributes.get("title") or ""
        date = read_date(said) if said[:4].isdigit() else ""
        date = date or find_date(text, month_first)
        own = attributes.get("itemprop") == "datePublished" or "pubdate" in attributes
        if len(date) == len("2024-05-17") and (own or not _is_of_another(node)):
            yield (0 if own else 1 if node.tag == "time" else 2), date
