"""Checks that several job types make before they are queued: folders, disk, contents of the ledger. Light."""

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
    """Raise NotFoundError if a folder of the source is missing."""
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


def choose_filter(request: PhaseRequest[Any], given: str | None) -> str | None:
    """The language filter of a job, in its normal form: the given one, or else its source's own; None without either.

    Raises UsageError if it names no language.
    """
    from kbjobs.content.language import parse_filter

    folder = request.folder
    if given is None and folder is not None and folder.manifest.exists():
        given = folder.read().language_filter or None
    return None if given is None else ",".join(parse_filter(given))


def check_disk(home: Home, source: SourceFolder, recut: str | None = None) -> None:
    """Check that the disk has room for what a job writes.

    Args:
        home: the home, named in the error.
        source: the source that the job works on.
        recut: the model whose passages are all cut and embedded again, which needs room for old and new ones, if any.

    Raises:
        UnavailableError: there is too little room.
    """
    free = shutil.disk_usage(source.path).free
    # Changes are made in a copy of the live collection.
    needed = MIN_FREE_BYTES + sum(file.stat().st_size for file in source.vectors.rglob("*") if file.is_file())
    if recut is not None:
        needed += source.ledger.stat().st_size
    if free < needed:
        raise UnavailableError(
            f"{free / 1e6:.0f} MB are free on the disk of {home.path}, the job needs at least {needed / 1e6:.0f} MB",
            "Free some space, or move the home to a larger disk.",
        )


def check_store(home: Home, settings: Settings) -> None:
    """Raise UsageError if the settings name an invalid Chroma server. It need not answer now."""
    from kbjobs.vectors.chroma_address import read_address

    read_address(home, settings)


def find_older(source: SourceFolder, model: str) -> OlderCut | None:
    """The passages that an older version has cut for a model; None if there are none, or the ledger is unreadable."""
    if not source.ledger.exists():
        return None
    try:
        with Ledger(source.ledger) as ledger:
            return find_older_cut(ledger, model, CUTTING_VERSION)
    except KbjobsError:  # the job itself will report the error
        return None


def format_recut(source: SourceFolder, older: OlderCut, cost: str) -> str:
    """Format the announcement that a source's passages are cut again.

    Args:
        source: the source.
        older: the passages that an older version has cut.
        cost: the cost, for people.
    """
    return (
        f"The passages of {source.id} were cut by an older version; this job cuts its"
        f" {counted(older.documents, 'document')} anew, into fewer and fuller ones: {cost}."
    )


def has_metadata(source: SourceFolder, earlier: Sequence[str] = ()) -> bool:
    """Whether the source's metadata was read, or will be read by types that run ``earlier`` in the chain."""
    if "metadata" in earlier:
        return True
    if not source.ledger.exists():
        return False
    with Ledger(source.ledger) as ledger:
        return ledger.has_metadata()


def advise_metadata(source: SourceFolder, earlier: Sequence[str]) -> list[str]:
    """The advice of an index type for a source without metadata."""
    try:
        if has_metadata(source, earlier):
            return []
    except KbjobsError:  # a ledger that cannot be read is for the job itself to report
        return []
    return [Advice(f"source {source.id!r} has no metadata; add the phase metadata before it", "metadata")]


@dataclass(frozen=True, slots=True)
class Wording:
    """The words for the vectors of an index type, and for what ``--force`` does to them."""

    kind: Literal["local", "online"]
    again: Literal["computed again", "bought again"]


def advise_index(request: PhaseRequest[Any], model: str, force: bool, wording: Wording) -> list[str]:
    """Warn if existing vectors make an index job pointless or costly.

    Args:
        request: the planned phase.
        model: the model's name.
        force: whether the job embeds everything again.
        wording: the words of the type.
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
    """Whether an earlier phase deletes the vectors of a dimension from the ledger."""
    for name, params in earlier:
        values = params.model_dump()
        if name == "clear_vectors" and values["purge"] and values["dimension"] in (None, dimension):
            return True
    return False


def _count(source: SourceFolder, model: str) -> tuple[int, int]:
    """The number of different passages that are cut for the model, and the number of those with a vector."""
    if not source.ledger.exists():
        return 0, 0
    try:
        with Ledger(source.ledger) as ledger:
            found = [row for row in ledger.models() if row.name == model]
            if not found:
                return 0, 0
            passages = ledger.count_texts(found[-1].profile)
            return passages, passages - len(ledger.missing_texts(found[-1].id, found[-1].profile))
    except KbjobsError:  # the job itself will report the error
        return 0, 0
