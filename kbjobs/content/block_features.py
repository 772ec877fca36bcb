"""Features for choosing a page's main text: numbers about each block, its neighbours and its holders.

The trees of :mod:`kbjobs.content.block_trees` were trained with these numbers, in this order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from selectolax.lexbor import LexborNode

from kbjobs.content.outline import Outline, PageFacts

Matrix = NDArray[np.float32]

# Searched in the class, id, role and itemprop of a block's holders: the informative ones of 130 words tried.
WORDS = (  # noqa: SIM905 — sixty literals are harder to read
    "comment main gallery head share related author tag article box entry body content recipe header photo column"
    " news widget info col- story card date post js- time caption block ad- item image list text categor title"
    " page form teaser single grid detail side blog sub -ad foot nav menu social newsletter promo popular bio"
    " profile meta quote forum answer reply cookie more recommend"
).split()

# Words that mark text other than the main text, in the web's most frequent languages; cut to six letters.
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
_GROUPS: dict[str, int] = {}  # bits: the groups that a stem belongs to
for _bit, _phrase in enumerate(PHRASES):
    for _stem in _phrase:
        _GROUPS[_stem] = _GROUPS.get(_stem, 0) | 1 << _bit
_BY_WORDS = "by von par por di door text autor author от автор"
_BYLINES = tuple(f"{word}{end}" for word in _BY_WORDS.split() for end in " :")
_YEAR = re.compile(r"(?:19|20)\d\d")
_YEAR_DIGITS = 4
_SAID = len(PHRASES) + 3
_ENDS_SENTENCE = re.compile(r"[.!?。！？…:;][\"'”’»)]*$")
_END = "\0"  # of a text, among others
_PLANE = 0xFFFF  # the last character whose kind is known
# Kinds of characters, as bits. The kind that must precede or follow another one has the bit below it.
_SPACE, _CLOSES, _ENDS, _GAP, _CAPITAL, _COMMA, _DIGIT, _SEPARATOR = (1 << bit for bit in range(8))
_CAPITALS = "".join(map(chr, [*range(0x41, 0x5B), *range(0xC0, 0xDF), *range(0x410, 0x430)]))
_TAG_NAMES = (
    "body div section article main ul ol li table tbody tr td th dl dd blockquote figure figcaption form header"
    " aside details summary address center p span a label fieldset"
)
_TAGS = {tag: number for number, tag in enumerate(_TAG_NAMES.split(), start=1)}
_TEXT_LIMIT, _PHRASE_LIMIT = 400, 200  # characters of a block that are considered
_TITLE_WORDS = 40
_OWN = 16
_PROSE_WORDS, _PROSE_LINKS = 8, 0.3
_LEVELS = 5  # of holders
_NEIGHBOURS = (-3, -2, -1, 1, 2, 3)
_FAR = 99  # blocks
_WINDOW = 9  # blocks
_SHOWN_OF_BODY = 60  # characters of a block that are searched in the page's own article text


def describe_blocks(outline: Outline, facts: PageFacts) -> Matrix:
    """Compute the features of each block: an array of float32, one row per block.

    Args:
        outline: the page's blocks, at least one.
        facts: what else is known about the page.
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
    """Sum the blocks in each holder, including those of nested holders: one row per holder.

    Args:
        outline: the page's blocks and holders.
        totals: the numbers to sum, one row per block.
    """
    sums = np.zeros((len(outline.holders), totals.shape[1]))
    np.add.at(sums, np.array(outline.places), totals)
    columns = [column.tolist() for column in sums.T]
    for number in range(len(outline.holders) - 1, 0, -1):  # a holder comes after the one that contains it
        parent = outline.parents[number]
        for column in columns:
            column[parent] += column[number]
    return np.array(columns).T


def _describe_texts(outline: Outline, facts: PageFacts) -> tuple[Matrix, NDArray[np.float64]]:
    """Describe each block's own text; also sum its characters, linked ones, prose, one per block, and words."""
    texts = [block.text or " " for block in outline.blocks]
    shown = [text[:_TEXT_LIMIT] for text in texts]
    counts = _count_characters(shown)
    length, shown_length = np.array([*map(len, texts)]), counts.lengths
    words = counts.spaces + 1
    unspaced = (words <= 2) & (length > 40)
    words = np.where(unspaced, np.maximum(words, shown_length // 6), words)
    scale = length / shown_length
    linked = np.minimum(1.0, np.array(outline.linked) / length)
    said = [text[:_PHRASE_LIMIT].lower() for text in shown]
    own = np.stack(
        [
            np.array([block.level for block in outline.blocks]), np.array(outline.codes), np.log1p(length),
            words * scale, linked, counts.sentences / words, counts.sentences * scale, counts.commas / words,
            np.array([_ends_sentence(text) for text in shown]), counts.capitals / words, counts.digits / shown_length,
            np.array([text[0].isupper() for text in shown]), shown_length / words, np.array(_count_seen(texts)),
            np.array(_share_words(shown, facts.title)), np.array(_find_in_body(shown, facts.article_body)),
            *_read_phrases(said).T,
            np.array([text.startswith(_BYLINES) for text in said]),
            np.array([digits >= _YEAR_DIGITS and _YEAR.search(text) is not None
                      for text, digits in zip(said, counts.digits.tolist(), strict=True)]),
            counts.separators > 0,
        ],
        axis=1,
    ).astype(np.float32)  # fmt: skip
    is_prose = (words >= _PROSE_WORDS) & (linked < _PROSE_LINKS) & (counts.sentences > 0)
    return own, np.stack([length, linked * length, length * is_prose, np.ones(len(texts)), words * scale], axis=1)


@dataclass(frozen=True, slots=True)
class _Counts:
    """The numbers of characters of each text, in all and of some kinds. A sentence end counts only in a possible
    place."""

    lengths: NDArray[np.int64]
    spaces: NDArray[np.int64]
    sentences: NDArray[np.int64]
    commas: NDArray[np.int64]
    capitals: NDArray[np.int64]
    digits: NDArray[np.int64]
    separators: NDArray[np.int64]


def _count_characters(texts: Sequence[str]) -> _Counts:
    """Count characters in non-empty texts, all in one pass; separators only in the first characters."""
    lengths = np.array([*map(len, texts)])
    characters = np.frombuffer((_END + _END.join(texts) + _END).encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = _kinds()[np.minimum(characters, _PLANE)]
    before, here, after = kinds[:-2], kinds[1:-1], kinds[2:]
    starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]])
    offsets = np.arange(len(here)) - np.repeat(starts, lengths + 1)[: len(here)]
    marks = np.stack(
        [
            here & _SPACE, here & _ENDS & (after & _CLOSES) << 1, here & _COMMA,
            here & _CAPITAL & (before & _GAP) << 1, here & _DIGIT, (here & _SEPARATOR) * (offsets < _PHRASE_LIMIT),
        ]
    )  # fmt: skip
    return _Counts(lengths, *np.add.reduceat(marks > 0, starts, axis=1, dtype=np.int64))


