"""Rules that name a document's language, and which of their claims are believed.

A rule counts only if it names a real language and the text does not clearly contradict it.
:mod:`kbjobs.scanning.source_languages` finds the rules that a source as a whole disproves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from kbjobs.content.document import Document
from kbjobs.content.language import READ_CHARACTERS, Detection, are_alike, detect, is_detectable, read_tag

CLEAR = 0.99
"""Normalised probability from which a text contradicts its page's claim."""

CLEAR_LETTERS = 80
"""Characters of text below which it contradicts nothing."""

GLANCE, SECOND_LOOK = 100, 700
"""Characters that are examined if a rule names a language; the second number if the first look disagrees."""

BY_NAME = frozenset({"folder", "file name", "title"})
"""Rules that may read a name that was not meant as a language: on many sites ``/it/`` is the IT department."""

_CODE = re.compile(r"[a-z]{2}\Z")
# A code alone may be a word (is, it, no, so) or a country (be, br); with a region it is hardly anything else.
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


class Claim(NamedTuple):
    """A rule and the language that it names.

    Rules are ``page`` (its ``lang``), ``folder``, ``archive``, ``alternate``, ``file name`` and ``title``.
    """

    rule: str
    tag: str


class Evidence(NamedTuple):
    """The evidence for a document's language: claims in the order of their weight, and the detector's answer.

    ``contradicted`` are the claims that the text contradicts, as far as the detector can tell.
    """

    claims: tuple[Claim, ...]
    detected: Detection | None
    contradicted: tuple[Claim, ...]


def weigh(document: Document) -> Evidence:
    """Gather the evidence for a document's language."""
    claims = tuple(dict.fromkeys(_claims_of(document)))
    text = _start_of(document, SECOND_LOOK if claims else READ_CHARACTERS)
    detected = detect(text[:GLANCE] if claims else text)
    if detected is not None and claims and len(text) > GLANCE and not are_alike(detected.tag, claims[0].tag):
        detected = detect(text)
    if claims and (detected is None or not detected.is_sure):
        # A title page or a list of names says little; the middle may say more.
        middle = _start_of(document, READ_CHARACTERS, skip=sum(len(block.text) for block in document.blocks) // 2)
        further = detect(middle)
        if further is not None and _contradicts(further, len(middle), claims[0]):
            detected, text = further, middle
    contradicted = [claim for claim in claims if detected is not None and _contradicts(detected, len(text), claim)]
    return Evidence(claims, detected, tuple(contradicted))


class Verdict(NamedTuple):
    """What a source as a whole says about its documents' claims: it disproves some and confirms others."""

    dropped: frozenset[Claim] = frozenset()
    confirmed: frozenset[Claim] = frozenset()


NO_VERDICT = Verdict()


def decide_language(evidence: Evidence, verdict: Verdict = NO_VERDICT) -> str | None:
    """Decide the language of a document; None if it is unknown.

    It is the first claim that the text does not clearly contradict, or that a claim of another rule supports, or that
    the source confirms; otherwise the detector's answer if it is sure.
    """
    claims = [claim for claim in evidence.claims if claim not in verdict.dropped]
    for claim in claims:
        is_supported = any(other.rule != claim.rule and are_alike(other.tag, claim.tag) for other in claims)
        if is_supported or claim in verdict.confirmed or claim not in evidence.contradicted:
            return claim.tag
    return evidence.detected.tag if evidence.detected is not None and evidence.detected.is_sure else None


def _contradicts(found: Detection, length: int, claim: Claim) -> bool:
    """Whether a text of ``length`` characters is in another language than claimed.

    A bare code in a name is trusted less: a sure answer of the detector is enough to contradict it.
    """
    if are_alike(found.tag, claim.tag):
        return False
    if claim.rule in BY_NAME and "-" not in claim.tag:
        return found.is_sure
    return found.probability >= CLEAR and length >= CLEAR_LETTERS and is_detectable(claim.tag)


def _claims_of(document: Document) -> Iterator[Claim]:
    """Yield the claims in the order of their weight."""
    said = [Claim(rule, tag) for rule, name in document.said_languages if (tag := read_tag(name))]
    named = [Claim(rule, tag) for rule, name in _names_in(document) if (tag := read_tag(name))]
    yield from (claim for claim in said if claim.rule == "page")
    yield from (claim for claim in named if claim.rule == "folder")
    yield from (claim for claim in said if claim.rule != "page")
    yield from (claim for claim in named if claim.rule != "folder")


def _names_in(document: Document) -> Iterator[tuple[str, str]]:
    """Yield names that may be languages, by rule; a folder with a region first."""
    segments = document.path.lower().split("/")
    parts = urlsplit(document.url)
    if parts.scheme in ("http", "https"):
        segments = unquote(parts.path).lower().split("/") + segments
    folders = segments[:-1]
    yield from (("folder", folder) for folder in folders if _CODE_AND_REGION.match(folder))
    yield from (("folder", folder) for folder in folders if _CODE.match(folder))
    if found := _IN_FILE_NAME.search(segments[-1]):
        yield "file name", found[1]
    title = document.title.lower()
    if found := _AFTER_SLASH.search(title):
        yield "title", found[1]
    if (found := _IN_BRACKETS.search(title)) and found[1] in _OWN_NAMES:
        yield "title", _OWN_NAMES[found[1]]


def _start_of(document: Document, limit: int, skip: int = 0) -> str:
    """Take the first ``limit`` characters of a document's text, without listings if there is other text.

    Blocks within the first ``skip`` characters are left out.
    """
    for with_listings in (False, True):
        pieces: list[str] = []
        length = passed = 0
        for block in document.blocks:
            passed += len(block.text)
            if passed <= skip:
                continue
            if with_listings or "\n" not in block.text:  # only listings keep line breaks
                pieces.append(block.text[:limit])
                length += len(pieces[-1]) + 1
                if length >= limit:
                    break
        if length >= CLEAR_LETTERS:
            break
    return " ".join(pieces)[:limit]
