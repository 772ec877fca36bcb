"""What the choice of a page's main text is made by: numbers about each block, its neighbours and what holds it.

The numbers, and their order, are those that the trees of :mod:`kbjobs.content.block_trees` were trained with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from selectolax.lexbor import LexborNode

from kbjobs.content.outline import Outline, PageFacts

Matrix = NDArray[np.float32]

# Looked for in the class, id, role and itemprop of what holds a block: of 130 words tried, those that told anything.
WORDS = (  # noqa: SIM905 — sixty literals are harder to read
    "comment main gallery head share related author tag article box entry body content recipe header photo column"
    " news widget info col- story card date post js- time caption block ad- item image list text categor title"
    " page form teaser single grid detail side blog sub -ad foot nav menu social newsletter promo popular bio"
    " profile meta quote forum answer reply cookie more recommend"
).split()
_BYTES = -(-len(WORDS) // 8)

# Words of what is no main text, in the languages that most pages of the web are in; each to its sixth letter.
PHRASES = [
    frozenset(words.split())
    for words in (
        "share tweet follow facebo twitte whatsa pintes linked instag teleg teilen partag compar condiv delen udostę"
        " подели",
        "subscr newsle signup email e-mail mail abonni abonne inscri suscri iscriv anmeld подпис",
        "commen reply replie kommen coment reacti antwor коммен",
        "relate more also recomm popula trendi latest weiter lesen auch intere lire voir aussi leer más relaci leggi"
        " anche lees ook читайт теме previo next contin read mehr most",
        "cookie privac datens terms impres rights copyri rechte droits derech discla licens licenc ©",
        "advert sponso anzeig werbun public promo promot реклам",
        "photo image foto fotos bild credit getty reuter afp shutte illust quelle source",
        "login regist signin accoun passwo einlog connex warenk cart checko",
        "tag tags catego katego filed posted publis veröff publié update schlag topic topics themen",
        "ago vor hace minute hours hour uhr january jan jan. feb. februa märz march april aprile may mai june juni juin"
        " july juli juill august septem octobe oktobe octubr novemb decemb dezemb décemb",
    )
]
_WORD = re.compile(r"[^\W_]+|©")
_STEM = 6  # letters
_GROUPS: dict[str, int] = {}  # bits: the groups that a stem is of
for _bit, _phrase in enumerate(PHRASES):
    for _stem in _phrase:
        _GROUPS[_stem] = _GROUPS.get(_stem, 0) | 1 << _bit
_BY_WORDS = "by von par por di door text autor author от автор"
_BYLINES = tuple(f"{word}{end}" for word in _BY_WORDS.split() for end in " :")
_YEAR = re.compile(r"(?:19|20)\d\d")
_SEPARATORS = "|»›•→"
_DIGITS = "0123456789"
_SAID = len(PHRASES) + 3
_SENTENCE = re.compile(r"[.!?。！？।]+(?=[\s\"'”’»)]|$)")
_ENDS_SENTENCE = re.compile(r"[.!?。！？…:;][\"'”’»)]*$")
_CAPITAL = re.compile(r"(?:^|\s)[A-ZÄÖÜА-ЯÀ-Þ]")
_COMMAS = ",、，"
_TAG_NAMES = (
    "body div section article main ul ol li table tbody tr td th dl dd blockquote figure figcaption form header"
    " aside details summary address center p span a label fieldset"
)
_TAGS = {tag: number for number, tag in enumerate(_TAG_NAMES.split(), start=1)}
_TEXT_LIMIT, _PHRASE_LIMIT = 400, 200  # characters of a block that are looked at
_TITLE_WORDS = 40
_OWN = 16
_PROSE_WORDS, _PROSE_LINKS = 8, 0.3
_LEVELS = 5  # of holders
_NEIGHBOURS = (-3, -2, -1, 1, 2, 3)
_FAR = 99  # blocks
_WINDOW = 9  # blocks
_SHOWN_OF_BODY = 60  # characters of a block that are looked for in the text that the page gives itself


def describe_blocks(outline: Outline, facts: PageFacts) -> Matrix:
    """The numbers of each block: an array of float32, one row a block.

    Args:
        outline: the page's blocks, one or more.
        facts: what else is known of it.
    """
    own, totals = _describe_texts(outline, facts)
    count = len(outline.blocks)
    places, parents = np.array(outline.places), np.array(outline.parents)
    holders = _add_up(outline, totals)
    tags, depths, near, above = _read_names(outline, holders[:, 3] > 0)
    page = holders[0]
    prose = totals[:, 2]
    facts_row = [
        math.log1p(count), math.log1p(page[4]), page[1] / max(1, page[0]), page[2] / max(1, page[0]),
        np.count_nonzero(prose) / count, np.count_nonzero(own[:, 0]) / count, facts.is_article,
        bool(facts.article_body),
    ]  # fmt: skip
    return np.concatenate(
        [
            own,
            _describe_headings(own),
            _describe_holders(places, parents, holders, tags),
            _describe_places(totals, depths[places]),
            _describe_neighbours(own, places),
            np.tile(np.array(facts_row, np.float32), (count, 1)),
            near,
            above,
        ],
        axis=1,
        dtype=np.float32,
    )


def _add_up(outline: Outline, totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of the blocks in each holder, those in the holders within it included: one row a holder.

    Args:
        outline: the page's blocks and holders.
        totals: what is added up, one row a block.
    """
    sums = np.zeros((len(outline.holders), totals.shape[1]))
    np.add.at(sums, np.array(outline.places), totals)
    columns = [column.tolist() for column in sums.T]
    for number in range(len(outline.holders) - 1, 0, -1):  # a holder comes after the one that it lies in
        parent = outline.parents[number]
        for column in columns:
            column[parent] += column[number]
    return np.array(columns).T


