"""Run any model with sentence-transformers: the reference, the engine for GPUs, and the slowest start."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kbjobs.embedding.cores import count_usable_cores
from kbjobs.embedding.embedder import LOCAL_COMMIT_TOKENS, UNLIMITED, EmbeddingError
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.pooling import find_unusable, lengths_of
from kbjobs.embedding.token_embedder import load_tokenizer
from kbjobs.errors import MissingRequirementError

if TYPE_CHECKING:
    import tokenizers

# On a CPU 8 was the fastest (22–24 chunks/s against 15 with 128); a GPU needs more.
_BATCH_ROWS = {"cpu": 8, "cuda": 64}

OFFLINE_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
}
"""Keeps the Hugging Face libraries off the network; they read it when they are imported."""


class SentenceTransformersEmbedder:
    """An :class:`~kbjobs.embedding.embedder.Embedder` that is a SentenceTransformer."""

    engine = "sentence-transformers"
    commit_tokens = LOCAL_COMMIT_TOKENS
    commit_texts = UNLIMITED
    pads = True
    is_free = True
    tokens_bought = 0
    in_flight = 1

    def __init__(self, folder: ModelFolder, model_key: str, device: str = "auto") -> None:
        """Load the model.

        Args:
            folder: the model.
            model_key: its identity.
            device: ``cpu``, ``cuda`` or ``auto``, which is ``cuda`` if torch finds one.

        Raises:
            MissingRequirementError: sentence-transformers is not installed.
        """
        self.name = folder.name
        self.model_key = model_key
        self.dimension = folder.dimension
        self.max_tokens = folder.max_tokens
        self._folder = folder
        os.environ.update(OFFLINE_ENVIRONMENT)
        try:
            import torch
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging as transformers_logging
        except ImportError as error:
            raise MissingRequirementError(
                f"the engine sentence-transformers cannot be imported: {error}", 'pip install "kbjobs[torch]"'
            ) from error
        transformers_logging.disable_progress_bar()
        logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu":
            torch.set_num_threads(count_usable_cores())
        self._device = device
        self._model: Any = SentenceTransformer(str(folder.path), device=device, local_files_only=True)
        self._model.max_seq_length = folder.max_tokens

    @property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """The model's tokenizer without truncation or padding, for counting tokens."""
        return load_tokenizer(self._folder)  # loaded for each caller: it takes some 15 MB while it lives

    @property
    def transformer(self) -> Any:
        """The bare transformer, for conversion."""
        return self._model[0].auto_model

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed passages; see :meth:`kbjobs.embedding.embedder.Embedder.embed`."""
        return self._encode(list(texts), self._folder.passage_prompt)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed a search query; see :meth:`kbjobs.embedding.embedder.Embedder.embed_query`."""
        row: NDArray[np.float32] = self._encode([text], self._folder.query_prompt)[0]
        return row

    def leaves_time(self) -> bool:
        """See :meth:`kbjobs.embedding.embedder.Embedder.leaves_time`; writing a collection hardly slows it."""
        return True

    def interrupt(self) -> None:
        """See :meth:`kbjobs.embedding.embedder.Embedder.interrupt`; there are no other threads."""

    def close(self) -> None:
        """Free the model."""
        self._model = None

    def _encode(self, texts: list[str], prompt: str) -> NDArray[np.float32]:
        if self._model is None:
            raise RuntimeError("the embedder is closed")
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        for index, text in enumerate(texts):
            try:
                text.encode("utf-8")
            except UnicodeError as error:
                raise EmbeddingError(index, f"it is not valid text ({error})") from error
        vectors: NDArray[np.float32] = self._model.encode(
            texts,
            prompt=prompt,
            batch_size=_BATCH_ROWS.get(self._device, 32),
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=False,
        ).astype(np.float32, copy=False)
        lengths = lengths_of(vectors)
        unusable = find_unusable(lengths)
        if len(unusable):
            raise EmbeddingError(int(unusable[0]), f"{self.engine} returned a vector of length {lengths[unusable[0]]}")
        unit: NDArray[np.float32] = vectors / lengths[:, None]
        return unit
