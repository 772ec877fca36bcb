"""The front door to local models: list and describe them, find which sources need them, remove one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kbjobs.config.home import Home
from kbjobs.embedding.downloadable import check_downloadable
from kbjobs.embedding.identity import model_key, weights_hash
from kbjobs.embedding.local_models import folder_size, format_place, list_present
from kbjobs.embedding.measured import MEASURED_FILE
from kbjobs.embedding.model_catalogue import KNOWN_MODELS, fetch_command, find_hub_id, find_known, find_model
from kbjobs.embedding.variants import INT8, split_variant
from kbjobs.errors import ConflictError, KbjobsError, NotFoundError, UsageError
from kbjobs.services.jobs import JobManager
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder, list_source_ids
from kbjobs.system.files import read_json

OnDamaged = Callable[[str, KbjobsError], None]


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model on this machine, or a known one that is not here; unknown values are None or empty."""

    name: str
    hub_id: str
    here: bool
    place: str = ""
    """``home``, ``package`` or ``hub cache``."""
    path: str = ""
    size: int | None = None
    """Bytes."""
    dimension: int | None = None
    window: int | None = None
    """Tokens."""
    pooling: str = ""
    query_prompt: str = ""
    passage_prompt: str = ""
    licence: str = ""
    revision: str = ""
    """As requested; empty if kbjobs did not download the model."""
    commit: str = ""
    key: str = ""
    """The key of its vectors in ledgers."""
    engine: str = ""
    """The engine that runs it on this machine, if that was measured."""
    int8_times: float | None = None
    """How many times as fast its 8-bit variant is on this machine, if that was measured."""
    int8_closeness: str = ""
    """How close the vectors of the variant are to the exact ones, if it has been made here."""
    sources: tuple[str, ...] = ()
    """The sources that are indexed with it."""
    command: str = ""
    """The command that fetches it, if it is missing or incomplete."""
    problem: str = ""
    """The problem with its files, if there is one."""


@dataclass(frozen=True, slots=True)
class RemovedModel:
    """A removed model: its name, its folder, and the bytes freed, including files prepared from it."""

    name: str
    path: str
    bytes: int


def list_names(home: Home) -> dict[str, bool]:
    """The names of the models on this machine and of known models, each with whether it is here."""
    present = list_present(home.models)
    return dict.fromkeys(present, True) | {one.name: False for one in KNOWN_MODELS if one.name not in present}


def list_models(home: Home, on_damaged: OnDamaged) -> list[ModelState]:
    """The models on this machine, then the other known ones. ``on_damaged`` is called for each unreadable source."""
    uses = _list_uses(home, on_damaged)
    return [
        _describe(home, name, uses) if is_here else _describe_missing(name, uses)
        for name, is_here in list_names(home).items()
    ]


def show_model(home: Home, name: str, on_damaged: OnDamaged) -> ModelState:
    """Describe one model, whether it is here or only known.

    Args:
        home: the home of the models, and of the sources that use them.
        name: the model's name.
        on_damaged: called for each source that cannot be read.

    Raises:
        NotFoundError: no model of that name is here or known.
    """
    uses = _list_uses(home, on_damaged)
    try:
        return _state(home, name, uses)
    except NotFoundError:
        raise
    except KbjobsError as error:
        known = find_known(name)
        return _describe_missing(known.name if known else name, uses, error)


def measure_model(home: Home, name: str) -> None:
    """Measure how much faster the 8-bit variant of a model is here; it is made first, which can take minutes.

    Raises the errors of :func:`kbjobs.embedding.int8_speed.measure_gain`.
    """
    from kbjobs.embedding.int8_speed import measure_gain

    measure_gain(name, home.models, home.engines)


def find_path(home: Home, name: str) -> Path:
    """Find the folder of a model. Raises the errors of :func:`kbjobs.embedding.model_catalogue.find_model`."""
    return find_model(name, home.models).path


def remove_model(home: Home, name: str, force: bool, on_damaged: OnDamaged) -> RemovedModel:
    """Remove a model from the home, with the files prepared for this machine and any unfinished download.

    Args:
        home: the home of the model.
        name: the model's name.
        force: whether to remove it even if an index needs it; a search of that index then finds words only.
        on_damaged: called for each source that cannot be read, and so might need the model.

    Raises:
        NotFoundError, MissingRequirementError: the model is not here.
        UsageError: the model is outside the home, or the name is that of a variant.
        ConflictError: a job or an index needs the model, or it is being downloaded.
    """
    exact, is_int8 = split_variant(name)
    if is_int8:
        raise UsageError(f"{name} is made from {exact} and goes with it", f"kbjobs models remove {exact} removes both.")
    known = find_known(name)
    folders = [home.models / part for part in dict.fromkeys([known.name, known.hub_id] if known else [name.strip()])]
    staging = home.downloads / "models" / find_hub_id(name).replace("/", "--")
    if not known and name.startswith(("/", ".", "~")):
        raise UsageError(f"{name} is a folder of your own", "Delete it yourself. Nothing was changed.")
    there = [folder for folder in folders if folder.is_dir() and folder.is_relative_to(home.models)]
    if not there:
        check_downloadable(name)
    _refuse_busy(home, name)
    if not there and not staging.exists():
        found = find_model(name, home.models)  # raises if the model is nowhere
        where = format_place(found.path, home.models)
        raise UsageError(
            f"{found.name} is not in the home but in {'a Python package' if where == 'package' else 'the hub cache'},"
            f" {found.path}",
            "Remove it with the tool that installed it. Nothing was changed.",
        )
    uses = _list_uses(home, on_damaged) if there else []
    state = _describe(home, name, uses) if there else None
    sources = sorted({*state.sources, *_describe(home, name + INT8, uses).sources}) if state is not None else []
    if state is not None and sources and not force:
        raise ConflictError(
            f"{state.name} is needed to search {', '.join(sources)}",
            "Index these with another model, or give --force: then a search of them finds words only. Nothing was"
            " changed.",
        )
    return _remove(home, state.name if state else name, [*there, *[staging] * staging.exists()], state)