def _describe_texts(outline: Outline, facts: PageFacts) -> tuple[Matrix, NDArray[np.float64]]:
    """Numbers of each block's own text; and its characters, those of links and of prose, one, and words."""
    own: list[tuple[float, ...]] = []
    totals: list[tuple[float, ...]] = []
    seen: dict[str, int] = {}
    title = frozenset(facts.title.lower().split())
    for row, block in enumerate(outline.blocks):
        text = block.text or " "
        length = len(text)
        shown = text[:_TEXT_LIMIT]
        lowered = shown.lower()
        words = shown.count(" ") + 1
        if words <= 2 and length > 40:  # a script without spaces
            words = max(words, len(shown) // 6)
        scale = length / len(shown)
        linked = min(1.0, outline.linked[row] / length)
        sentences = len(_SENTENCE.findall(shown))
        first = lowered.split(None, _TITLE_WORDS)[:_TITLE_WORDS] if title else []
        in_body = -1.0 if not facts.article_body else float(shown[:_SHOWN_OF_BODY] in facts.article_body)
        own.append(
            (
                block.level, outline.codes[row], math.log1p(length), words * scale, linked, sentences / words,
                sentences * scale, sum(map(shown.count, _COMMAS)) / words,
                _ENDS_SENTENCE.search(shown[-4:]) is not None, len(_CAPITAL.findall(shown)) / words,
                sum(map(shown.count, _DIGITS)) / len(shown), shown[0].isupper(), len(shown) / words,
                seen.get(text, 0), sum(map(title.__contains__, first)) / max(1, len(first)), in_body,
                *_read_phrases(lowered[:_PHRASE_LIMIT]),
            )
        )  # fmt: skip
        seen[text] = seen.get(text, 0) + 1
        is_prose = words >= _PROSE_WORDS and linked < _PROSE_LINKS and sentences > 0
        totals.append((length, linked * length, length * is_prose, 1, words * scale))
    return np.array(own, np.float32), np.array(totals, np.float64)


def _read_phrases(text: str) -> list[bool]:
    """Which of the phrases a text in lower case has, whether it begins as a byline does, has a year or a separator."""
    found = 0
    for stem in _GROUPS.keys() & {word[:_STEM] for word in _WORD.findall(text)}:
        found |= _GROUPS[stem]
    return [
        *[found >> bit & 1 == 1 for bit in range(len(PHRASES))],
        text.startswith(_BYLINES),
        _YEAR.search(text) is not None,
        any(map(text.__contains__, _SEPARATORS)),
    ]


def _describe_headings(own: Matrix) -> Matrix:
    """What the last heading above each block says, how far above it is, and its level."""
    found = np.zeros((len(own), _SAID + 2), np.float32)
    found[:, -2] = -1
    at = -1
    for row in range(len(own)):
        if at >= 0:
            found[row, :-2] = own[at, _OWN:]
            found[row, -2:] = row - at, own[at, 0]
        if own[row, 0]:
            at = row
    return found


def _describe_holders(
    places: NDArray[np.int64], parents: NDArray[np.int64], holders: NDArray[np.float64], tags: Matrix
) -> Matrix:
    """Of the elements around each block, the nearest first: tag, share of the page's prose, links, length."""
    columns = []
    page_prose = max(1, holders[0, 2])
    held = places
    for _ in range(_LEVELS):
        there = np.maximum(held, 0)
        chars, linked, prose, blocks, words = holders[there].T
        columns += [
            tags[there], prose / page_prose, linked / np.maximum(1, chars), np.log1p(blocks),
            words / np.maximum(1, blocks), prose / np.maximum(1, chars),
        ]  # fmt: skip
        held = np.where(held >= 0, parents[there], -1)
    return np.stack(columns, axis=1).astype(np.float32)


def _describe_places(totals: NDArray[np.float64], depths: Matrix) -> Matrix:
    """Where each block stands: on the page, and from the next long text above and below it."""
    count = len(totals)
    chars, prose = totals[:, 0], totals[:, 2]
    index = np.arange(count)
    read, read_prose = np.cumsum(chars), np.cumsum(prose)
    last = np.maximum.accumulate(np.where(prose > 0, index, -1))
    before = np.concatenate([[-1], last[:-1]])
    following = np.minimum.accumulate(np.where(prose > 0, index, count + _FAR)[::-1])[::-1]
    after = np.concatenate([following[1:], [count + _FAR]])
    window = np.convolve(prose, np.ones(_WINDOW), "same")[:count] if count >= _WINDOW else np.full(count, prose.sum())
    columns = [
        index, count - index, index / count, (read - chars) / read[-1], (read_prose - prose) / max(1, read_prose[-1]),
        np.where(before >= 0, np.minimum(_FAR, index - before), _FAR), np.minimum(_FAR, after - index),
        np.log1p(window), read_prose[-1] - read_prose, depths,
    ]  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float32)


