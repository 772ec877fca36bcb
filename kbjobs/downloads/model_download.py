"""Download a model from the hub into the home: chosen files in sequence, verified, published as one folder."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbjobs.context import Context, PhaseResult
from kbjobs.downloads.file_download import SPARE_BYTES, fetch_file, one_at_a_time
from kbjobs.downloads.hub import Hub, HubFile, HubModel
from kbjobs.downloads.model_files import MODULES, choose_small, choose_weights, find_safetensors
from kbjobs.embedding.identity import model_key, reading_hash, weights_hash
from kbjobs.embedding.model_catalogue import find_hub_id, find_known, find_model
from kbjobs.embedding.model_folder import ModelFolder, read_model_folder
from kbjobs.embedding.model_note import NOTE_FILE, ModelNote, read_note, write_note
from kbjobs.errors import DownloadError, KbjobsError, MissingRequirementError, UnavailableError
from kbjobs.net.requesting import RefusedError
from kbjobs.system.crashpoints import crash_point
from kbjobs.system.files import read_json, sync_tree, write_json
from kbjobs.system.folder_swap import FolderSwap

MAIN = "main"
READINGS = ".readings.json"
"""In the folder of models: how the first model of each key reads texts. Not a cache, since ledgers hold vectors of
it."""
_SAVED_EVERY = 1 << 20  # bytes, after which the worker's death counts as one with progress


@dataclass(frozen=True)
class ProgressSpan:
    """The part of the phase that the download takes."""

    start: float = 0.0
    end: float = 1.0


def ensure_model(context: Context, name: str, span: ProgressSpan) -> ModelFolder:
    """Find the model, fetching it from the hub if it is not here. Raises as :func:`download_model` does.

    Args:
        context: the job's context.
        name: a name of the catalogue, or ``organisation/name``.
        span: the part of the phase that a download takes.
    """
    try:
        return find_model(name, context.home.models)
    except KbjobsError:
        download_model(context, name, None, False, span)
        return find_model(name, context.home.models)


def download_model(
    context: Context, name: str, revision: str | None, force: bool, span: ProgressSpan = ProgressSpan()
) -> tuple[ModelFolder, int]:
    """Fetch a model; if that revision is here already, it is kept.

    Args:
        context: the job's context.
        name: a name of the catalogue, or ``organisation/name``.
        revision: branch, tag or commit; None: ``main``, or the revision that is here.
        force: fetch it again.
        span: the part of the phase that the download takes.
    Returns:
        The model, and the bytes of its files; 0 if nothing had to be done.
    Raises:
        NotFoundError, MissingRequirementError, TransientError, DownloadError, UnavailableError: the hub, the server or
            the
          disk failed.
    """
    if not force and revision is None:
        try:
            return find_model(name, context.home.models), 0
        except KbjobsError as error:
            context.log.info("%s", error.message)
    known = find_known(name)
    target = context.home.models / (known.name if known else find_hub_id(name))
    staging = context.home.downloads / "models" / find_hub_id(name).replace("/", "--")
    context.progress(0, 0, "bytes", f"asking the hub for {find_hub_id(name)}", (span.start, span.start), False)
    with one_at_a_time(staging, context.check):
        return _Download(context, name, target, staging, span).run(revision or MAIN, force)


def result_of(folder: ModelFolder, key: str, engine: str, size: int) -> PhaseResult:
    """Make the job's result from the fetched model.

    Args:
        folder: the model.
        key: the key of its vectors in ledgers.
        engine: the engine that runs it.
        size: bytes fetched; 0 if the model was here already.
    """
    note = folder.note
    counts: dict[str, Any] = {
        "model": folder.name,
        "revision": note.revision if note else None,
        "commit": note.commit if note else None,
        "licence": licence_of(folder),
        "dimension": folder.dimension,
        "window": folder.max_tokens,
        "bytes": size,
        "key": key,
        "engine": engine,
        "path": str(folder.path),
    }
    what = f"{size / 1e6:,.1f} MB" if size else "is here already"
    summary = (
        f"{folder.name}: {what}, dimension {folder.dimension:,}, window {folder.max_tokens:,} tokens,"
        f" licence {counts['licence'] or 'not told'}, runs with {engine}"
    )
    return PhaseResult(counts, summary)


def licence_of(folder: ModelFolder) -> str:
    """The licence of a model, from the hub or the catalogue; empty if neither names one."""
    known = find_known(folder.name)
    return (folder.note.licence if folder.note else "") or (known.licence if known else "")


class _Download:
    """A download that holds the lock of its model."""

    def __init__(self, context: Context, name: str, target: Path, staging: Path, span: ProgressSpan) -> None:
        self.context, self.name, self.target, self.staging, self.span = context, name, target, staging, span
        self.hub = Hub.of(context.home, context.settings, context.check)
        self.hub_id = find_hub_id(name)
        if self.hub.holds_back_token:
            context.log.warning("the token is not sent: %s is not encrypted", self.hub.endpoint)
        self.done = self.total = self.saved = 0

    def run(self, revision: str, force: bool) -> tuple[ModelFolder, int]:
        model = self.hub.find(self.hub_id, revision)
        if not force and (here := self._find_commit(model)) is not None:
            return here, 0
        self.staging.mkdir(parents=True, exist_ok=True, mode=0o700)
        files = self.hub.list_files(model)
        if MODULES not in files:
            raise DownloadError(
                f"{self.hub_id} has no {MODULES}: it is not a model for sentence vectors",
                "Name a model saved by sentence-transformers, or a known one: kbjobs models list",
            )
        self._fetch(model, [files[MODULES]])
        small = choose_small(model, files, self.staging / MODULES)
        self._fetch(model, small)
        described = self._read(has_weights=False)
        chosen = [*small, *choose_weights(model, files, described)]
        self._check_room(chosen)
        self._fetch(model, chosen)
        self._remove_others(chosen)
        self._note(model, files, chosen)
        self._publish()
        return find_model(self.name, self.context.home.models), sum(file.size for file in chosen)

    def _publish(self) -> None:
        sync_tree(self.staging)
        self.target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        swap = FolderSwap(self.target, self.staging, self.staging.with_name(f"{self.staging.name}.former"))
        swap.recover()
        crash_point("download.before_publish")
        swap.publish()
        crash_point("download.published")

    def _find_commit(self, model: HubModel) -> ModelFolder | None:
        """Find the model if it is here already in that commit, whole."""
        note = read_note(self.target)
        if note is None or note.commit != model.commit:
            return None
        try:
            return find_model(self.name, self.context.home.models)
        except KbjobsError:
            return None

    def _fetch(self, model: HubModel, files: list[HubFile]) -> None:
        self.done, self.total = 0, sum(file.size for file in files)
        for file in files:
            target = self.staging / file.path
            try:
                fetch_file(
                    self.hub.wanted(model, file),
                    target,
                    token=self.hub.token,
                    on_progress=lambda here, whole, file=file: self._tell(file, here),  # type: ignore[misc]
                    check=self.context.check,
                )
            except RefusedError as error:
                raise self.hub.explain(error, self.hub_id, model.revision) from error
            self.done += file.size
            self.context.saved(1)

    def _tell(self, file: HubFile, here: int) -> None:
        done = self.done + here
        if abs(done - self.saved) >= _SAVED_EVERY:
            self.context.saved(1)
            self.saved = done
        told = f"fetching {file.path} of {self.hub_id}"
        self.context.progress(done, max(self.total, 1), "bytes", told, (self.span.start, self.span.end))

    def _check_room(self, files: list[HubFile]) -> None:
        here = sum(path.stat().st_size for path in self.staging.rglob("*") if path.is_file())
        needed = max(sum(file.size for file in files) - here, 0) + SPARE_BYTES
        free = shutil.disk_usage(self.staging).free
        if free < needed:
            raise UnavailableError(
                f"{free / 1e6:,.0f} MB are free on the disk of {self.staging}, {self.hub_id} needs"
                f" {needed / 1e6:,.0f} MB",
                "Free some space, or move the home to a larger disk. The partial download is kept.",
            )

    def _remove_others(self, chosen: list[HubFile]) -> None:
        """Remove files of other revisions, of killed downloads and of locks."""
        wanted = {self.staging / file.path for file in chosen}
        for path in self.staging.rglob("*"):
            if path.is_file() and path not in wanted:
                path.unlink()

    def _read(self, has_weights: bool = True) -> ModelFolder:
        """Read the model in the staging folder, under its later name."""
        known = find_known(self.name)
        prompts = (known.query_prompt, known.passage_prompt) if known else ("", "")
        name = known.name if known else self.hub_id
        try:
            return read_model_folder(name, self.staging, "", prompts, has_weights=has_weights)
        except MissingRequirementError as error:
            raise DownloadError(
                f"{self.hub_id} cannot be used: {error.message}",
                "Name another --revision, or another model. What is here stays as it is.",
            ) from error

    def _note(self, model: HubModel, files: Mapping[str, HubFile], chosen: list[HubFile]) -> None:
        """Record what the model is, and whether its key needs a variant."""
        (self.staging / NOTE_FILE).unlink(missing_ok=True)
        folder = self._read()
        weights = weights_hash(folder, self.context.home.engines)
        identity = self._identity(folder, weights, files, chosen)
        note = ModelNote(self.hub_id, model.revision, model.commit, model.licence, weights, identity, "")
        write_note(self.staging, note)
        folder = self._read()
        variant = self._variant(folder, model_key(folder, identity))
        if variant:
            self.context.log.info("another tokenizer, pooling or prompt: the key of its vectors ends in %s", variant)
            write_note(self.staging, ModelNote(**{**vars(note), "variant": variant}))

    def _identity(self, folder: ModelFolder, weights: str, files: Mapping[str, HubFile], chosen: list[HubFile]) -> str:
        """Choose the sha256 that identifies the weights.

        If the safetensors of the commit are the published ones of a known model, an ONNX file takes their hash, so that
        vectors made with them stay in use. A second file of tensors is included in the hash.
        """
        if folder.has_safetensors:
            return weights
        known, same = find_known(self.name), find_safetensors(files, folder)
        if known and same and same.sha256 and same.sha256 == known.weights_sha256:
            return same.sha256
        data = [file.sha256 or "" for file in chosen if file.path.endswith(".onnx_data")]
        return hashlib.sha256(" ".join([weights, *data]).encode()).hexdigest() if data else weights

    def _variant(self, folder: ModelFolder, key: str) -> str:
        """Find what the model's key needs in addition to the hash of its weights; empty for the first model with that
        key."""
        file = self.context.home.models / READINGS
        reading = reading_hash(folder)
        with one_at_a_time(self.context.home.downloads / "models" / READINGS, self.context.check):
            readings = read_json(file) or {}
            first = readings.get(key)
            if not isinstance(first, str):
                first = self._reading_here(key) or reading
                write_json(file, {**readings, key: first})
        return "" if first == reading else reading

    def _reading_here(self, key: str) -> str | None:
        """Find how the model that is here under that key reads texts: ledgers may hold its vectors."""
        try:
            here = find_model(self.name, self.context.home.models)
            same = model_key(here, weights_hash(here, self.context.home.engines)) == key
            return reading_hash(here) if same else None
        except (KbjobsError, OSError):
            return None
