"""Load a model with the fastest engine that gives correct vectors on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kbjobs.embedding.embedder import Embedder
from kbjobs.embedding.engines import RAY, check_engine, has_openvino, has_torch, suggest_engine
from kbjobs.embedding.identity import model_key, weights_hash
from kbjobs.embedding.memory import ShortOfMemoryError, is_short_of_memory, mentions_memory
from kbjobs.embedding.model_catalogue import find_known, find_model
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.parity import PARITY_TEXTS, agrees
from kbjobs.embedding.prepared_model import (
    NotConvertibleError,
    PreparedModel,
    prepare,
    read_prepared,
)
from kbjobs.embedding.references import find_reference
from kbjobs.embedding.sentence_transformers_engine import SentenceTransformersEmbedder
from kbjobs.embedding.token_embedder import TokenEmbedder
from kbjobs.embedding.trial import Trial, doubt_trial, open_light_engine, read_trial, run_trial, write_trial
from kbjobs.errors import KbjobsError, MissingRequirementError, UsageError

log = logging.getLogger(__name__)


def load_embedder(name: str, models_dir: Path, cache_dir: Path, engine: str = "auto") -> Embedder:
    """Find a model and load it, ready to embed.

    The first load of a model on a machine prepares it and measures the engines, about 3 s for a small
    model; the result is kept in ``cache_dir/<model_key>/``. Later loads take a fraction of a second
    and never import torch, unless torch is the engine.

    Args:
        name: a name that :func:`kbjobs.embedding.model_catalogue.find_model` accepts.
        models_dir: where kbjobs keeps downloaded models.
        cache_dir: where converted models and measurements are kept; may be deleted at any time.
        engine: one of :data:`kbjobs.embedding.engines.ENGINES`; ``ray`` loads the best engine of this machine, since a
            cluster embeds only what :mod:`kbjobs.embedding.cluster` sends it.

    Raises:
        NotFoundError, MissingRequirementError: as :func:`find_model`, or an engine's package is missing.
        UsageError: there is no such engine, or it cannot run this model.
    """
    folder, engine = find_folder(name, models_dir, engine)
    return load_folder(folder, cache_dir, engine)


def find_folder(name: str, models_dir: Path, engine: str) -> tuple[ModelFolder, str]:
    """Find a model and the engine that runs it here. Arguments and errors are those of :func:`load_embedder`."""
    folder = find_model(name, models_dir)
    # An 8-bit variant has only one engine. A job with another is refused; a search uses what the index was made with.
    engine = "auto" if engine == RAY or folder.is_int8 else engine
    check_engine(engine, folder)
    return folder, engine


def find_choice(folder: ModelFolder, cache_dir: Path, engine: str) -> tuple[str, str] | None:
    """Find the key of a model and the engine that an earlier load chose; None if only a load can tell.

    Args:
        folder: the model's files.
        cache_dir: where converted models and measurements are kept.
        engine: one of :data:`kbjobs.embedding.engines.ENGINES`.
    """
    if engine == "sentence-transformers" or (engine == "auto" and _prefers_sentence_transformers(folder)):
        return None
    weights = weights_hash(folder, cache_dir)
    key = model_key(folder, weights)
    trial = read_trial(cache_dir / key, folder, weights)
    chosen = None if trial is None else trial.choose(engine)
    if chosen is None:
        return None
    _warn_of_other_weights(folder, weights)
    return key, chosen


def load_folder(folder: ModelFolder, cache_dir: Path, engine: str = "auto") -> Embedder:
    """Load a model from a folder that was already found, like :func:`load_embedder`.

    Args:
        folder: the model's files.
        cache_dir: where converted models and measurements are kept.
        engine: one of :data:`kbjobs.embedding.engines.ENGINES`.

    Raises:
        ShortOfMemoryError: there is too little memory to load it.
    """
    try:
        return _load_folder(folder, cache_dir, engine)
    except Exception as error:
        if is_short_of_memory(error):
            raise ShortOfMemoryError(folder.name) from error
        raise


def _load_folder(folder: ModelFolder, cache_dir: Path, engine: str) -> Embedder:
    weights = weights_hash(folder, cache_dir)
    key = model_key(folder, weights)
    _warn_of_other_weights(folder, weights)
    if engine == "sentence-transformers":
        return SentenceTransformersEmbedder(folder, key)
    if engine == "auto" and _prefers_sentence_transformers(folder):
        return SentenceTransformersEmbedder(folder, key)
    return _LightChoice(folder, weights, key, cache_dir / key, engine).load()


def read_reference(folder: ModelFolder, cache_dir: Path) -> NDArray[np.float32]:
    """Read the vectors of the parity set that engines on any machine are compared with, shape (24, dimension).

    They are the ones shipped with kbjobs, or else the ones made when the model is first prepared on this machine.
    """
    weights = weights_hash(folder, cache_dir)
    published = find_reference(folder, weights)
    if published is not None:
        return published
    model_dir = cache_dir / model_key(folder, weights)
    prepared = read_prepared(folder, weights, model_dir)
    if prepared is not None:
        return prepared.reference
    with closing(load_folder(folder, cache_dir)) as embedder:
        prepared = read_prepared(folder, weights, model_dir)
        return prepared.reference if prepared is not None else embedder.embed(PARITY_TEXTS)


def review_choice(embedder: Embedder | None, cache_dir: Path) -> None:
    """Mark the choice of engine as doubtful if it ran far slower in a job than measured."""
    if isinstance(embedder, TokenEmbedder):
        try:
            doubt_trial(cache_dir / embedder.model_key, embedder)
        except OSError as error:
            log.warning("the next start does not measure the engines again, since that cannot be noted: %s", error)


class _LightChoice:
    """A load by OpenVINO or ONNX Runtime, with their files in ``model_dir``."""

    def __init__(self, folder: ModelFolder, weights: str, key: str, model_dir: Path, engine: str) -> None:
        self.folder = folder
        self.weights = weights
        self.key = key
        self.model_dir = model_dir
        self.engine = engine

    def load(self) -> Embedder:
        """Open the engine that an earlier load chose; otherwise prepare, measure and choose, one process at a time."""
        embedder = self._open_chosen()
        if embedder is not None:
            return embedder
        try:
            self.model_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _hold_lock(self.model_dir / "lock"):
                # Another process may have done it while this one waited.
                embedder = self._open_chosen()
                if embedder is not None:
                    return embedder
                trial = self._measure()
                if _ran_out_of_memory(trial):  # that says nothing about the engines: the next load tries them again
                    raise ShortOfMemoryError(self.folder.name)
                write_trial(self.model_dir, self.folder, self.weights, trial)
        except (MissingRequirementError, ShortOfMemoryError):
            raise
        except (KbjobsError, OSError) as error:
            return self._fall_back(str(error))
        embedder = self._open_chosen()
        if embedder is None:
            return self._fall_back("the chosen engine does not load again")
        return embedder

    def _open_chosen(self) -> Embedder | None:
        """Open the fastest engine that has passed; None if none was measured or its files are damaged."""
        trial = read_trial(self.model_dir, self.folder, self.weights)
        if trial is None or _ran_out_of_memory(trial):
            return None
        chosen = trial.choose(self.engine)
        if chosen is None:
            return self._fall_back(trial.describe())
        prepared = read_prepared(self.folder, self.weights, self.model_dir)
        if prepared is None:
            return None
        return self._open_checked(chosen, prepared)

    def _open_checked(self, chosen: str, prepared: PreparedModel) -> Embedder | None:
        try:
            embedder = open_light_engine(chosen, self.folder, self.key, prepared, self.model_dir)
            if agrees(embedder, prepared.reference):
                return embedder
            reason = "its vectors are not those measured before"
        except Exception as error:
            if is_short_of_memory(error):
                raise
            reason = str(error)  # engines' libraries raise many types
        log.warning("%s with %s: %s; preparing it again", self.folder.name, chosen, reason)
        return None

    def _measure(self) -> Trial:
        """Run the trial with the prepared files; if no engine passes, prepare again and repeat it."""
        prepared = read_prepared(self.folder, self.weights, self.model_dir)
        if prepared is not None:
            trial = self._run_trial(prepared)
            if trial.choose("auto") is not None:
                return trial
        try:
            prepared = prepare(self.folder, self.weights, self.model_dir)
            trial = self._run_trial(prepared)
            if not (
                prepared.is_built and trial.refuses("openvino-f32") and has_torch() and self.folder.has_safetensors
            ):
                return trial
            log.warning("the graph built of %s gives other vectors: %s", self.folder.name, trial.describe())
            return self._run_trial(prepare(self.folder, self.weights, self.model_dir, by_torch=True))
        except NotConvertibleError as error:
            return Trial.without_engines(str(error))

    def _run_trial(self, prepared: PreparedModel) -> Trial:
        return run_trial(self.folder, self.key, prepared, self.model_dir)

    def _fall_back(self, reason: str) -> Embedder:
        if mentions_memory(reason):
            raise ShortOfMemoryError(self.folder.name)
        if self.folder.is_int8:  # any other engine would give other vectors
            raise MissingRequirementError(
                f"{self.folder.name} cannot run here: {reason}", f"Use {self.folder.exact_name} itself."
            )
        if self.engine != "auto":
            raise UsageError(
                f"the engine {self.engine} cannot run {self.folder.name}: {reason}", suggest_engine("auto")
            )
        if not self.folder.has_safetensors:
            raise KbjobsError(
                f"no engine can run {self.folder.name}: {reason}",
                f"kbjobs models download {self.folder.name} --force downloads it again.",
            )
        if not has_torch():
            raise KbjobsError(
                f"no engine can run {self.folder.name}: {reason}",
                'Fix that and try again, or pip install "kbjobs[torch]", which runs any model without prepared files.',
            )
        log.warning("%s runs with sentence-transformers, slowly: %s", self.folder.name, reason)
        return SentenceTransformersEmbedder(self.folder, self.key)


def _ran_out_of_memory(trial: Trial) -> bool:
    """Whether no engine could run because memory ran out."""
    return trial.choose("auto") is None and mentions_memory(trial.describe())


@contextmanager
def _hold_lock(file: Path) -> Iterator[None]:
    """Hold a lock that the kernel frees when this process dies; log it if another process holds the lock."""
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        log.info("waiting for another process that prepares the same model (%s)", file)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _prefers_sentence_transformers(folder: ModelFolder) -> bool:
    """Whether ``auto`` means sentence-transformers: on a GPU, or for a model that no light engine can run."""
    if folder.is_int8:
        return False
    if not folder.is_plain:
        return True
    if has_torch() and folder.has_safetensors and _has_gpu():
        return True
    return folder.onnx is None and not has_openvino() and has_torch()


def _has_gpu() -> bool:
    """Whether there is an NVIDIA GPU and a torch that can use it, without importing torch."""
    if not Path("/dev/nvidiactl").exists():
        return False
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    return any((Path(spec.origin).parent / "lib").glob("libtorch_cuda*"))


def _warn_of_other_weights(folder: ModelFolder, weights: str) -> None:
    known = find_known(folder.name)
    is_published_file = folder.weights.suffix == ".safetensors"
    if known and known.weights_sha256 and is_published_file and weights != known.weights_sha256:
        log.warning("the weights in %s are not the published ones of %s", folder.path, known.name)