def _describe_neighbours(own: Matrix, places: NDArray[np.int64]) -> Matrix:
    """Of the blocks before and after each: words, links, heading, sentences, and whether they share its holder."""
    some = np.stack(
        [np.log1p(own[:, 3]), own[:, 4], own[:, 0], own[:, 5], own[:, 8], own[:, 1], own[:, 10], own[:, 9]], axis=1
    )
    columns = []
    for offset in _NEIGHBOURS:
        moved = np.full((len(own), some.shape[1] + 1), -1, np.float32)
        here, there = (
            (slice(-offset, None), slice(None, offset)) if offset < 0 else (slice(None, -offset), slice(offset, None))
        )
        if abs(offset) < len(own):
            moved[here, :-1] = some[there]
            moved[here, -1] = places[there] == places[here]
        columns.append(moved)
    return np.concatenate(columns, axis=1)


def _read_names(outline: Outline, holds: NDArray[np.bool_]) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """Tags and depths of holders; and which words each block's nearest elements, and all above it, are named by."""
    count = len(outline.holders)
    own, near, above = [0] * count, [0] * count, [0] * count
    tags, depths = np.zeros(count, np.float32), np.zeros(count, np.float32)
    for number, node in enumerate(outline.holders):
        if not holds[number]:
            continue
        parent = outline.parents[number]
        own[number] = near[number] = above[number] = _find_words(names_of(node))
        tags[number] = _TAGS.get(node.tag or "", 0)
        if parent >= 0:
            grandparent = outline.parents[parent]
            near[number] |= own[parent] | (own[grandparent] if grandparent >= 0 else 0)
            above[number] |= above[parent]
            depths[number] = depths[parent] + 1
    themselves = [0 if node is None else _find_words(names_of(node)) for node in outline.elements]
    pairs = list(zip(outline.places, themselves, strict=True))
    return (
        tags,
        depths,
        _unpack([near[place] | itself for place, itself in pairs]),
        _unpack([above[place] | itself for place, itself in pairs]),
    )


def names_of(node: LexborNode) -> str:
    """Class, id, role and itemprop of an element, in lower case."""
    attributes = node.attributes
    if not attributes:
        return ""
    return " ".join([attributes.get(name) or "" for name in ("class", "id", "role", "itemprop")]).lower()


@lru_cache(maxsize=4_096)
def _find_words(names: str) -> int:
    """The words of :data:`WORDS` within ``names``, as bits."""
    return sum(1 << bit for bit, word in enumerate(WORDS) if word in names) if names else 0


def _unpack(bits: Sequence[int]) -> Matrix:
    packed = np.frombuffer(b"".join(one.to_bytes(_BYTES, "little") for one in bits), np.uint8).reshape(-1, _BYTES)
    return np.unpackbits(packed, axis=1, bitorder="little")[:, : len(WORDS)].astype(np.float32)
