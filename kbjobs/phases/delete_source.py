"""Delete: remove a source for good, with its ledger, collections, checkpoints and the files in its folder.

Files outside the source's folder are never touched, and links are removed without their targets.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pydantic import Field

from kbjobs.config.home import Home
from kbjobs.config.secrets import remove_secret
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.online_models import TEXT_EMBEDDING_3_SMALL
from kbjobs.errors import ConflictError, UsageError
from kbjobs.object_storage.store_address import missing_credentials, open_bucket, read_address
from kbjobs.object_storage.upload_targets import upload_targets
from kbjobs.phases.job_type import JobType, Params, PhaseRequest, Plan, Target
from kbjobs.store.ledger import Ledger
from kbjobs.store.source_deletion import SourceFolderDeletion
from kbjobs.store.sources import SourceFolder, list_sources
from kbjobs.vectors.pinecone_places import last_target
from kbjobs.vectors.pinecone_target import PINECONE_KEY, PineconeTarget


class DeleteSourceParams(Params):
    """Parameters of delete_source."""

    confirm: str = Field("", description="The source's id once more. Without it, kbjobs asks on a terminal.")
    keep_files: bool = Field(
        False, description="Keep the copied or scraped files; delete only what was made from them."
    )

    cloud: bool = Field(
        False,
        description="Also delete it from Pinecone and from the stores it was sent to, even if others use it there.",
    )


def plan(request: PhaseRequest[DeleteSourceParams]) -> Plan[DeleteSourceParams]:
    """Check that the source or a rest of it exists, that no other source needs its files, and the confirmation."""
    home, params = request.home, request.params
    if request.is_general:
        return Plan(params)
    source = request.source
    removal = SourceFolderDeletion(home.sources, source.id)
    if removal.hidden is None:
        if not removal.is_there:
            source.read()  # raises NotFoundError with the nearest name
        if not params.keep_files:
            _refuse_needed(home, source)
        removal.check()
    _check_confirmed(source, params)
    return Plan(params, secrets=_needed(home, request.settings, source) if params.cloud else ())


def _needed(home: Home, settings: Settings, source: SourceFolder) -> tuple[str, ...]:
    """The credentials for Pinecone and the stores that hold the source."""
    if not source.ledger.is_file():
        return ()
    with Ledger(source.ledger) as ledger:
        names = [PINECONE_KEY] if last_target(ledger) is not None else []
        for address in upload_targets(ledger, home.path):
            names += missing_credentials(read_address(address), settings)
    return tuple(dict.fromkeys(names))


def _refuse_needed(home: Home, source: SourceFolder) -> None:
    """Raise ConflictError if another source reads files in the folder of this one."""
    # If the folder is a link, only paths that lead through the link are lost.
    folder = source.path if source.path.is_symlink() else source.path.resolve()
    for other in list_sources(home.sources, lambda source_id, error: None):
        for path in other.paths if other.id != source.id else ():
            if any(place.is_relative_to(folder) for place in (Path(path), Path(path).resolve())):
                raise ConflictError(
                    f"source {other.id!r} reads {path}, which is in the folder of {source.id!r}",
                    f"Delete {other.id} first, or give --keep-files. Nothing was changed.",
                )


def _check_confirmed(source: SourceFolder, params: DeleteSourceParams) -> None:
    if params.confirm == source.id:
        return
    given = f": {params.confirm!r} is not its id" if params.confirm else ""
    raise UsageError(
        f"source {source.id!r} would be deleted permanently, and that is not confirmed{given}",
        f"If you are sure, give --confirm {source.id} (in a chain or in Python: confirm = {source.id!r})."
        " Nothing was changed.",
    )


def run(context: Context, params: DeleteSourceParams) -> PhaseResult:
    """Delete the source."""
    from kbjobs.scraping.site_login import secret_name
    from kbjobs.sources.deletion import delete_source

    _check_confirmed(context.source, params)
    if params.cloud and context.source.ledger.is_file():  # after a kill: if the ledger is hidden already, this was done
        _leave_cloud(context)
    deleted = delete_source(context, params.keep_files, has_left_cloud=params.cloud)
    # Another source of that name would send it to another site.
    remove_secret(context.home, secret_name(context.source.id))
    return deleted


def _leave_cloud(context: Context) -> None:
    """Remove the source from Pinecone and from the stores that its ledger records; repeating it changes nothing."""
    from kbjobs.indexing.pinecone_sync import remove_records
    from kbjobs.packs.withdrawing import withdraw
    from kbjobs.vectors.pinecone_index import PineconeIndex

    with Ledger(context.source.ledger) as ledger:
        target, stores = last_target(ledger), upload_targets(ledger, context.home.path)
    if target is not None:
        place = PineconeTarget(
            *target, context.settings.text("pinecone.cloud"), context.settings.text("pinecone.region")
        )
        key = context.secret(PINECONE_KEY)
        dimension = TEXT_EMBEDDING_3_SMALL.dimension
        with closing(PineconeIndex(place, key, context.home.pinecone_hosts, dimension)) as index:
            remove_records(context, index)
    for address in stores:
        with closing(open_bucket(context.home, context.settings, read_address(address))) as bucket:
            withdraw(context, bucket)


JOB_TYPE = JobType(
    name="delete_source",
    label="Delete",
    description="Delete a source permanently, with its ledger and collections. Files outside its folder stay.",
    category="maintenance",
    operation="delete",
    params=DeleteSourceParams,
    plan=plan,
    run=run,
    weight=5.0,
    conflicts=("*",),  # nothing can come after it
    can_resume=False,
    target=Target(ends_source=True),
)
