"""Delete: remove a source for good: ledger, collections, checkpoints and the files in its folder.

Files outside the source's folder are never touched, and links are removed without what they lead to.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from kbjobs.context import Context, PhaseResult
from kbjobs.errors import ConflictError, UsageError
from kbjobs.phases.base import JobType, Params, Plan
from kbjobs.settings import Home, Settings
from kbjobs.store.removal import Removal
from kbjobs.store.sources import SourceFolder, list_sources


class DeleteSourceParams(Params):
    """Parameters of delete_source."""

    confirm: str = Field("", description="The source's id once more; without it, it is asked for on a terminal.")
    keep_files: bool = Field(
        False, description="Keep the files that were copied or scraped; only what was made of them goes."
    )


def plan(home: Home, settings: Settings, source: SourceFolder, params: DeleteSourceParams) -> Plan:
    """Check that the source is there, or what is left of it, that nobody else needs its files, and that it is meant."""
    removal = Removal(home.sources, source.id)
    if removal.hidden is None:
        if not removal.is_there:
            source.read()  # raises NotFoundError with the nearest name
        if not params.keep_files:
            _refuse_needed(home, source)
        removal.check()
    _check_confirmed(source, params)
    return Plan(params)


def _refuse_needed(home: Home, source: SourceFolder) -> None:
    """Raise ConflictError where another source reads files in the folder of this one."""
    # Of a link, only what is read through it goes.
    folder = source.path if source.path.is_symlink() else source.path.resolve()
    for other in list_sources(home.sources, lambda source_id, error: None):
        for path in other.paths if other.id != source.id else ():
            if any(place.is_relative_to(folder) for place in (Path(path), Path(path).resolve())):
                raise ConflictError(
                    f"source {other.id!r} reads {path}, which lies in the folder of {source.id!r}",
                    f"Delete {other.id} first, or give --keep-files. Nothing was changed.",
                )


def _check_confirmed(source: SourceFolder, params: DeleteSourceParams) -> None:
    if params.confirm == source.id:
        return
    given = f": {params.confirm!r} is not its id" if params.confirm else ""
    raise UsageError(
        f"source {source.id!r} is deleted for good, and that is not confirmed{given}",
        f"If it is meant, give --confirm {source.id} (in a chain or in Python: confirm = {source.id!r})."
        " Nothing was changed.",
    )


def run(context: Context, params: DeleteSourceParams) -> PhaseResult:
    """Delete the source."""
    from kbjobs.deleting.delete import delete_source

    _check_confirmed(context.source, params)
    return delete_source(context, params.keep_files)


JOB_TYPE = JobType(
    name="delete_source",
    label="Delete",
    description="Delete a source for good, with its ledger and collections; files outside its folder stay.",
    category="maintenance",
    operation="delete",
    params=DeleteSourceParams,
    plan=plan,
    run=run,
    weight=5.0,
    conflicts=("*",),  # nothing can come after it
    can_resume=False,
    ends_source=True,
)
