"""Measure the engines on this machine, and remember the result.

The result becomes invalid when a library's version, the weights or the processor changes, and doubtful when a job runs
far below it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from kbjobs.embedding.cores import count_usable_cores, describe_processor
from kbjobs.embedding.engines import has_openvino
from kbjobs.embedding.measured import CHUNK_TOKENS, MEASURED_FILE
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.onnxruntime_engine import OnnxRuntimeEmbedder
from kbjobs.embedding.openvino_engine import OpenVinoEmbedder, has_bf16
from kbjobs.embedding.parity import MINIMUM_COSINE, PARITY_TEXTS, compare
from kbjobs.embedding.prepared_model import PreparedModel
from kbjobs.embedding.token_embedder import Batch, TokenEmbedder
from kbjobs.system.files import read_json, write_json

log = logging.getLogger(__name__)

_FORMAT = 2  # 2: timed in turns
_LIBRARIES = ("onnxruntime", "openvino", "sentence-transformers", "tokenizers", "torch", "transformers")
_SECONDS = 0.6  # for each engine
_SECONDS_ALONE = 0.2  # for an engine without a rival
_ROUNDS = 3  # at least, if several are compared
_LONGEST = 2.0  # seconds, after which no further round begins: a large model's single round is long enough
_HOPELESS = 2.0  # times as long for the comparison's texts: even a busy machine does not make such a difference
_MARGIN = 1.25  # how much faster an engine must be than one that suits the processor better
_DOUBTED_BELOW = 0.5  # of the measured speed
_JUDGED_CHUNKS = 200  # work from which on a job's speed is meaningful
_BELIEVED_FOR = timedelta(hours=20)  # a nightly job may measure every night, but not more often


@dataclass(frozen=True)
class Measurement:
    """One engine's result."""

    engine: str
    cosine_min: float
    cosine_mean: float
    chunks_per_second: float
    """Chunks of 256 tokens, or of the window if that is smaller; 0 for an engine that does not pass."""
    error: str = ""

    @property
    def passes(self) -> bool:
        """Whether the engine may be used."""
        return not self.error and self.cosine_min >= MINIMUM_COSINE


@dataclass(frozen=True)
class Trial:
    """All engines' results for one model."""

    measurements: tuple[Measurement, ...]
    """The engine that suits the processor best comes first."""
    reference_engine: str = ""
    reason: str = ""
    """Why there are no measurements."""

    @classmethod
    def without_engines(cls, reason: str) -> Trial:
        """Return the result for a model that no light engine can run."""
        return cls((), reason=reason)

    def choose(self, engine: str) -> str | None:
        """Choose the best engine that passes, among all (``auto``) or one library's.

        It is the one that suits the processor best, unless another is faster by a clear margin: on a machine that is
        busy with other work, small differences are chance.
        """
        fits = [one for one in self.measurements if one.passes and (engine == "auto" or one.engine.startswith(engine))]
        fastest = max((one.chunks_per_second for one in fits), default=0.0)
        return next((one.engine for one in fits if one.chunks_per_second * _MARGIN >= fastest), None)

    def refuses(self, engine: str) -> bool:
        """Whether an engine was measured and does not pass."""
        return any(one.engine == engine and not one.passes for one in self.measurements)

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
    """Open a model with an engine that does not need torch.

    Args:
        engine: the engine's full name, such as ``openvino-bf16``.
        folder: the model.
        key: its key in ledgers.
        prepared: its converted files.
        model_dir: its folder in the cache.

    Raises:
        ValueError: the engine is OpenVINO, and the model was not converted for it.
    """
    library, _, precision = engine.partition("-")
    if library == "onnxruntime":
        return OnnxRuntimeEmbedder(folder, key)
    if prepared.ir is None:
        raise ValueError("the model is not converted for OpenVINO")
    return OpenVinoEmbedder(folder, key, prepared.ir, precision, model_dir / "compiled" / precision)


def run_trial(folder: ModelFolder, key: str, prepared: PreparedModel, model_dir: Path) -> Trial:
    """Measure each engine's speed, and how close it is to the reference.

    The engine that made the reference is not compared with itself. If an engine takes far longer for the comparison
    than the one that suits the processor best, it cannot win and is not timed further.

    Args:
        folder: the model.
        key: its key in ledgers.
        prepared: its converted files and the reference vectors.
        model_dir: its folder in the cache.
    """
    measurements: dict[str, Measurement] = {}
    seconds: dict[str, float] = {}
    passed: dict[str, TokenEmbedder] = {}
    for engine in _candidates(folder, prepared):
        longest = min((_HOPELESS * seconds[name] for name in list(passed)[:1]), default=float("inf"))
        if engine == prepared.reference_engine and prepared.reference_seconds > longest:
            measurements[engine] = Measurement(engine, 1.0, 1.0, 0.0)
            seconds[engine] = prepared.reference_seconds
            continue
        try:
            embedder = open_light_engine(engine, folder, key, prepared, model_dir)
            start = time.perf_counter()
            parity = compare(embedder.embed(PARITY_TEXTS), prepared.reference)
            seconds[engine] = time.perf_counter() - start
            if seconds[engine] <= longest:
                _run_full(embedder, _make_batch(embedder))  # the first run takes longer, or fails
            measurements[engine] = Measurement(engine, parity.minimum, parity.mean, 0.0)
            if measurements[engine].passes:
                passed[engine] = embedder
            else:
                embedder.close()
        except Exception as error:  # noqa: BLE001  (an engine's library raises many kinds)
            measurements[engine] = Measurement(engine, 0.0, 0.0, 0.0, f"fails: {error}")
    speeds = _measure_speeds(passed, seconds)
    for engine, measurement in measurements.items():
        if measurement.passes:
            measurements[engine] = replace(measurement, chunks_per_second=round(speeds[engine], 2))
    for embedder in passed.values():
        embedder.close()
    for measurement in measurements.values():
        log.info("measured %s", measurement)
    return Trial(tuple(measurements.values()), prepared.reference_engine)


