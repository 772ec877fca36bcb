"""Finding the parts of a paragraph that stay untranslated: tags, code, addresses, placeholders, Markdown marks."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

_KEPT = re.compile(
    r"""
      <!--.*?-->                                                     # comments
    | <(?P<raw>pre|script|style|textarea|svg|math|code|kbd|samp|var|tt)\b[^<>]*>.*?</(?P=raw)\s*>
    | </?[A-Za-z][^<>]*> | <![A-Za-z][^<>]*> | <\?[^<>]*\?>          # tags
    | (?P<ticks>`++).+?(?<!`)(?P=ticks)(?!`)                         # code spans
    | (?:(?:https?|ftp|file|mailto|tel|data):|www\.)(?:[^\s<>"'`()\[\]，。；、）」]|\([^\s<>"'`()]*\))++
    | (?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++                   # addresses
    | \{\{[^{}]{0,500}\}\} | \$?\{[\w.!:$ -]*\} | %\(\w+\)[sdifr] | %\d+\$[sd] | %[sd](?!\w)
    | !?\[(?=[^\[\]\n]{0,500}\]\() | \]\([^()\s]*(?:\s+"[^"\n]*")?\)   # links of Markdown
    | ^[ \t]*(?:(?:\#{1,6}|[-*+]|\d{1,9}[.)])[ \t]+|>[ \t]?)+        # headings, lists, quotations
    | \*{1,3} | (?<!\w)_{1,3}(?=\w) | (?<=\w)_{1,3}(?!\w) | ~~ | \|
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")
_BEHIND_ADDRESS = re.compile(r"[.,;:!?]+$")


@dataclass(frozen=True, slots=True)
class MarkupPiece:
    """A part of a paragraph."""

    text: str
    is_kept: bool
    """Whether it stays untranslated."""
    has_entities: bool = False
    """Whether the original had HTML entities (``&eacute;``), which are characters in ``text``."""


def split_markup(paragraph: str) -> list[MarkupPiece]:
    """Split a paragraph into its parts, in order."""
    pieces: list[MarkupPiece] = []
    place = 0
    for found in _KEPT.finditer(paragraph):
        end = found.end()
        if found[0][0].isalpha() and (behind := _BEHIND_ADDRESS.search(found[0])):
            end = found.start() + behind.start()  # the punctuation belongs to the sentence, not to the address
        if found.start() > place:
            pieces.append(_prose(paragraph[place : found.start()]))
        pieces.append(MarkupPiece(paragraph[found.start() : end], True))
        place = end
    if place < len(paragraph):
        pieces.append(_prose(paragraph[place:]))
    return pieces


def _prose(text: str) -> MarkupPiece:
    has_entities = _ENTITY.search(text) is not None
    plain = html.unescape(text) if has_entities else text
    if not any(character.isalpha() for character in plain):
        return MarkupPiece(text, True)
    return MarkupPiece(plain, False, has_entities)