def _remove(home: Home, name: str, folders: list[Path], state: ModelState | None) -> RemovedModel:
    from kbjobs.store.locks import try_lock

    lock = try_lock(home.downloads / "models" / f"{find_hub_id(name).replace('/', '--')}.lock", 1.0)
    if lock is None:
        raise ConflictError(f"{name} is being downloaded", "kbjobs status shows the job: wait for it, or cancel it.")
    try:
        made = [home.engines / state.key, *_variants_of(home, state.key)] if state and state.place == "home" else []
        gone = sum(folder_size(folder) for folder in (*folders, *made) if folder.is_dir())
        for folder in (*folders, *made):
            _delete(folder, home.downloads / "models")
        for folder in folders:
            if folder.parent.parent == home.models and not any(folder.parent.iterdir()):
                folder.parent.rmdir()  # the folder of an organisation
    finally:
        lock.release()
    return RemovedModel(name, str(folders[0]), gone)


def _variants_of(home: Home, key: str) -> list[Path]:
    """The folders of the files prepared for the 8-bit variant of a model, by the model's key."""
    return [folder for folder in home.engines.glob("*") if folder.name.startswith(f"{key}-int8.")]


def _delete(folder: Path, trash: Path) -> None:
    """Delete a folder so that a kill leaves nothing that looks like a model."""
    if not folder.exists():
        return
    trash.mkdir(parents=True, exist_ok=True, mode=0o700)
    hidden = trash / f".removed-{folder.name}"
    shutil.rmtree(hidden, ignore_errors=True)
    folder.rename(hidden)
    shutil.rmtree(hidden)


def _refuse_busy(home: Home, name: str) -> None:
    """Raise ConflictError if a running or pending job needs the model."""
    wanted = find_hub_id(name)
    with JobManager(home) as reader:
        for job in reader.get_active_jobs():
            for phase in job.phases:
                model = phase.params.get("model")
                if isinstance(model, str) and find_hub_id(model) == wanted and not phase.has_ended:
                    raise ConflictError(
                        f"job {job.id} ({job.type.replace('_', '-')}) needs the model {name}",
                        f"Wait for it, or cancel it: kbjobs cancel {job.id}. Nothing was changed.",
                    )


def _list_uses(home: Home, on_damaged: OnDamaged) -> list[tuple[str, str, str]]:
    """Source, key and name of each model that a source is indexed with."""
    return list(_read_uses(home, on_damaged))


def _read_uses(home: Home, on_damaged: OnDamaged) -> Iterator[tuple[str, str, str]]:
    for source_id in list_source_ids(home.sources):
        file = SourceFolder(home.sources, source_id).ledger
        if not file.exists():
            continue
        try:
            with Ledger(file) as ledger:
                rows = [row for row in ledger.models() if not row.is_cleared]
        except KbjobsError as error:
            on_damaged(source_id, error)
            continue
        yield from ((source_id, row.key, row.name) for row in rows)


def _describe(home: Home, name: str, uses: list[tuple[str, str, str]]) -> ModelState:
    """Describe a model that is here, complete or not."""
    try:
        return _state(home, name, uses)
    except KbjobsError as error:
        return _describe_missing(name, uses, error)


def _state(home: Home, name: str, uses: list[tuple[str, str, str]]) -> ModelState:
    folder = find_model(name, home.models)
    known = find_known(name)
    key = model_key(folder, weights_hash(folder, home.engines))
    measured: dict[str, Any] = read_json(home.engines / key / MEASURED_FILE) or {}
    from kbjobs.embedding.int8_speed import read_closeness, read_gain

    note = folder.note
    variant = replace(folder, is_int8=True)
    variant_key = model_key(variant, weights_hash(folder, home.engines))
    gain = read_gain(variant_key, home.engines)
    closeness = read_closeness(variant, home.engines)
    return ModelState(
        folder.name,
        note.hub_id if note else find_hub_id(name),
        here=True,
        place=format_place(folder.path, home.models),
        path=str(folder.path),
        size=folder_size(folder.path),
        dimension=folder.dimension,
        window=folder.max_tokens,
        pooling=folder.pooling,
        query_prompt=folder.query_prompt,
        passage_prompt=folder.passage_prompt,
        licence=(note.licence if note else "") or (known.licence if known else ""),
        revision=note.revision if note else "",
        commit=note.commit if note else "",
        key=key,
        engine=str(measured.get("chosen") or ""),
        int8_times=round(gain.times, 2) if gain else None,
        int8_closeness=closeness.describe() if closeness else "",
        sources=tuple(sorted({source for source, used, _ in uses if used == key})),
    )


def _describe_missing(name: str, uses: list[tuple[str, str, str]], error: KbjobsError | None = None) -> ModelState:
    known = find_known(name)
    names = {name, known.hub_id} if known else {name}
    return ModelState(
        name,
        find_hub_id(name),
        here=False,
        dimension=known.dimension if known else None,
        window=known.max_tokens if known else None,
        pooling=known.pooling if known else "",
        query_prompt=known.query_prompt if known else "",
        passage_prompt=known.passage_prompt if known else "",
        licence=known.licence if known else "",
        sources=tuple(sorted({source for source, _, called in uses if called in names})),
        command=fetch_command(name),
        problem=error.message if error else "",
    )
