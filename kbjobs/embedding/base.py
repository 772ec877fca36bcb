"""The one interface through which everything above turns text into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from kbjobs.errors import KbjobsError

if TYPE_CHECKING:
    import numpy as np
    import tokenizers
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """A model that is loaded and ready.

    One object serves one thread at a time. Two processes may each hold one of the same model.
    """

    name: str
    """Name of the model, e.g. ``all-MiniLM-L6-v2``."""

    model_key: str
    """Identity under which the ledger keeps vectors: the name and the start of its weights' sha256."""

    dimension: int
    """Length of a vector."""

    max_tokens: int
    """The window: how many tokens of a text the model reads, special tokens included."""

    engine: str
    """What runs the model: ``openvino-bf16``, ``openvino-f32``, ``onnxruntime-f32`` or
    ``sentence-transformers``."""

    @property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """The model's tokenizer without truncation or padding, for counting tokens."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed passages.

        Args:
            texts: any number of passages; what lies beyond ``max_tokens`` is not read.

        Returns:
            float32 of shape (len(texts), dimension), rows of length 1, in the order of ``texts``.

        Raises:
            EmbeddingError: a text gave no usable vector; nothing is returned for the others either.
        """
        ...

    def embed_query(self, text: str) -> Vectors:
        """Embed a search query, with the model's query prompt if it has one.

        Returns:
            float32 of shape (dimension,), length 1.
        """
        ...

    def close(self) -> None:
        """Free the model; the object cannot be used afterwards."""
        ...


class EmbeddingError(KbjobsError):
    """A text could not be turned into a vector."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"text {index} gave no vector: {reason}")
        self.index = index
