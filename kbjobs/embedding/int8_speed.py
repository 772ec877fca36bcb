"""Measure how much faster the 8-bit variant of a model is on this machine, and remember it.

On a processor without instructions for eight bits it can be slower than the exact model.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.cores import describe_processor
from kbjobs.embedding.embedder import Embedder
from kbjobs.embedding.identity import model_key, weights_hash
from kbjobs.embedding.int8_gate import Closeness, read_held_back
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.prepared_model import read_prepared
from kbjobs.embedding.variants import INT8, split_variant
from kbjobs.system.files import read_json, write_json

_FILE = "int8-speed.json"
_TEXTS = 48
_ROUNDS = 3


@dataclass(frozen=True)
class Gain:
    """The speed of a model and of its 8-bit variant, in texts of about 200 tokens a second, measured in turns."""

    exact: float
    int8: float
    exact_engine: str
    """The engine of the exact model."""

    @property
    def times(self) -> float:
        """How many times as fast the variant is."""
        return self.int8 / self.exact


def measure_gain(name: str, models_dir: Path, cache_dir: Path) -> Gain:
    """Time a model and its 8-bit variant in turns; the best round of each counts. The variant is made if need be.

    Args:
        name: the model, or its variant.
        models_dir: where kbjobs keeps downloaded models.
        cache_dir: where prepared models and measurements are kept.

    Raises:
        NotFoundError, MissingRequirementError: there is no such model, or it has no 8-bit variant here.
        OSError: the result cannot be kept.
    """
    exact_name, _ = split_variant(name)
    variant = find_model(exact_name + INT8, models_dir)
    texts = sorted(read_held_back(), key=len)[-_TEXTS:]
    with (
        closing(load_embedder(variant.name, models_dir, cache_dir)) as int8,
        closing(load_embedder(exact_name, models_dir, cache_dir)) as exact,
    ):
        best = {True: float("inf"), False: float("inf")}
        for _ in range(_ROUNDS):
            for is_int8, embedder in ((True, int8), (False, exact)):
                best[is_int8] = min(best[is_int8], _time(embedder, texts))
        gain = Gain(round(_TEXTS / best[False], 2), round(_TEXTS / best[True], 2), exact.engine)
        write_json(cache_dir / int8.model_key / _FILE, {**asdict(gain), "processor": describe_processor()})
    return gain


def read_gain(key: str, cache_dir: Path) -> Gain | None:
    """Read what was measured for a variant, by its key; None if nothing was, or on another processor."""
    content = read_json(cache_dir / key / _FILE) or {}
    if content.pop("processor", None) != describe_processor():
        return None
    try:
        return Gain(float(content["exact"]), float(content["int8"]), str(content["exact_engine"]))
    except (KeyError, TypeError, ValueError):
        return None


def read_closeness(folder: ModelFolder, cache_dir: Path) -> Closeness | None:
    """Read how close a variant is to the exact model; None if it has not been made here."""
    weights = weights_hash(folder, cache_dir)
    prepared = read_prepared(folder, weights, cache_dir / model_key(folder, weights))
    return prepared.closeness if prepared is not None else None


def _time(embedder: Embedder, texts: list[str]) -> float:
    start = time.perf_counter()
    embedder.embed(texts)
    return time.perf_counter() - start
