"""Pinecone: sync the vectors of Index (Online) in a source's ledger to a Pinecone namespace.

Only differences are sent. After a kill, at most the requests in flight are sent again, which changes nothing.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from kbjobs.config.prices import Price
from kbjobs.config.secrets import find_secret
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.online_models import TEXT_EMBEDDING_3_SMALL
from kbjobs.errors import MissingRequirementError
from kbjobs.phases.job_type import JobType, Params, PhaseRequest, Plan
from kbjobs.vectors.pinecone_target import PINECONE_KEY, read_target, refuse_missing_index

if TYPE_CHECKING:
    from kbjobs.vectors.pinecone_index import PineconeIndex

MODEL = TEXT_EMBEDDING_3_SMALL
Given = TypeVar("Given", bound="PineconeParams")


class PineconeParams(Params):
    """The parameters that name the Pinecone target."""

    namespace: str | None = Field(
        None,
        min_length=1,
        description="Namespace of the index (default: the setting pinecone.namespace, else the source's id).",
    )


class PineconeSyncParams(PineconeParams):
    """Parameters of pinecone_sync."""

    create_index: bool = Field(False, description="Create the index that the settings name, if it is missing.")
    allow_delete: bool = Field(
        False, description="Continue even if more than 20 % of the passages in Pinecone are no longer in the ledger."
    )
    dry_run: bool = Field(False, description="Count and price what would be sent; send nothing.")


def plan(request: PhaseRequest[Given]) -> Plan[Given]:
    """Check the settings and that there is a ledger, and fill in the namespace."""
    settings, params = request.settings, request.params
    request.check_source()
    read_target(settings, "any", params.namespace)
    Price.read(settings, "pinecone.price", "write units")
    if request.is_general:
        return Plan(params, dimension=MODEL.dimension)
    source = request.source
    if not source.ledger.exists():
        raise MissingRequirementError(
            f"source {source.id!r} was never read: there is nothing to send", f"kbjobs run index-online {source.id}"
        )
    namespace = read_target(settings, source.id, params.namespace).namespace
    return Plan(params.model_copy(update={"namespace": namespace}), dimension=MODEL.dimension)


def reach(request: PhaseRequest[PineconeSyncParams]) -> None:
    """Refuse a missing index that will not be created, if the service can be asked."""
    key, params = find_secret(request.home, PINECONE_KEY), request.params
    if key and not params.create_index and not params.dry_run:
        refuse_missing_index(key, read_target(request.settings, "any").index)


def count(context: Context, params: PineconeParams) -> PhaseResult:
    """Count what would be sent."""
    from kbjobs.indexing.pinecone_sync import forecast_sync

    with closing(_open(context, params)) as index:
        return forecast_sync(context, index, MODEL)


def run(context: Context, params: PineconeSyncParams) -> PhaseResult:
    """Send the differences, or count what would be sent."""
    if params.dry_run:
        return count(context, params)
    from kbjobs.indexing.pinecone_sync import SyncOptions, sync

    with closing(_open(context, params)) as index:
        return sync(context, index, MODEL, SyncOptions(params.create_index, params.allow_delete))


def _open(context: Context, params: PineconeParams) -> PineconeIndex:
    from kbjobs.vectors.pinecone_index import PineconeIndex

    target = read_target(context.settings, context.source.id, params.namespace)
    return PineconeIndex(target, context.secret(PINECONE_KEY), context.home.pinecone_hosts, MODEL.dimension)


JOB_TYPE = JobType(
    name="pinecone_sync",
    label="Pinecone",
    description="Sync a source's online vectors to a Pinecone namespace.",
    category="cloud",
    operation="sync",
    params=PineconeSyncParams,
    plan=plan,
    reach=reach,
    run=run,
    weight=20.0,
    after=("index_online",),
    secrets=(PINECONE_KEY,),
    examples=("kbjobs run pinecone-sync wiki --create-index",),
)
