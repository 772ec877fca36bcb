"""Cut a document into passages that fit a model's window, counted with the model's own tokenizer."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING

from kbjobs.content.document import Block, Document
from kbjobs.content.passage_cuts import Cut, Unit, pack
from kbjobs.content.tokens import TokenCounter, counter_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MIN_WINDOW = 32
"""Smallest window that a chunker accepts, in tokens: a smaller one has no room for a title and a sentence."""

_TITLE_SHARE = 4  # the title takes at most a quarter of the window
_TITLE_CHARACTERS = 4  # … and at most that many characters for each of its tokens
_BATCH_CHARACTERS = 1_000_000  # of text tokenised at once: an encoding takes about 150 bytes per token
_CHARACTERS_A_TOKEN = 16  # longer text per token has words that no tokenizer splits
_WORD_CHARACTERS = 100  # WordPiece reads a longer word as one unknown token (max_input_chars_per_word)
_SHORT = 160  # characters; a shorter block is not cut into sentences
_PARTS = 8  # of a window, for cutting a sentence that does not fit
_KNOWN_WORDS = 300_000  # words whose token count is remembered; about 40 MB

_CUT_POINT = re.compile(r"(?<=[.!?…:;])[\"'”’)\]]{0,3}\s+|(?<=[。！？])|\n+")
_LONG_WORD = re.compile(rf"\S{{{_WORD_CHARACTERS}}}(?=\S)")
_WORD_END = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage as it is embedded: the document's title, a line break, the passage.

    ``text_hash`` is the first 32 hex digits of the text's sha256; ``tokens`` counts the whole text with the model's
    special tokens. ``page`` is the PDF page on which it begins, from 1; 0 for other files.
    """

    ordinal: int
    text: str
    text_hash: str
    tokens: int
    page: int = 0


