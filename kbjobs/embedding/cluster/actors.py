"""The process on a node of the cluster that holds a model and turns blocks of text into vectors.

Only the standard library is imported at the top: a node that lacks a package must be able to say so. Errors about texts
or the node are returned as values, since Ray replaces an exception by one of its own.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    from kbjobs.embedding.cluster.model_transfer import Parcel, Reception
    from kbjobs.embedding.embedder import Embedder
    from kbjobs.embedding.model_folder import ModelFolder

    Vectors = NDArray[float32]

Load = Callable[["ModelFolder", Path], "Embedder"]
"""Loads a model from its folder; the path is for files that are prepared from it."""

_LIBRARIES = ("ray", "numpy", "tokenizers", "openvino", "onnxruntime", "torch")


@dataclass(frozen=True)
class Sight:
    """What an actor reports about its node."""

    versions: dict[str, str]
    pid: int
    has_model: bool = False
    refusal: str = ""
    """Why it cannot embed; empty if it can."""


@dataclass(frozen=True)
class Proof:
    """How an actor's model compares with the reference vectors, or why it is not used."""

    engine: str = ""
    cosine: float = 0.0
    refusal: str = ""


@dataclass(frozen=True)
class Failure:
    """Why a block has no vectors: because of the text ``index`` in it, or if that is None because of the engine."""

    reason: str
    index: int | None = None


def describe_versions() -> dict[str, str]:
    """List the versions that matter, by name: Python, kbjobs and the installed libraries."""
    from kbjobs.version import VERSION

    found = {"python": platform.python_version(), "kbjobs": VERSION}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def load_best(folder: ModelFolder, cache_dir: Path) -> Embedder:
    """Load a model with the node's best engine."""
    from kbjobs.embedding.choose import load_folder

    return load_folder(folder, cache_dir)


@dataclass
class EmbeddingActor:
    """One process of the pool: it reports on its node, receives the model if needed, proves parity, and embeds."""

    parcel: Parcel
    load: Load = load_best
    _folder: ModelFolder | None = field(default=None, init=False)
    _reception: Reception | None = field(default=None, init=False)
    _embedder: Any = field(default=None, init=False)

    def look(self, cores: int) -> Sight:
        """Report on the node; the model may compute with ``cores`` cores."""
        try:
            from kbjobs.config.home import current_home
            from kbjobs.embedding.cluster.model_transfer import Reception
            from kbjobs.embedding.cores import limit_cores

            limit_cores(cores)
            self._reception = Reception(self.parcel, current_home())
            self._folder = self._reception.find()
        except Exception as error:  # noqa: BLE001 — the node's own trouble, reported to the caller
            return self._see(refusal=_say(error))
        return self._see(has_model=self._folder is not None)

    def begin(self) -> bool:
        """Begin to receive the model; False if another process of the node has received it in the meantime."""
        assert self._reception is not None  # noqa: S101 — look() comes first
        self._folder = self._reception.begin()
        return self._folder is None

    def take(self, name: str, part: bytes) -> None:
        """Receive the next part of a file of the model."""
        assert self._reception is not None  # noqa: S101
        self._reception.take(name, part)

    def finish(self) -> str:
        """Put the model into its place if its hashes are right. Returns what is wrong, or ""."""
        assert self._reception is not None  # noqa: S101
        try:
            self._folder = self._reception.finish()
        except Exception as error:  # noqa: BLE001
            return _say(error)
        return ""

    def prove(self, key: str, reference: Vectors) -> Proof:
        """Load the model, and compare its vectors of the parity set with the reference."""
        try:
            return self._prove(key, reference)
        except Exception as error:  # noqa: BLE001
            return Proof(refusal=_say(error))

    def _prove(self, key: str, reference: Vectors) -> Proof:
        from kbjobs.config.home import current_home
        from kbjobs.embedding.parity import MINIMUM_COSINE, PARITY_TEXTS, compare

        assert self._folder is not None  # noqa: S101
        embedder = self.load(self._folder, current_home().engines)
        if embedder.model_key != key:
            return Proof(refusal=f"its model is {embedder.model_key}, not {key}")
        parity = compare(embedder.embed(PARITY_TEXTS), reference)
        if not parity.holds:
            return Proof(
                refusal=f"its vectors ({embedder.engine}) are not those of the reference: a cosine of"
                f" {parity.minimum:.4f}, where {MINIMUM_COSINE} is the least"
            )
        self._embedder = embedder
        return Proof(embedder.engine, parity.minimum)

    def embed(self, texts: Sequence[str]) -> Vectors | Failure:
        """Embed a block: float32 of shape (len(texts), dimension), or the failure."""
        from kbjobs.embedding.embedder import EmbeddingError

        try:
            vectors: Vectors = self._embedder.embed(texts)
        except EmbeddingError as error:
            return Failure(error.message, error.index)
        except Exception as error:  # noqa: BLE001
            return Failure(_say(error))
        return vectors

    def embed_query(self, text: str) -> Vectors:
        """Embed a search query: float32 of shape (dimension,)."""
        vector: Vectors = self._embedder.embed_query(text)
        return vector

    def _see(self, *, has_model: bool = False, refusal: str = "") -> Sight:
        return Sight(describe_versions(), os.getpid(), has_model, refusal)


def _say(error: Exception) -> str:
    hint = getattr(error, "hint", "")
    if isinstance(error, ImportError):
        hint = 'pip install "kbjobs[ray,fast]" into the Python that runs ray there'
    text = str(error).strip() or type(error).__name__
    return f"{text} ({hint})" if hint else text
