"""A model that is loaded with the first text: a run that embeds nothing needs only its identity and its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kbjobs.embedding import choose
from kbjobs.embedding.embedder import Embedder
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.token_embedder import load_tokenizer

if TYPE_CHECKING:
    import numpy as np
    import tokenizers
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]


def open_embedder(name: str, models_dir: Path, cache_dir: Path, engine: str = "auto") -> Embedder:
    """Find a model like :func:`kbjobs.embedding.choose.load_embedder`, and load it with the first text.

    The files of the model are read as far as they identify its vectors. If no engine was measured for it on this
    machine, or the engine is sentence-transformers, it is loaded at once.

    Args:
        name: the model's name.
        models_dir: where kbjobs keeps downloaded models.
        cache_dir: where converted models and measurements are kept.
        engine: one of :data:`kbjobs.embedding.engines.ENGINES`.

    Raises:
        NotFoundError, MissingRequirementError, UsageError: as ``load_embedder``. If the model cannot be loaded after
            all, the first call that needs it raises the error.
    """
    folder, engine = choose.find_folder(name, models_dir, engine)
    known = choose.find_choice(folder, cache_dir, engine)
    if known is None:
        return choose.load_folder(folder, cache_dir, engine)
    key, chosen = known
    return DeferredEmbedder(folder, key, chosen, cache_dir, engine)


class DeferredEmbedder:
    """An :class:`~kbjobs.embedding.embedder.Embedder` whose model is loaded with the first text."""

    pads = True  # as every local engine
    is_free = True
    tokens_bought = 0

    def __init__(self, folder: ModelFolder, model_key: str, chosen: str, cache_dir: Path, engine: str) -> None:
        """``chosen`` is the engine that an earlier trial has chosen, ``engine`` the wanted one."""
        self.name = folder.name
        self.model_key = model_key
        self.dimension = folder.dimension
        self.max_tokens = folder.max_tokens
        self._folder, self._cache_dir = folder, cache_dir
        self._chosen, self._wanted = chosen, engine
        self.loaded: Embedder | None = None

    @property
    def engine(self) -> str:
        """The engine; before the model is loaded, that of the last trial."""
        return self._chosen if self.loaded is None else self.loaded.engine

    @property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """The model's tokenizer without truncation or padding, for counting tokens."""
        return load_tokenizer(self._folder)

    @property
    def commit_tokens(self) -> int:
        """See :class:`Embedder`, as all that follows; it loads the model."""
        return self.load().commit_tokens

    @property
    def commit_texts(self) -> int:
        """The most texts for the next call."""
        return self.load().commit_texts

    @property
    def in_flight(self) -> int:
        """How many calls may run at the same time."""
        return self.load().in_flight

    def load(self) -> Embedder:
        """Load the model unless it is loaded."""
        if self.loaded is None:
            self.loaded = choose.load_folder(self._folder, self._cache_dir, self._wanted)
        return self.loaded

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed passages."""
        return self.load().embed(texts)

    def embed_query(self, text: str) -> Vectors:
        """Embed a search query."""
        return self.load().embed_query(text)

    def leaves_time(self) -> bool:
        """Whether there is time for other work now."""
        return self.loaded is None or self.loaded.leaves_time()

    def interrupt(self) -> None:
        """Make calls in other threads end soon."""
        if self.loaded is not None:
            self.loaded.interrupt()

    def close(self) -> None:
        """Free the model."""
        if self.loaded is not None:
            self.loaded.close()
