"""What several job types look at before they are queued: folders, disk, what the ledger holds. Light."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.content.document import CUTTING_VERSION
from kbjobs.errors import KbjobsError, NotFoundError, UnavailableError
from kbjobs.formatting import counted
from kbjobs.phases.job_type import Advice, Params, PhaseRequest
from kbjobs.store.ledger import Ledger
from kbjobs.store.profiles import OlderCut, find_older_cut
from kbjobs.store.sources import SourceFolder

MIN_FREE_BYTES = 64 * 1024 * 1024


def check_folders(source: SourceFolder) -> None:
    """Raise NotFoundError if a folder of the source is not there."""
    for root in source.find_missing():
        raise NotFoundError(
            f"{root}, a folder of source {source.id!r}, is not there",
            "Mount the disk or restore the folder, then try again. Nothing was changed.",
        )
    if not all(Path(root).exists() for root in source.read().paths):
        raise NotFoundError(
            f"source {source.id!r} was installed from a pack without its files",
            f"kbjobs run install-source {source.id} --include-backup installs them, if the pack has them. Until"
            " then, the source can be searched as it is.",
        )


def check_disk(home: Home, source: SourceFolder, recut: str | None = None) -> None:
    """Check that the disk has room for what a job writes.

    Args:
        home: named in the error.
        source: the source that the job works on.
        recut: the model whose passages are all cut and embedded again, which keeps old and new ones; None if none is.

    Raises:
        UnavailableError: there is too little room.
    """
    free = shutil.disk_usage(source.path).free
    # The live collection is changed in a copy.
    needed = MIN_FREE_BYTES + sum(file.stat().st_size for file in source.vectors.rglob("*") if file.is_file())
    if recut is not None:
        needed += source.ledger.stat().st_size
    if free < needed:
        raise UnavailableError(
            f"{free / 1e6:.0f} MB are free on the disk of {home.path}, the job needs at least {needed / 1e6:.0f} MB",
            "Free some space, or move the home to a larger disk.",
        )


def check_store(home: Home, settings: Settings) -> None:
    """Raise UsageError if the settings name a Chroma server that cannot be one. It need not answer now."""
    from kbjobs.vectors.chroma_address import read_address

    read_address(home, settings)


def find_older(source: SourceFolder, model: str) -> OlderCut | None:
    """What of a model an older version has cut; None if nothing, or nothing can be read of it."""
    if not source.ledger.exists():
        return None
    try:
        with Ledger(source.ledger) as ledger:
            return find_older_cut(ledger, model, CUTTING_VERSION)
    except KbjobsError:  # the job itself will say what is wrong with it
        return None


def format_recut(source: SourceFolder, older: OlderCut, cost: str) -> str:
    """Format the announcement that a source's passages are cut again.

    Args:
        source: the source.
        older: what an older version has cut.
        cost: what it costs, for people.
    """
    return (
        f"The passages of {source.id} were cut by an older version; this job cuts its"
        f" {counted(older.documents, 'document')} anew, into fewer and fuller ones: {cost}."
    )


def has_metadata(source: SourceFolder, earlier: Sequence[str] = ()) -> bool:
    """Whether the source's metadata was read, or will have been by the types that run ``earlier`` in the chain."""
    if "metadata" in earlier:
        return True
    if not source.ledger.exists():
        return False
    with Ledger(source.ledger) as ledger:
        return ledger.has_metadata()


def advise_metadata(source: SourceFolder, earlier: Sequence[str]) -> list[str]:
    """What an index type says of a source without metadata."""
    try:
        if has_metadata(source, earlier):
            return []
    except KbjobsError:  # a ledger that cannot be read is for the job itself to report
        return []
    return [Advice(f"source {source.id!r} has no metadata; add the phase metadata before it", "metadata")]


@dataclass(frozen=True, slots=True)
class Wording:
    """What the vectors of an index type are called, and what ``--force`` does to them."""

    kind: Literal["local", "online"]
    again: Literal["computed again", "bought again"]


def advise_index(request: PhaseRequest[Any], model: str, force: bool, wording: Wording) -> list[str]:
    """What makes an index job pointless or costly: vectors that are there already.

    Args:
        request: the planned phase.
        model: name of the model.
        force: whether the job embeds everything again.
        wording: of the type.
    """
    source, earlier = request.source, request.earlier_types
    kind, again = wording.kind, wording.again
    advice = advise_metadata(source, earlier)
    passages, vectors = _count(source, model)
    if force and vectors:
        return [
            *advice,
            f"source {source.id!r} has {counted(vectors, f'{kind} vector')} of {model} that would be {again}",
        ]
    if not force and passages and vectors >= passages and "clear_vectors" not in earlier:
        return [
            *advice,
            f"source {source.id!r} already has {counted(vectors, f'{kind} vector')} of {model}: nothing to embed,"
            " unless documents changed",
        ]
    return advice


def purges(earlier: Sequence[tuple[str, Params]], dimension: int) -> bool:
    """Whether a type that runs earlier takes the vectors of a dimension out of the ledger."""
    for name, params in earlier:
        values = params.model_dump()
        if name == "clear_vectors" and values["purge"] and values["dimension"] in (None, dimension):
            return True
    return False


def _count(source: SourceFolder, model: str) -> tuple[int, int]:
    """How many different passages the source has, cut for the model, and how many of them have their vectors."""
    if not source.ledger.exists():
        return 0, 0
    try:
        with Ledger(source.ledger) as ledger:
            found = [row for row in ledger.models() if row.name == model]
            if not found:
                return 0, 0
            passages = ledger.count_texts(found[-1].profile)
            return passages, passages - len(ledger.missing_texts(found[-1].id, found[-1].profile))
    except KbjobsError:  # the job itself will say what is wrong with it
        return 0, 0
