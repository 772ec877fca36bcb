"""The common part of the light engines: tokenise once, batch by length, pool, scale to unit length."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kbjobs.embedding.embedder import LOCAL_COMMIT_TOKENS, UNLIMITED, EmbeddingError
from kbjobs.embedding.measured import CHUNK_TOKENS
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.pooling import find_unusable, lengths_of, pool
from kbjobs.embedding.text_batches import plan_batches

if TYPE_CHECKING:
    import tokenizers

_SORTED_TOGETHER = 512
"""Texts tokenised and sorted together; limits the memory of a call with many texts."""


Batch = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Token ids, and a mask that is 1 for a token and 0 for padding: both of shape (texts, tokens)."""


Ahead = tuple[Sequence[int], NDArray[np.int64]]
"""The positions of the texts, and the mask, of a batch that the engine has taken."""


class TokenEmbedder(ABC):
    """An :class:`~kbjobs.embedding.embedder.Embedder` whose engine only has to run the transformer."""

    batch_tokens = 2048
    """Padded tokens of one batch: 8 texts of 256."""

    commit_tokens = LOCAL_COMMIT_TOKENS
    commit_texts = UNLIMITED
    pads = True
    is_free = True
    tokens_bought = 0
    in_flight = 1
    at_once = 1
    """Batches that the engine computes at the same time."""

    def __init__(self, folder: ModelFolder, model_key: str, engine: str) -> None:
        self.name = folder.name
        self.model_key = model_key
        self.dimension = folder.dimension
        self.max_tokens = folder.max_tokens
        self.engine = engine
        self.timed_tokens = 0
        """Tokens processed in batches and passages at least half as long as the trial's."""
        self.timed_seconds = 0.0
        """How long the engine worked on them, whichever call waited."""
        self._timing = threading.Lock()
        self._calls = 0  # of embed, under way
        self._timed_until = 0.0
        self._folder = folder
        self._truncating = load_tokenizer(folder)
        self._truncating.enable_truncation(max_length=folder.max_tokens)

    @abstractmethod
    def forward(self, batches: Iterable[Batch]) -> Iterator[NDArray[np.float32]]:
        """Run the transformer on batches; a few are taken ahead.

        Yields:
            The last hidden state of each, in order: shape (texts, tokens, dimension); valid until the next one is
            requested.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the model."""

    def leaves_time(self) -> bool:
        """See :meth:`kbjobs.embedding.embedder.Embedder.leaves_time`; writing a collection hardly slows it."""
        return True

    def interrupt(self) -> None:  # noqa: B027 — an engine may have nothing to do
        """See :meth:`kbjobs.embedding.embedder.Embedder.interrupt`; there are no other threads."""

    @property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """The model's tokenizer without truncation or padding, for counting tokens."""
        return load_tokenizer(self._folder)  # loaded for each caller: it takes some 15 MB while it lives

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed passages; see :meth:`kbjobs.embedding.embedder.Embedder.embed`."""
        prompt = self._folder.passage_prompt
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), _SORTED_TOGETHER):
            part = [prompt + text for text in texts[start : start + _SORTED_TOGETHER]]
            self._embed_part(part, vectors[start : start + len(part)], start)
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed a search query; see :meth:`kbjobs.embedding.embedder.Embedder.embed_query`."""
        vectors = np.empty((1, self.dimension), dtype=np.float32)
        self._embed_part([self._folder.query_prompt + text], vectors, 0)
        row: NDArray[np.float32] = vectors[0]
        return row

    def _embed_part(self, texts: list[str], vectors: NDArray[np.float32], start: int) -> None:
        """Fill ``vectors`` with the vectors of ``texts``; ``start`` is the caller's index of the first."""
        token_ids = self._tokenise(texts, start)
        lengths = [len(ids) for ids in token_ids]
        ahead: deque[Ahead] = deque()

        def make_batches() -> Iterator[Batch]:
            for positions, padded in plan_batches(lengths, self.max_tokens, self.batch_tokens):
                ids = np.full((len(positions), padded), self._folder.pad_token_id, dtype=np.int64)
                mask = np.zeros((len(positions), padded), dtype=np.int64)
                for row, position in enumerate(positions):
                    tokens = token_ids[position]
                    ids[row, : len(tokens)] = tokens
                    mask[row, : len(tokens)] = 1
                ahead.append((positions, mask))
                yield ids, mask

        for hidden in self._timed(self.forward(make_batches()), ahead):
            positions, mask = ahead.popleft()
            pooled = pool(hidden, mask, self._folder.pooling)
            norms = lengths_of(pooled)
            unusable = find_unusable(norms)
            if len(unusable):
                index = start + positions[unusable[0]]
                raise EmbeddingError(index, f"{self.engine} returned a vector of length {norms[unusable[0]]}")
            vectors[positions] = pooled / norms[:, None]

    def _timed(self, results: Iterator[NDArray[np.float32]], ahead: deque[Ahead]) -> Iterator[NDArray[np.float32]]:
        """Pass on the results; the time since the previous result, of any call, counts as the batch's."""
        with self._timing:
            if not self._calls:
                self._timed_until = time.perf_counter()
            self._calls += 1
        try:
            for hidden in results:
                _, mask = ahead[0]
                with self._timing:
                    before, self._timed_until = self._timed_until, time.perf_counter()
                    if mask.size * 2 >= self.batch_tokens and mask.shape[1] * 2 >= min(CHUNK_TOKENS, self.max_tokens):
                        self.timed_tokens += mask.size
                        self.timed_seconds += self._timed_until - before
                yield hidden
        finally:
            with self._timing:
                self._calls -= 1

    def _tokenise(self, texts: list[str], start: int) -> list[NDArray[np.int32]]:
        if self._folder.lowers_case:
            texts = [text.lower() for text in texts]
        try:
            encodings = self._truncating.encode_batch_fast(texts)
        except (TypeError, ValueError, UnicodeError) as error:
            raise EmbeddingError(start + _find_unencodable(texts), f"it is not valid text ({error})") from error
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]


def load_tokenizer(folder: ModelFolder) -> tokenizers.Tokenizer:
    """Load a model's tokenizer without the truncation and padding that published files set."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder.tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _find_unencodable(texts: list[str]) -> int:
    """Return the index of the first text that has no UTF-8 form (a lone surrogate), or 0."""
    for index, text in enumerate(texts):
        try:
            text.encode("utf-8")
        except (UnicodeError, AttributeError):
            return index
    return 0
