"""Guess the legacy charset of a page without a trustworthy declaration.

Every charset is a guess at the page's characters. The one under which they are least surprising wins: each character
costs about the logarithm (in bits) of the size of its group. That a byte is a letter says little; that most letters are
the language's most frequent ones says a lot.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache
from typing import NamedTuple

_SAMPLE = 65_536  # bytes that are decoded with each charset
_LEAD_IN = 4_096  # of them before the first that is not ASCII

# The characters that make up most of a text. The Latin charsets are not distinguished: on a short page that would
# be a coin toss, so the web's default applies, windows-1252.
_LATIN = "éèàäöüßñçóíáúãõêâôåøæðþý’“”–«»…°©\xa0"
_CYRILLIC = "оеаинтсрвлкмдпуяі"
_GREEK = "αοιετνσρηυπκμλίςάό"
_HEBREW = "יוהלאתרבשמנכעדחם"
_ARABIC = "اليمونرتبةعدسفهكق"
_KANA = "のにはをとがでしたるいなてすこれまもらりっかくさんスルトンーアイリクド、。"
_SIMPLIFIED = "的一是不在了有和人这中大为上个国我以要他时来用们到作地于出就分对成会可主发年动同工也能下过子说，。"
_TRADITIONAL = "的一是不在了有和人這中大為上個國我以要他時來用們到作地於出就分對成會可主發年動同工也能下過子說，。"
_HANGUL = "이다의는에을가은로하고를지기한사도리어서자시인아대해과정수있일부나그전제으모보"

EAST_ASIAN = frozenset(["shift_jis", "euc_jp", "gbk", "gb18030", "big5", "euc_kr"])
"""Charsets with mostly two-byte characters, which sometimes look like UTF-8."""

_EUC_TRAILS = range(0xA1, 0xFF)
_BIG5_TRAILS = (*range(0x40, 0x7F), *_EUC_TRAILS)

_ASCII_BITS = 5.0
_NEIGHBOUR_BITS = 6.0  # a letter next to one that it seldom follows
_HEAD_START = 8.0  # for windows-1252: as if a few letters spoke for it beforehand

_WIDE = re.compile(rb"[\x80-\xff]")
_LETTER_BESIDE_LETTER = re.compile(rb"[\xc0-\xff](?=[\xc0-\xff])")
_LETTER_BESIDE_ASCII = re.compile(rb"(?<=[A-Za-z])[\xc0-\xff]|[\xc0-\xff](?=[A-Za-z])")


class _Charset(NamedTuple):
    """The cost in bits of a charset's characters: typical ones, common ones, others, and broken ones."""

    typical: str
    common: Collection[str]
    bits: tuple[float, float, float, float]


def guess_charset(page: bytes, *, may_be_utf8: bool) -> str:
    """Return Python's name of the likeliest charset of a page that is not valid UTF-8.

    It is windows-1252 unless another stands out. Only a stretch of the page around the first non-ASCII byte is
    examined. ``may_be_utf8``: the page looks like damaged UTF-8, which then is the alternative to the charsets of East
    Asia, whose byte pairs can look the same.
    """
    first = _WIDE.search(page)
    start = max(0, first.start() - _LEAD_IN) if first else 0
    sample = page[start : start + _SAMPLE]
    charsets = _charsets()
    costs = {name: _cost(sample, name, charsets[name]) for name in ("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr")}
    if may_be_utf8:
        costs["utf-8"] = _cost(sample, "utf-8", charsets["utf-8"])
    else:
        # accented letters are among plain ones, letters of other scripts among themselves
        costs["cp1252"] = _cost(sample, "cp1252", charsets["cp1252"]) - _HEAD_START
        costs["cp1252"] += len(_LETTER_BESIDE_LETTER.findall(sample)) * _NEIGHBOUR_BITS
        beside_ascii = len(_LETTER_BESIDE_ASCII.findall(sample)) * _NEIGHBOUR_BITS
        for name in ("cp1251", "koi8-r", "cp1253", "cp1255", "cp1256"):
            costs[name] = _cost(sample, name, charsets[name]) + beside_ascii
    return min(costs, key=costs.__getitem__)


def _cost(sample: bytes, name: str, charset: _Charset) -> float:
    typical, common, other, broken = charset.bits
    cost = 0.0
    for character, count in Counter(sample.decode(name, "replace")).items():
        if character.isascii():
            cost += count * _ASCII_BITS
        elif character == "\ufffd":
            cost += count * broken
        elif character in charset.typical:
            cost += count * typical
        else:
            cost += count * (common if character in charset.common else other)
    return cost


@cache
def _charsets() -> dict[str, _Charset]:
    alphabets = {
        "cp1252": _LATIN,
        "cp1251": _CYRILLIC,
        "koi8-r": _CYRILLIC,
        "cp1253": _GREEK,
        "cp1255": _HEBREW,
        "cp1256": _ARABIC,
    }
    # The rows with symbols, kana, and each standard's first level of ideographs or syllables.
    jis = _decode_rows("euc_jp", (*range(0xA1, 0xA6), *range(0xB0, 0xD0)), _EUC_TRAILS)
    rows = {
        "shift_jis": (_KANA, jis),
        "euc_jp": (_KANA, jis),
        "gb18030": (_SIMPLIFIED, _decode_rows("gb2312", (*range(0xA1, 0xA4), *range(0xB0, 0xD8)), _EUC_TRAILS)),
        "big5": (_TRADITIONAL, _decode_rows("big5", range(0xA1, 0xC7), _BIG5_TRAILS)),
        "euc_kr": (_HANGUL, _decode_rows("euc_kr", (*range(0xA1, 0xA4), *range(0xB0, 0xC9)), _EUC_TRAILS)),
    }
    return {
        "utf-8": _Charset("", "", (8.0, 8.0, 8.0, 8.0)),
        **{name: _Charset(typical, typical.upper(), (4.5, 7.0, 9.0, 20.0)) for name, typical in alphabets.items()},
        **{name: _Charset(typical, common, (6.5, 13.0, 20.0, 15.0)) for name, (typical, common) in rows.items()},
    }


def _decode_rows(charset: str, leads: Iterable[int], trails: Collection[int]) -> frozenset[str]:
    """Return the characters with these first and second bytes."""
    pairs = (bytes((lead, trail)) for lead in leads for trail in trails)
    return frozenset("".join(pair.decode(charset, "ignore") for pair in pairs))
