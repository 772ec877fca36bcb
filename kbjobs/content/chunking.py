"""Cutting a document into passages that fit a model's window, counted with that model's own tokenizer."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kbjobs.content.document import Block, Document

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MIN_WINDOW = 32
"""Smallest window a chunker accepts, in tokens: less has no room for a title and a sentence."""

_TITLE_SHARE = 4  # the title takes at most a quarter of the window
_TITLE_CHARACTERS = 4  # … and at most so many characters for each of its tokens
_BATCH_CHARACTERS = 1_000_000  # of text tokenised at once: an encoding takes about 150 bytes a token
_CHARACTERS_A_TOKEN = 16  # text that is longer for its tokens is one endless "word", which a model reads as unknown
_WORD_CHARACTERS = 100  # WordPiece gives up on longer words (max_input_chars_per_word)
_FULL_ENOUGH = 0.5  # a chunk filled so far ends before a section that does not fit as a whole
_SMALL = 0.25  # a chunk below this share of the window is merged with a neighbour if it fits

_SENTENCE_END = re.compile(r"(?<=[.!?…:;])[\"'”’)\]]{0,3}\s+|(?<=[。！？])|\n+")
_WORD_END = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage as it is embedded: the document's title, a line break, the passage.

    ``text_hash`` is the first 32 hex digits of the text's sha256; ``tokens`` counts the whole text with the
    model's special tokens.
    """

    ordinal: int
    text: str
    text_hash: str
    tokens: int


@dataclass(slots=True)
class _Piece:
    """Text that is not cut any further; ``tokens`` without special tokens."""

    text: str
    tokens: int
    is_heading: bool = False


class Chunker:
    """Cuts documents for one tokenizer and one window (``max_tokens``, special tokens included)."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        from tokenizers import Tokenizer as TokenizerClass
        from tokenizers.pre_tokenizers import BertPreTokenizer

        if max_tokens < MIN_WINDOW:
            raise ValueError(f"a window of {max_tokens} tokens is too small: at least {MIN_WINDOW} are needed")
        # a copy of our own: truncation and padding are state of the tokenizer, and the embedder sets them
        self._tokenizer = TokenizerClass.from_str(tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._window = max_tokens
        self._special = self._tokenizer.num_special_tokens_to_add(False)
        # BERT's tokenizer works word by word, so the tokens of two texts on two lines are the sum of theirs.
        # Others may join across the line break, so there each finished chunk is counted again.
        self._adds_up = isinstance(self._tokenizer.pre_tokenizer, BertPreTokenizer)
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
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [len(encoding) for encoding in encodings]

    def _fit_title(self, title: str, tokens: int) -> tuple[str, int]:
        limit = self._window // _TITLE_SHARE
        title = title[: limit * _TITLE_CHARACTERS * 2]
        if tokens > limit:
            encoding = self._tokenizer.encode(title, add_special_tokens=False)
            while len(encoding) > limit:
                end = encoding.offsets[limit - 1][1]
                cut = title[:end]
                # prefer to end with a whole word, if that keeps most of the title
                if end < len(title) and not title[end].isspace() and cut.rfind(" ") > len(cut) // 2:
                    cut = cut[: cut.rfind(" ")]
                if cut == title:
                    cut = title[: len(title) // 2]
                title = cut.rstrip()
                encoding = self._tokenizer.encode(title, add_special_tokens=False)
            tokens = len(encoding)
        return title, tokens

    def _fit_block(self, block: Block, tokens: int, room: int) -> list[_Piece]:
        """Return a block as it is if it fits, else in pieces that do."""
        if tokens <= room and len(block.text) <= room * _CHARACTERS_A_TOKEN:
            return [_Piece(block.text, tokens, block.kind == "heading")]
        return list(self._cut(block.text, room))

    def _cut(self, text: str, room: int) -> Iterator[_Piece]:
        """Cut at the last sentence's end that fits, else between words, else within a word."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        starts = [start for start, _ in encoding.offsets]
        sentences = [found.end() for found in _SENTENCE_END.finditer(text)]
        words = [found.end() for found in _WORD_END.finditer(text)]
        start = first = 0
        while start < len(text):
            last = first + room
            end = starts[last] if last < len(starts) else len(text)
            end = min(end, start + room * _CHARACTERS_A_TOKEN)
            if end < len(text):
                shortest = start + (end - start) // 2
                end = _last_within(sentences, shortest, end) or _last_within(words, start + 1, end) or end
                end = _avoid_marks(text, start, end)
            piece = text[start:end]
            next_first = bisect_right(starts, end - 1, lo=first)
            if piece.strip():
                yield from self._verify(piece.strip(), room)
            start, first = end, next_first
'''+'' if False else '''PLACEHOLDER'''
