"""The one interface through which all callers turn text into vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from kbjobs.errors import KbjobsError, TransientError

if TYPE_CHECKING:
    import numpy as np
    import tokenizers
    from numpy.typing import NDArray

    from kbjobs.content.tokens import TokenCounter

    Vectors = NDArray[np.float32]


LOCAL_COMMIT_TOKENS = 8192
"""Tokens that a local model embeds between two commits: about half a second with a small model."""

UNLIMITED = 1_000_000_000


class Embedder(Protocol):
    """A model that is loaded and ready.

    One object serves one thread at a time, or as many as ``in_flight`` says. Two processes may each load the same
    model.
    """

    name: str
    """Name of the model, e.g. ``all-MiniLM-L6-v2``."""

    model_key: str
    """Identity of its vectors in the ledger: the name and the start of its weights' sha256."""

    dimension: int
    """Length of a vector."""

    max_tokens: int
    """The window that passages are cut for: tokens, special ones included. A model may read more."""

    @property
    def engine(self) -> str:
        """The engine: ``openvino-bf16``, ``openvino-f32``, ``onnxruntime-f32``, ``sentence-transformers``, ``openai``,
        or ``ray`` with its actors' engines."""
        ...

    @property
    def commit_tokens(self) -> int:
        """The most tokens of texts for the next call; these texts are committed together.

        It may change as more is learned about the server.
        """
        ...

    @property
    def commit_texts(self) -> int:
        """The most texts for the next call."""
        ...

    pads: bool
    """Whether a call takes as long as if all its texts were as long as the longest."""

    is_free: bool
    """Whether vectors cost nothing."""

    tokens_bought: int
    """Tokens paid for since the model was loaded; 0 for a local model."""

    @property
    def in_flight(self) -> int:
        """How many calls of ``embed`` may run at the same time now, each in its own thread; 1 if more would gain
        nothing."""
        ...

    @property
    def tokenizer(self) -> tokenizers.Tokenizer | TokenCounter:
        """The model's tokenizer without truncation or padding, for counting tokens."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed passages.

        Args:
            texts: any number of passages; text beyond ``max_tokens`` is not read.

        Returns:
            float32 of shape (len(texts), dimension), rows of length 1, in the order of ``texts``.

        Raises:
            EmbeddingError: a text gave no usable vector; the error holds the other vectors, or they have to be tried
                again.
        """
        ...

    def embed_query(self, text: str) -> Vectors:
        """Embed a search query, with the model's query prompt if it has one.

        Returns:
            float32 of shape (dimension,), length 1.
        """
        ...

    def leaves_time(self) -> bool:
        """Whether there is time for other work now; if not, it would delay the next request and can wait."""
        ...

    def interrupt(self) -> None:
        """Make calls in other threads end soon: they finish their current computation, but begin and repeat nothing."""
        ...

    def close(self) -> None:
        """Free the model; the object cannot be used afterwards."""
        ...


class GivenUpError(TransientError):
    """A request was abandoned because another one failed for good; the other one's error gives the reason."""


class EmbeddingError(KbjobsError):
    """A text could not be turned into a vector.

    If ``vectors`` is given, it has a row for each text of the call, and all rows except ``unusable`` are good.
    ``reasons`` holds the reason for each such row, if they differ.
    """

    def __init__(
        self,
        index: int,
        reason: str,
        vectors: Vectors | None = None,
        unusable: Sequence[int] = (),
        reasons: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(f"text {index} gave no vector: {reason}")
        self.reasons = reasons or {}
        self.index = index
        self.vectors = vectors
        self.unusable = frozenset(unusable)
