"""The chunker of version 1, as the baseline of bench_passages.py: paragraphs and headings packed in their order."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from kbjobs.content.chunking import Chunk
from kbjobs.content.document import Block, Document
from kbjobs.content.tokens import TokenCounter, counter_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MIN_WINDOW = 32
"""Smallest window a chunker accepts, in tokens: less has no room for a title and a sentence."""

_TITLE_SHARE = 4  # the title takes at most a quarter of the window
_TITLE_CHARACTERS = 4  # … and at most so many characters for each of its tokens
_BATCH_CHARACTERS = 1_000_000  # of text tokenised at once: an encoding takes about 150 bytes a token
_CHARACTERS_A_TOKEN = 16  # text that is longer for its tokens has words no tokenizer takes apart
_WORD_CHARACTERS = 100  # WordPiece reads a longer word as one unknown token (max_input_chars_per_word)
_FULL_ENOUGH = 0.5  # a chunk filled so far ends before a section that does not fit as a whole
_KNOWN_WORDS = 300_000  # words whose count is remembered; about 40 MB
_SMALL = 0.25  # a chunk below this share of the window is merged with a neighbour if it fits

_SENTENCE_END = re.compile(r"(?<=[.!?…:;])[\"'”’)\]]{0,3}\s+|(?<=[。！？])|\n+")
_LONG_WORD = re.compile(rf"\S{{{_WORD_CHARACTERS}}}(?=\S)")
_WORD_END = re.compile(r"\s+")


@dataclass(slots=True)
class _Piece:
    """Text that is not cut any further; ``tokens`` without special tokens."""

    text: str
    tokens: int
    is_heading: bool = False


class FormerChunker:
    """Cuts documents for one tokenizer and one window (``max_tokens``, special tokens included)."""

    def __init__(self, tokenizer: Tokenizer | TokenCounter, max_tokens: int) -> None:
        if max_tokens < MIN_WINDOW:
            raise ValueError(f"a window of {max_tokens} tokens is too small: at least {MIN_WINDOW} are needed")
        self._tokens = counter_of(tokenizer)
        self._window = max_tokens
        self._special = self._tokens.special
        # Where the tokens of two texts on two lines are the sum of theirs, so is a chunk's count. Others may join
        # across the line break, so there each finished chunk is counted again.
        self._adds_up = self._tokens.adds_up
        self._tokens_of_word: dict[str, int] = {}
        self._joint = 0 if self._adds_up else 2

    def chunk(self, document: Document) -> list[Chunk]:
        """Return the chunks of one document, in order. Every word of its text is in one of them."""
        return next(self.chunk_many([document]))

    def chunk_many(self, documents: Iterable[Document]) -> Iterator[list[Chunk]]:
        """Give the chunks of each document, in order; many documents share one call of the tokenizer."""
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
        texts: list[str] = []
        for document in documents:
            texts.append(document.title)
            texts.extend(block.text for block in document.blocks)
        counts = self._count(texts)
        position = 0
        for document in documents:
            title, title_tokens = self._fit_title(document.title, counts[position])
            position += 1
            room = self._window - self._special - title_tokens - self._joint
            pieces: list[_Piece] = []
            for block, tokens in zip(document.blocks, counts[position:], strict=False):
                pieces.extend(self._fit_block(block, tokens, room))
            position += len(document.blocks)
            passages = _merge_small(_pack(pieces, room, self._joint), room, self._window, self._joint)
            yield self._finish(title, title_tokens, passages)

    def _count(self, texts: Sequence[str]) -> list[int]:
        if self._adds_up:
            return self._count_words(texts)
        return self._tokens.count(texts)

    def _count_words(self, texts: Sequence[str]) -> list[int]:
        """Sum up the tokens of the words: each word is tokenised once, a twentieth of the work (measured)."""
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

    def _fit_block(self, block: Block, tokens: int, room: int) -> list[_Piece]:
        """Return a block as it is if it fits, else in pieces that do."""
        text = block.text
        if len(text) > tokens * _CHARACTERS_A_TOKEN and len(text) > _WORD_CHARACTERS:
            text = _LONG_WORD.sub(r"\g<0> ", text)
            tokens = self._count([text])[0]
        if tokens <= room:
            return [_Piece(text, tokens, block.kind == "heading")]
        return list(self._cut(text, room))

    def _cut(self, text: str, room: int) -> Iterator[_Piece]:
        """Cut at the last sentence's end that fits, else between words, else within a word."""
        starts = [start for start, _ in self._tokens.offsets(text)]
        sentences = [found.end() for found in _SENTENCE_END.finditer(text)]
        words = [found.end() for found in _WORD_END.finditer(text)]
        start = first = 0
        while start < len(text):
            last = first + room
            end = starts[last] if last < len(starts) else len(text)
            if end < len(text):
                shortest = start + (end - start) // 2
                end = _last_within(sentences, shortest, end) or _last_within(words, start + 1, end) or end
                end = _avoid_marks(text, start, end)
            piece = text[start:end]
            next_first = bisect_right(starts, end - 1, lo=first)
            if piece.strip():
                yield from self._verify(piece.strip(), room)
            start, first = end, next_first

    def _verify(self, piece: str, room: int) -> Iterator[_Piece]:
        """Give ``piece`` with its own count; halve it while it is too long, as it may be after a cut in a word."""
        waiting = [piece]
        while waiting:
            text = waiting.pop()
            tokens = self._count([text])[0]
            if tokens <= room or len(text) == 1:
                yield _Piece(text, tokens)
                continue
            middle = _avoid_marks(text, 0, len(text) // 2)
            waiting += [half for half in (text[middle:].strip(), text[:middle].strip()) if half]

    def _finish(self, title: str, title_tokens: int, passages: list[_Piece]) -> list[Chunk]:
        chunks: list[Chunk] = []
        overhead = self._special + title_tokens
        waiting = passages[::-1]
        while waiting:
            passage = waiting.pop()
            text = f"{title}\n{passage.text}"
            tokens = overhead + passage.tokens
            if not self._adds_up:
                tokens = self._special + self._count([text])[0]
                if tokens > self._window and len(passage.text) > 1:
                    middle = _middle_of(passage.text)
                    waiting += [_Piece(passage.text[middle:].strip(), 0), _Piece(passage.text[:middle].strip(), 0)]
                    continue
            text_hash = hashlib.sha256(text.encode()).hexdigest()[:32]
            chunks.append(Chunk(len(chunks), text, text_hash, tokens))
        return chunks


def _last_within(ends: list[int], lowest: int, highest: int) -> int:
    """Return the last of ``ends`` in ``lowest..highest``, or 0."""
    index = bisect_right(ends, highest) - 1
    return ends[index] if index >= 0 and ends[index] >= lowest else 0


def _avoid_marks(text: str, start: int, end: int) -> int:
    """Move a cut before the letter whose combining marks or joined parts follow it, if there is one near."""
    near = max(start + 1, end - 32)
    for position in range(end, near, -1):
        if position == len(text) or not (unicodedata.combining(text[position]) or text[position] in "\u200d\ufe0f"):
            return position
    return max(end, start + 1)


def _middle_of(text: str) -> int:
    """Return where to halve ``text``: at the white space next to the middle, else in the middle."""
    middle = len(text) // 2
    space = text.rfind("\n", 1, middle)
    if space < len(text) // 4:
        space = text.rfind(" ", 1, middle)
    return space if space > 0 else _avoid_marks(text, 0, middle)


def _pack(pieces: list[_Piece], room: int, joint: int) -> Iterator[list[_Piece]]:
    """Fill chunks with pieces in order; a heading never ends a chunk unless nothing follows it."""
    filling: list[_Piece] = []
    filled = 0
    for section in _split_sections(pieces):
        size = sum(piece.tokens + joint for piece in section)
        if filled and filled + size > room and filled >= room * _FULL_ENOUGH:
            yield filling
            filling, filled = [], 0
        for unit in _keep_with_next(section, room, joint):
            tokens = sum(piece.tokens + joint for piece in unit)
            if filled and filled + tokens > room:
                yield filling
                filling, filled = [], 0
            filling = filling + unit
            filled += tokens
    if filling:
        yield filling


def _split_sections(pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    """Give runs of headings with the text that follows them."""
    section: list[_Piece] = []
    for piece in pieces:
        if piece.is_heading and section and not section[-1].is_heading:
            yield section
            section = []
        section.append(piece)
    if section:
        yield section


def _keep_with_next(section: list[_Piece], room: int, joint: int) -> Iterator[list[_Piece]]:
    """Give each text alone, and headings together with the text after them as long as that fits."""
    unit: list[_Piece] = []
    size = 0
    for piece in section:
        if unit and size + piece.tokens + joint > room:
            yield unit
            unit, size = [], 0
        unit.append(piece)
        size += piece.tokens + joint
        if not piece.is_heading:
            yield unit
            unit, size = [], 0
    if unit:
        yield unit


def _merge_small(packed: Iterable[list[_Piece]], room: int, window: int, joint: int) -> list[_Piece]:
    """Join each chunk's pieces into one, and a small chunk with the one before it if both fit in one."""
    merged: list[_Piece] = []
    for pieces in packed:
        tokens = sum(piece.tokens + joint for piece in pieces)
        text = "\n".join([piece.text for piece in pieces])
        if merged and merged[-1].tokens + tokens <= room and min(tokens, merged[-1].tokens) < window * _SMALL:
            merged[-1] = _Piece(f"{merged[-1].text}\n{text}", merged[-1].tokens + tokens)
        else:
            merged.append(_Piece(text, tokens))
    return merged