@cache
def _kinds() -> NDArray[np.uint8]:
    """The kinds of each character of the basic plane, as bits."""
    kinds = np.zeros(_PLANE + 1, np.uint8)
    gaps = "".join(filter(str.isspace, map(chr, [*range(0x100), *range(0x1680, 0x3001)]))) + _END
    for kind, characters in (
        (_SPACE, " "), (_ENDS, ".!?。！？।"), (_CLOSES, gaps + "\"'”’»)"), (_COMMA, ",、，"), (_CAPITAL, _CAPITALS),
        (_GAP, gaps), (_DIGIT, "0123456789"), (_SEPARATOR, "|»›•→"),
    ):  # fmt: skip
        kinds[[*map(ord, characters)]] |= kind
    return kinds


def _ends_sentence(text: str) -> bool:
    return not text[-1].isalnum() and _ENDS_SENTENCE.search(text[-4:]) is not None


def _count_seen(texts: Sequence[str]) -> list[int]:
    """Count how often each text occurs among the earlier ones."""
    seen: dict[str, int] = {}
    found = []
    for text in texts:
        found.append(seen.get(text, 0))
        seen[text] = found[-1] + 1
    return found


def _share_words(texts: Sequence[str], title: str) -> list[float]:
    """Compute which share of each text's first words the title contains."""
    known = frozenset(title.lower().split())
    if not known:
        return [0.0] * len(texts)
    first = [text.lower().split(None, _TITLE_WORDS)[:_TITLE_WORDS] for text in texts]
    return [sum(map(known.__contains__, words)) / max(1, len(words)) for words in first]


def _find_in_body(texts: Sequence[str], article_body: str) -> list[float]:
    """Whether each text's beginning is in the article that the page gives; -1 if it gives none."""
    if not article_body:
        return [-1.0] * len(texts)
    return [float(text[:_SHOWN_OF_BODY] in article_body) for text in texts]


def _read_phrases(texts: Sequence[str]) -> Matrix:
    """Find which groups of phrases each text, in lower case, contains."""
    known = _GROUPS.keys()
    found = []
    for text in texts:
        groups = 0
        for stem in known & {word[:_STEM] for word in _WORD.findall(text)}:
            groups |= _GROUPS[stem]
        found.append(groups)
    return _unpack(found, len(PHRASES))


def _describe_headings(own: Matrix) -> Matrix:
    """Describe the last heading above each block: its text, its distance and its level."""
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
    """Describe the elements around each block, the nearest first: tag, share of the page's prose, links, length."""
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
    """Describe each block's position: on the page, and its distance to the next long text above and below."""
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
    """Describe the blocks before and after each: words, links, heading, sentences, and whether the holder is the
    same."""
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
    """Read tags and depths of holders, and the words that name each block's nearest elements, and all above it."""
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
        _unpack([near[place] | itself for place, itself in pairs], len(WORDS)),
        _unpack([above[place] | itself for place, itself in pairs], len(WORDS)),
    )


def names_of(node: LexborNode) -> str:
    """Join class, id, role and itemprop of an element, in lower case."""
    attributes = node.attributes
    if not attributes:
        return ""
    return " ".join([attributes.get(name) or "" for name in ("class", "id", "role", "itemprop")]).lower()


@lru_cache(maxsize=4_096)
def _find_words(names: str) -> int:
    """Find the words of :data:`WORDS` within ``names``, as bits."""
    return sum(1 << bit for bit, word in enumerate(WORDS) if word in names) if names else 0


def _unpack(numbers: Sequence[int], count: int) -> Matrix:
    """Unpack the lowest bits of each number, one column per bit."""
    size = -(-count // 8)
    packed = np.frombuffer(b"".join(one.to_bytes(size, "little") for one in numbers), np.uint8).reshape(-1, size)
    return np.unpackbits(packed, axis=1, bitorder="little")[:, :count].astype(np.float32)
