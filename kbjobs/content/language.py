"""The language of a document: by what the page says of itself, then by its text; unknown where neither is sure.

Tags are those of BCP 47 in lower case, with the two-letter code where a language has one (``en``, ``pt-br``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from kbjobs.content.document import Document
from kbjobs.content.language_codes import NAMES, OTHER_CODES, TWO_LETTERS
from kbjobs.errors import UsageError

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

SURE = 0.9
"""Normalised probability from which the text's language counts as known. Measured on 1,048 pages of the Python
documentation: below it lie pages of code and of names, above it none was wrong."""

READ_CHARACTERS = 2_000
"""How much of a text is looked at; takes about a millisecond."""

MAX_FILTER_LANGUAGES = 50

# ISO 639-2: not a language, or not one that a reader could be asked for.
_NO_LANGUAGE = frozenset({"und", "mul", "zxx", "mis", "root"})
_TAG = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{1,8}){0,4}\Z")
_CODE = re.compile(r"[a-z]{2}\Z")
# A code alone may be a word (is, it, no, so) or a country (be, br): with a region it is hardly anything else.
_CODE_AND_REGION = re.compile(r"[a-z]{2,3}[-_](?:[a-z]{2}|[a-z]{4}|[0-9]{3})\Z")
_IN_FILE_NAME = re.compile(r".\.([a-z]{2}(?:[-_][a-z]{2,4})?)\.[a-z]+\Z")  # index.pt-br.html
_AFTER_SLASH = re.compile(r"[^\s/]/([a-z]{2,3}(?:-[a-z]{2,4})?)\Z")  # MediaWiki's subpages: Installation/pt-br
_IN_BRACKETS = re.compile(r"\(([^()]{3,20})\)\s*\Z")  # Installation (Español)
_OWN_NAMES = {
    "čeština": "cs", "dansk": "da", "deutsch": "de", "ελληνικά": "el", "english": "en", "español": "es", "suomi": "fi",
    "français": "fr", "עברית": "he", "hrvatski": "hr", "magyar": "hu", "bahasa indonesia": "id", "italiano": "it",
    "日本語": "ja", "한국어": "ko", "nederlands": "nl", "polski": "pl", "português": "pt", "română": "ro",
    "русский": "ru", "slovenčina": "sk", "српски": "sr", "svenska": "sv", "türkçe": "tr", "українська": "uk",
    "tiếng việt": "vi", "简体中文": "zh-hans", "正體中文": "zh-hant", "العربية": "ar", "беларуская": "be",
    "български": "bg", "català": "ca",
}  # fmt: skip


def decide_language(document: Document) -> str | None:
    """The language of a document, or None where it is not known.

    In this order: the page's ``lang``; a folder, a file name or the end of the title that names a language; the text.
    """
    return read_tag(document.language or "") or _read_names(document) or detect_language(_start_of(document))


def read_tag(tag: str) -> str | None:
    """A language tag in its usual form (``eng`` is ``en``, ``pt_BR`` is ``pt-br``); None for what names no language."""
    tag = tag.strip()[:40].lower().replace("_", "-").lstrip("=")
    if not _TAG.match(tag):
        return None
    base, _, rest = tag.partition("-")
    if base in _NO_LANGUAGE or (len(base) == 2 and base not in NAMES):
        return None
    base = TWO_LETTERS.get(base, base)
    return f"{base}-{rest}" if rest else base


def detect_language(text: str) -> str | None:
    """The language of a text, or None where the model is not sure. The model is part of py3langid's package."""
    if not any(character.isalpha() for character in text):
        return None
    label, probability = _identifier().classify(text[:READ_CHARACTERS])
    return read_tag(label) if probability >= SURE else None


def parse_filter(text: str) -> list[str]:
    """The tags of a language filter such as ``en`` or ``en,be``, each once; raises UsageError naming a wrong one."""
    wanted: dict[str, None] = {}
    for part in text.split(","):
        code = part.strip()
        tag = read_tag(code)
        if tag is None or tag.partition("-")[0] not in NAMES.keys() | OTHER_CODES:
            lower = code.lower()
            near = _names().get(lower) or next(map(_names().get, get_close_matches(lower, _names(), 1)), None)
            hint = f"Did you mean {near} ({NAMES[near]})? " if near else ""
            raise UsageError(
                f"{code[:40]!r} in the language filter is not a language code",
                hint + "Give ISO 639 codes, parted by commas: en, or en,be.",
            )
        wanted[tag] = None
    if len(wanted) > MAX_FILTER_LANGUAGES:
        raise UsageError(f"the language filter names {len(wanted)} languages", f"Give {MAX_FILTER_LANGUAGES} at most.")
    return list(wanted)


def is_wanted(tag: str, wanted: list[str]) -> bool:
    """Whether a filter keeps a language: ``en`` keeps ``en-gb``, and ``pt-br`` keeps ``pt``, which may be it."""
    return any(f"{tag}-".startswith(f"{one}-") or f"{one}-".startswith(f"{tag}-") for one in _widened(wanted))


def _widened(wanted: list[str]) -> Iterator[str]:
    """Norwegian is written as Bokmål or as Nynorsk; most pages say only that it is Norwegian."""
    yield from wanted
    if "no" in wanted:
        yield from ("nb", "nn")
    elif "nb" in wanted or "nn" in wanted:
        yield "no"


def _read_names(document: Document) -> str | None:
    """What folder, file name or title say. A bare code is not believed where the text is surely of another language."""
    weak = None
    for name, is_strong in _names_in(document):
        tag = read_tag(name)
        if tag is not None and is_strong:
            return tag
        weak = weak or tag
    if weak is None:
        return None
    found = detect_language(_start_of(document))
    return weak if found is None or is_wanted(found, [weak]) else found


def _names_in(document: Document) -> Iterator[tuple[str, bool]]:
    """What may name a language, and whether it can hardly mean anything else."""
    segments = document.path.lower().split("/")
    parts = urlsplit(document.url)
    if parts.scheme in ("http", "https"):
        segments = unquote(parts.path).lower().split("/") + segments
    for segment in segments[:-1]:
        if _CODE_AND_REGION.match(segment):
            yield segment, True
        elif _CODE.match(segment):
            yield segment, False
    if found := _IN_FILE_NAME.search(segments[-1]):
        yield found[1], len(found[1]) > 2
    title = document.title.lower()
    if found := _AFTER_SLASH.search(title):
        yield found[1], "-" in found[1]
    if (found := _IN_BRACKETS.search(title)) and found[1] in _OWN_NAMES:
        yield _OWN_NAMES[found[1]], False


def _start_of(document: Document) -> str:
    pieces: list[str] = []
    length = 0
    for block in document.blocks:
        pieces.append(block.text)
        length += len(block.text) + 1
        if length >= READ_CHARACTERS:
            break
    return " ".join(pieces)[:READ_CHARACTERS]


@cache
def _names() -> dict[str, str]:
    return {name.lower(): code for code, name in NAMES.items()}


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
