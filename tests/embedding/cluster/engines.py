"""Engines for the actors of a test: each writes down what it is given, and some do harm. Imported on the nodes too."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from kbjobs.embedding.cluster.actors import load_best
from kbjobs.embedding.embedder import Embedder, EmbeddingError
from kbjobs.embedding.identity import model_key, weights_hash
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.parity import PARITY_TEXTS
from kbjobs.embedding.references import find_reference

KILLS, FAILS, BREAKS = "this text kills", "this text gives no vector", "this text breaks the engine"
NOTES = "KBT_NOTES"
"""Names the folder in which each process notes what it has embedded."""


class NotingEmbedder:
    """An engine that notes each text that it is given, but those of the comparison, before it embeds it."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def embed(self, texts: Sequence[str]) -> Any:
        if texts != PARITY_TEXTS and (folder := os.environ.get(NOTES)):
            with (Path(folder) / str(os.getpid())).open("a") as notes:
                notes.writelines(f"{sha256(text.encode()).hexdigest()}\n" for text in texts)
        return self.real.embed(texts)


class HarmfulEmbedder(NotingEmbedder):
    """Does what a text says."""

    def embed(self, texts: Sequence[str]) -> Any:
        for index, text in enumerate(texts):
            if KILLS in text:
                os._exit(1)
            if FAILS in text:
                raise EmbeddingError(index, "it says so")
            if BREAKS in text:
                raise RuntimeError("out of order")
        return super().embed(texts)


class SleepingEmbedder:
    """Sleeps for each call instead of computing; its vectors are drawn by the text."""

    name, engine = "sleeping", "sleeping"

    def __init__(self, folder: ModelFolder, cache_dir: Path, seconds: float) -> None:
        weights = weights_hash(folder, cache_dir)
        self.model_key = model_key(folder, weights)
        self._reference: Any = find_reference(folder, weights)
        self._dimension, self._seconds = folder.dimension, seconds

    def embed(self, texts: Sequence[str]) -> Any:
        if texts == PARITY_TEXTS:
            return self._reference
        time.sleep(self._seconds)
        seeds = [int.from_bytes(sha256(text.encode()).digest()[:8]) for text in texts]
        drawn = np.stack([np.random.default_rng(seed).standard_normal(self._dimension) for seed in seeds])
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def load_noting(folder: ModelFolder, cache_dir: Path) -> Embedder:
    """The best engine; it notes."""
    noting: Any = NotingEmbedder(load_best(folder, cache_dir))
    return noting


def load_harmful(folder: ModelFolder, cache_dir: Path) -> Embedder:
    """The best engine; it does what a text says."""
    harmful: Any = HarmfulEmbedder(load_best(folder, cache_dir))
    return harmful


def load_sleeping(folder: ModelFolder, cache_dir: Path) -> Embedder:
    """Sleeps for as long as KBT_SLEEP says, in seconds; it notes."""
    sleeping: Any = NotingEmbedder(SleepingEmbedder(folder, cache_dir, float(os.environ["KBT_SLEEP"])))
    return sleeping


def load_crooked(folder: ModelFolder, cache_dir: Path) -> Embedder:
    """The best engine, but on the node that KBT_CROOKED is set on, where all vectors are turned round."""
    real: Any = load_best(folder, cache_dir)
    if os.environ.get("KBT_CROOKED"):
        straight = real.embed
        real.embed = lambda texts: np.roll(straight(texts), 1, axis=1)
    crooked: Embedder = real
    return crooked