def _measure_speeds(passed: Mapping[str, TokenEmbedder], seconds: Mapping[str, float]) -> dict[str, float]:
    """The engines' chunks per second: timed if an engine may win, else derived from its time for the same texts."""
    if not passed:
        return {}
    first = next(iter(passed))
    longest = _HOPELESS * seconds[first]
    rivals = {name: one for name, one in passed.items() if name == first or seconds[name] <= longest}
    speeds = _time_in_turns(rivals)
    return {**{engine: speeds[first] * seconds[first] / taken for engine, taken in seconds.items()}, **speeds}


def write_trial(model_dir: Path, folder: ModelFolder, weights: str, trial: Trial) -> None:
    """Save a result in ``engine.json``.

    Args:
        model_dir: the model's folder in the cache.
        folder: the model.
        weights: the sha256 of its weights.
        trial: the result.
    """
    content = {
        "valid_for": _valid_for(folder, weights),
        "chosen": trial.choose("auto"),
        "reference_engine": trial.reference_engine,
        "reason": trial.reason,
        "measurements": [asdict(one) for one in trial.measurements],
        "cores": count_usable_cores(),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_json(model_dir / MEASURED_FILE, content)


def read_trial(model_dir: Path, folder: ModelFolder, weights: str) -> Trial | None:
    """Read the saved result of a trial.

    Args:
        model_dir: the model's folder in the cache.
        folder: the model.
        weights: the sha256 of its weights.

    Returns:
        None if there is no result, or it is damaged, doubtful or no longer valid.
    """
    content = read_json(model_dir / MEASURED_FILE)
    if content is None or content.get("is_doubtful") or content.get("valid_for") != _valid_for(folder, weights):
        return None
    try:
        measurements = tuple(Measurement(**one) for one in content["measurements"])
        return Trial(measurements, str(content["reference_engine"]), str(content["reason"]))
    except (KeyError, TypeError):
        return None


def doubt_trial(model_dir: Path, embedder: TokenEmbedder) -> None:
    """Mark the result as doubtful if the engine ran far below it, so that the next load measures again.

    Results less than 20 hours old are not doubted: a machine that is busy every night would measure forever.

    Args:
        model_dir: the model's folder in the cache.
        embedder: the engine after a job; too little work says nothing.

    Raises:
        OSError: the doubt cannot be written.
    """
    content = read_json(model_dir / MEASURED_FILE)
    if content is None or embedder.timed_tokens < _JUDGED_CHUNKS * CHUNK_TOKENS:
        return
    try:
        speeds = {one["engine"]: float(one["chunks_per_second"]) for one in content["measurements"]}
        age = datetime.now(UTC) - datetime.fromisoformat(content["measured_at"])
        measured = speeds[embedder.engine] * _chunk_tokens(embedder.max_tokens)
    except (KeyError, TypeError, ValueError):
        return  # damaged: the next load measures in any case
    speed = embedder.timed_tokens / embedder.timed_seconds
    if speed < measured * _DOUBTED_BELOW and not timedelta(0) <= age < _BELIEVED_FOR:
        log.warning(
            "%s ran at %.0f tokens a second, measured were %.0f: the next start measures the engines again",
            embedder.engine,
            speed,
            measured,
        )
        write_json(model_dir / MEASURED_FILE, {**content, "is_doubtful": True})


def _candidates(folder: ModelFolder, prepared: PreparedModel) -> Iterator[str]:
    """Yield the engines that could run the model, the one that suits the processor best first."""
    if folder.is_int8:
        yield "openvino-int8"
        return
    if prepared.ir is not None and has_openvino():
        if has_bf16():
            yield "openvino-bf16"
        yield "openvino-f32"
    if folder.onnx is not None:
        yield "onnxruntime-f32"


def _time_in_turns(embedders: Mapping[str, TokenEmbedder]) -> dict[str, float]:
    """Measure the chunks per second that each engine reaches with full batches, in its best round.

    The engines take turns, so that other load on the machine slows all of them.
    """
    batches = {engine: _make_batch(embedder) for engine, embedder in embedders.items()}
    best = dict.fromkeys(embedders, float("inf"))
    # A single engine is not compared: only its speed has to be known.
    min_rounds, seconds = (1, _SECONDS_ALONE) if len(embedders) == 1 else (_ROUNDS, _SECONDS * len(embedders))
    began, taken, rounds = time.perf_counter(), 0.0, 0
    while (rounds < min_rounds or taken < seconds) and taken < _LONGEST:
        for engine, embedder in embedders.items():
            start = time.perf_counter()
            _run_full(embedder, batches[engine])
            best[engine] = min(best[engine], (time.perf_counter() - start) / embedder.at_once)
        rounds, taken = rounds + 1, time.perf_counter() - began
    return {engine: len(batches[engine][0]) / seconds for engine, seconds in best.items()}


def _run_full(embedder: TokenEmbedder, batch: Batch) -> None:
    """Run a batch as many times as the engine computes at once."""
    for _ in embedder.forward([batch] * embedder.at_once):
        pass


def _make_batch(embedder: TokenEmbedder) -> Batch:
    tokens = _chunk_tokens(embedder.max_tokens)
    shape = (embedder.batch_tokens // tokens, tokens)
    # Token ids make no difference to the speed.
    return np.full(shape, 5, dtype=np.int64), np.ones(shape, dtype=np.int64)


def _chunk_tokens(window: int) -> int:
    return min(CHUNK_TOKENS, window)


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
