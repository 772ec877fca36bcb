"""Measure the engines on this machine, and remember the result.

The result is void as soon as a library's version, the weights or the processor changes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from kbjobs.embedding.atomic_file import read_json, write_json
from kbjobs.embedding.cores import count_usable_cores, describe_processor
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.onnxruntime_engine import OnnxRuntimeEmbedder
from kbjobs.embedding.openvino_engine import OpenVinoEmbedder, has_bf16
from kbjobs.embedding.parity import MINIMUM_COSINE, PARITY_TEXTS, compare
from kbjobs.embedding.prepared_model import PreparedModel, has_openvino
from kbjobs.embedding.token_embedder import TokenEmbedder

log = logging.getLogger(__name__)

_FORMAT = 1
_FILE = "engine.json"
_LIBRARIES = ("onnxruntime", "openvino", "sentence-transformers", "tokenizers", "torch", "transformers")
_TOKENS = 256
_SECONDS = 0.6


@dataclass(frozen=True)
class Measurement:
    """One engine's result."""

    engine: str
    cosine_min: float
    cosine_mean: float
    chunks_per_second: float
    """Chunks of 256 tokens, or of the window if that is smaller."""
    error: str = ""

    @property
    def passes(self) -> bool:
        """Whether the engine may be used."""
        return not self.error and self.cosine_min >= MINIMUM_COSINE


@dataclass(frozen=True)
class Trial:
    """All engines' results for one model."""

    measurements: tuple[Measurement, ...]
    reference_engine: str = ""
    reason: str = ""
    """Why there are no measurements."""

    @classmethod
    def without_engines(cls, reason: str) -> Trial:
        """Return the result for a model that no light engine can run."""
        return cls((), reason=reason)

    def choose(self, engine: str) -> str | None:
        """Return the fastest that passes, of all (``auto``) or of one library's."""
        fits = [one for one in self.measurements if one.passes and (engine == "auto" or one.engine.startswith(engine))]
        best = max(fits, key=lambda one: one.chunks_per_second, default=None)
        return best.engine if best else None

    def describe(self) -> str:
        """Say in one line why engines were refused."""
        lines = [
            f"{one.engine} {one.error or f'reaches a cosine of {one.cosine_min:.4f} to the reference'}"
            for one in self.measurements
            if not one.passes
        ]
        return self.reason or "; ".join(lines) or "no engine was measured"


def open_light_engine(
    engine: str, folder: ModelFolder, key: str, prepared: PreparedModel, model_dir: Path
) -> TokenEmbedder:
    """Open an engine by its full name, e.g. ``openvino-bf16``."""
    library, _, precision = engine.partition("-")
    if library == "onnxruntime":
        return OnnxRuntimeEmbedder(folder, key)
    if prepared.ir is None:
        raise ValueError("the model is not converted for OpenVINO")
    return OpenVinoEmbedder(folder, key, prepared.ir, precision, model_dir / "compiled" / precision)


def run_trial(folder: ModelFolder, key: str, prepared: PreparedModel, model_dir: Path) -> Trial:
    """Measure every engine that could run the model: likeness to the reference, and speed."""
    measurements = []
    for engine in _candidates(folder, prepared):
        try:
            embedder = open_light_engine(engine, folder, key, prepared, model_dir)
            parity = compare(embedder.embed(PARITY_TEXTS), prepared.reference)
            speed = _time(embedder)
            embedder.close()
            measurements.append(Measurement(engine, parity.minimum, parity.mean, round(speed, 2)))
        except Exception as error:  # noqa: BLE001  (an engine's library raises many kinds)
            measurements.append(Measurement(engine, 0.0, 0.0, 0.0, f"fails: {error}"))
        log.info("measured %s", measurements[-1])
    return Trial(tuple(measurements), prepared.reference_engine)


def write_trial(model_dir: Path, folder: ModelFolder, weights: str, trial: Trial) -> None:
    """Remember a result in ``engine.json``."""
    content = {
        "valid_for": _valid_for(folder, weights),
        "chosen": trial.choose("auto"),
        "reference_engine": trial.reference_engine,
        "reason": trial.reason,
        "measurements": [asdict(one) for one in trial.measurements],
        "cores": count_usable_cores(),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_json(model_dir / _FILE, content)


def read_trial(model_dir: Path, folder: ModelFolder, weights: str) -> Trial | None:
    """Return a remembered result; None if there is none, it is torn, or no longer valid."""
    content = read_json(model_dir / _FILE)
    if content is None or content.get("valid_for") != _valid_for(folder, weights):
        return None
    try:
        measurements = tuple(Measurement(**one) for one in content["measurements"])
        return Trial(measurements, str(content["reference_engine"]), str(content["reason"]))
    except (KeyError, TypeError):
        return None


def _candidates(folder: ModelFolder, prepared: PreparedModel) -> Iterator[str]:
    if prepared.ir is not None and has_openvino():
        if has_bf16():
            yield "openvino-bf16"
        yield "openvino-f32"
    if folder.onnx is not None:
        yield "onnxruntime-f32"


def _time(embedder: TokenEmbedder) -> float:
    """Return chunks a second, of full batches."""
    tokens = min(_TOKENS, embedder.max_tokens)
    shape = (embedder.batch_tokens // tokens, tokens)
    # Which tokens they are makes no difference to the speed.
    ids, mask = np.full(shape, 5, dtype=np.int64), np.ones(shape, dtype=np.int64)
    embedder.forward(ids, mask)
    start, rounds = time.perf_counter(), 0
    while rounds < 2 or time.perf_counter() - start < _SECONDS:
        embedder.forward(ids, mask)
        rounds += 1
    return rounds * shape[0] / (time.perf_counter() - start)


def _valid_for(folder: ModelFolder, weights: str) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "weights": weights,
        "from_onnx": folder.onnx is not None,
        "processor": describe_processor(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