class Chunker:
    """Cuts documents for one tokenizer and one window (``max_tokens``, special tokens included)."""

    def __init__(self, tokenizer: Tokenizer | TokenCounter, max_tokens: int) -> None:
        if max_tokens < MIN_WINDOW:
            raise ValueError(f"a window of {max_tokens} tokens is too small: at least {MIN_WINDOW} are needed")
        self._tokens = counter_of(tokenizer)
        self._window = max_tokens
        self._special = self._tokens.special
        # If the tokens of two lines add up, so does a chunk's count. Other tokenizers may join tokens across the line
        # break, so each finished chunk is counted again.
        self._adds_up = self._tokens.adds_up
        self._tokens_of_word: dict[str, int] = {}
        self._joint = 0 if self._adds_up else 1

    def chunk(self, document: Document) -> list[Chunk]:
        """Cut one document into chunks, in order. Each word of its text is in one of them."""
        return next(self.chunk_many([document]))

    def chunk_many(self, documents: Iterable[Document]) -> Iterator[list[Chunk]]:
        """Yield the chunks of each document, in order; many documents share one call of the tokenizer."""
        batch: list[Document] = []
        length = 0
        for document in documents:
            batch.append(document)
            length += sum(len(block.text) for block in document.blocks)
            if length >= _BATCH_CHARACTERS:
                yield from self._chunk_batch(batch)
                batch, length = [], 0
        if batch:
            yield from self._chunk_batch(batch)

    def _chunk_batch(self, documents: Sequence[Document]) -> Iterator[list[Chunk]]:
        ends = [[_cut_points(block.text) for block in document.blocks] for document in documents]
        texts: list[str] = []
        for document, ends_of_blocks in zip(documents, ends, strict=True):
            texts.append(document.title)
            for block, its_ends in zip(document.blocks, ends_of_blocks, strict=True):
                texts += [block.text[start:end] for start, end in pairwise((0, *its_ends))]
        counts = iter(self._count(texts))
        for document, ends_of_blocks in zip(documents, ends, strict=True):
            title, title_tokens = self._fit_title(document.title, next(counts))
            room = self._window - self._special - title_tokens - 2 * self._joint
            blocks: list[str] = []
            units: list[Unit] = []
            for block, its_ends in zip(document.blocks, ends_of_blocks, strict=True):
                tokens = list(islice(counts, len(its_ends)))
                blocks.append(self._add_units(units, block, its_ends, tokens, len(blocks), room))
            passages = [
                (*_join(blocks, units[first:end]), document.blocks[units[first].block].page)
                for first, end in pack(units, room)
            ]
            yield self._finish(title, title_tokens, passages)

    def _add_units(
        self, units: list[Unit], block: Block, ends: Sequence[int], tokens: Sequence[int], number: int, room: int
    ) -> str:
        """Add the units of a block. Returns its text, with breaks in words that no tokenizer splits."""
        text = block.text
        if not text.strip():
            return text
        if len(text) > _WORD_CHARACTERS and len(text) > sum(tokens) * _CHARACTERS_A_TOKEN:
            text = _LONG_WORD.sub(r"\g<0> ", text)
            ends = _cut_points(text)
            tokens = self._count([text[start:end] for start, end in pairwise((0, *ends))])
        is_heading = block.kind == "heading"
        cut = Cut.HEADING if units and units[-1].is_heading else Cut.SECTION if is_heading else Cut.PARAGRAPH
        for (start, end), size in zip(pairwise((0, *ends)), tokens, strict=True):
            parts: Iterable[tuple[int, int, int, Cut]] = ((start, end, size, Cut.SENTENCE),)
            if size + self._joint > room:
                parts = self._cut(text, start, end, room)
            for first, last, its_size, inner in parts:
                its_cut = cut if first == 0 else Cut.HEADING if is_heading and inner != Cut.LETTER else inner
                units.append(Unit(number, first, last, its_size + self._joint, its_cut, is_heading))
        return text

    def _count(self, texts: Sequence[str]) -> list[int]:
        if self._adds_up:
            return self._count_words(texts)
        return self._tokens.count(texts)

    def _count_words(self, texts: Sequence[str]) -> list[int]:
        """Sum the tokens of the words: each word is tokenised once, which is a twentieth of the work (measured)."""
        split = [text.split() for text in texts]
        known = self._tokens_of_word
        if len(known) > _KNOWN_WORDS:
            known.clear()
        unknown = list(set(chain.from_iterable(split)).difference(known))
        known.update(zip(unknown, self._tokens.count(unknown), strict=True))
        return [sum(map(known.__getitem__, words)) for words in split]

    def _fit_title(self, title: str, tokens: int) -> tuple[str, int]:
        limit = self._window // _TITLE_SHARE
        title = title[: limit * _TITLE_CHARACTERS * 2]
        if tokens > limit:
            offsets = self._tokens.offsets(title)
            while len(offsets) > limit:
                end = offsets[limit - 1][1]
                cut = title[:end]
                # prefer to end with a whole word, if that keeps most of the title
                if end < len(title) and not title[end].isspace() and cut.rfind(" ") > len(cut) // 2:
                    cut = cut[: cut.rfind(" ")]
                if cut == title:
                    cut = title[: len(title) // 2]
                title = cut.rstrip()
                offsets = self._tokens.offsets(title)
            tokens = len(offsets)
        return title, tokens

    def _cut(self, text: str, start: int, end: int, room: int) -> Iterator[tuple[int, int, int, Cut]]:
        """Cut a sentence that does not fit into parts of a window, between words, or else within a word.

        Yields where each part begins and ends, its tokens, and the kind of the cut before it.
        """
        starts = [start + first for first, _ in self._tokens.offsets(text[start:end])]
        words = [found.end() for found in _WORD_END.finditer(text, start, end)]
        size = max(1, room // _PARTS)
        cut, first = Cut.SENTENCE, 0
        while start < end:
            last = first + size
            stop = starts[last] if last < len(starts) else end
            after = Cut.WORD
            if stop < end:
                between = _last_within(words, start + 1, stop)
                if not between:
                    stop, after = _avoid_marks(text, start, stop), Cut.LETTER
                else:
                    stop = between
            next_first = bisect_right(starts, stop - 1, lo=first)
            if text[start:stop].strip():
                for begin, finish, tokens in self._verify(text, start, stop, room):
                    yield begin, finish, tokens, cut if begin == start else Cut.LETTER
                cut = after
            start, first = stop, next_first

    def _verify(self, text: str, start: int, end: int, room: int) -> Iterator[tuple[int, int, int]]:
        """Yield a part with its exact count, halving it while it is too long, as after a cut within a word."""
        waiting = [(start, end)]
        while waiting:
            begin, finish = waiting.pop()
            tokens = self._count([text[begin:finish]])[0]
            if tokens + self._joint <= room or finish - begin == 1:
                yield begin, finish, tokens
                continue
            middle = _avoid_marks(text, begin, (begin + finish) // 2)
            waiting += [(middle, finish), (begin, middle)]

    def _finish(self, title: str, title_tokens: int, passages: list[tuple[str, int, int]]) -> list[Chunk]:
        chunks: list[Chunk] = []
        overhead = self._special + title_tokens
        waiting = passages[::-1]
        while waiting:
            passage, tokens, page = waiting.pop()
            text = f"{title}\n{passage}"
            tokens += overhead
            if not self._adds_up:
                tokens = self._special + self._count([text])[0]
                if tokens > self._window and len(passage) > 1:
                    middle = _middle_of(passage)
                    waiting += [(passage[middle:].strip(), 0, page), (passage[:middle].strip(), 0, page)]
                    continue
            text_hash = hashlib.sha256(text.encode()).hexdigest()[:32]
            chunks.append(Chunk(len(chunks), text, text_hash, tokens, page))
        return chunks


def _cut_points(text: str) -> list[int]:
    """Find where a block may be cut: after a sentence, after a clause with a colon or semicolon, or after a line.

    No library's sentence splitter is used: it would cut elsewhere, and all existing passages would be embedded (and
    paid for) again.
    """
    ends = [] if len(text) <= _SHORT else [found.end() for found in _CUT_POINT.finditer(text)]
    if not ends or ends[-1] < len(text):
        ends.append(len(text))
    return ends


def _join(blocks: Sequence[str], units: Sequence[Unit]) -> tuple[str, int]:
    """Join neighbouring units into a text, and sum its tokens. Parts of one block keep their spacing."""
    parts: list[str] = []
    first = 0
    for position, unit in enumerate(units, start=1):
        # A cut word is not joined again: its parts were counted as words.
        if position == len(units) or units[position].block != unit.block or units[position].cut is Cut.LETTER:
            parts.append(blocks[unit.block][units[first].start : unit.end].strip())
            first = position
    return "\n".join(part for part in parts if part), sum(unit.tokens for unit in units)


def _last_within(ends: list[int], lowest: int, highest: int) -> int:
    """Return the last of ``ends`` in ``lowest..highest``, or 0."""
    index = bisect_right(ends, highest) - 1
    return ends[index] if index >= 0 and ends[index] >= lowest else 0


def _avoid_marks(text: str, start: int, end: int) -> int:
    """Move a cut before the letter whose combining marks or joined parts follow, if one is near."""
    near = max(start + 1, end - 32)
    for position in range(end, near, -1):
        if position == len(text) or not (unicodedata.combining(text[position]) or text[position] in "\u200d\ufe0f"):
            return position
    return max(end, start + 1)


def _middle_of(text: str) -> int:
    """Return where to halve ``text``: at the space before the middle, or else in the middle."""
    middle = len(text) // 2
    space = text.rfind("\n", 1, middle)
    if space < len(text) // 4:
        space = text.rfind(" ", 1, middle)
    return space if space > 0 else _avoid_marks(text, 0, middle)
