"""Pinecone: make a namespace of a Pinecone index equal to the vectors of Index (Online) in a source's ledger.

Only what differs is sent. A kill sends again at most what was on its way; to send it twice changes nothing.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pydantic import Field

from kbjobs.config.home import Home
from kbjobs.config.prices import Price
from kbjobs.config.secrets import find_secret
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.online_models import TEXT_EMBEDDING_3_SMALL
from kbjobs.errors import MissingRequirementError
from kbjobs.phases.base import JobType, Params, Plan
from kbjobs.store.sources import SourceFolder
from kbjobs.vectors.pinecone_target import PINECONE_KEY, read_target, refuse_missing_index

if TYPE_CHECKING:
    from kbjobs.vectors.pinecone_index import PineconeIndex

MODEL = TEXT_EMBEDDING_3_SMALL


class PineconeSyncParams(Params):
    """Parameters of pinecone_sync."""

    namespace: str | None = Field(
        None,
        min_length=1,
        description="Namespace of the index; default: the setting 'pinecone.namespace', else the source's id.",
    )
    create_index: bool = Field(False, description="Make the index of the settings where it is not there.")
    allow_delete: bool = Field(
        False, description="Go on even if more than 20 % of the passages there are no longer in the ledger."
    )
    dry_run: bool = Field(False, description="Only count and price what would be sent; a job of pinecone-sync-dry.")


def plan(home: Home, settings: Settings, source: SourceFolder, params: PineconeSyncParams) -> Plan:
    """Check the settings and that there is a ledger, and fill in the namespace."""
    namespace = check_source(settings, source, params.namespace)
    return Plan(params.model_copy(update={"namespace": namespace}), dimension=MODEL.dimension)


def fill(home: Home, settings: Settings, params: PineconeSyncParams) -> Plan:
    """Check the settings."""
    check_settings(settings, params.namespace)
    return Plan(params, dimension=MODEL.dimension)


def check_settings(settings: Settings, namespace: str | None) -> None:
    """Raise UsageError or MissingRequirementError where the settings name no index, or a price that is none."""
    read_target(settings, "any", namespace)
    Price.read(settings, "pinecone.price", "write units")


def check_source(settings: Settings, source: SourceFolder, namespace: str | None) -> str:
    """The namespace of a source. Raises MissingRequirementError where it was never read, and as above."""
    source.read()
    check_settings(settings, namespace)
    if not source.ledger.exists():
        raise MissingRequirementError(
            f"source {source.id!r} was never read, there is nothing to send", f"kbjobs run index-online {source.id}"
        )
    return read_target(settings, source.id, namespace).namespace


def reach(home: Home, settings: Settings, params: PineconeSyncParams) -> None:
    """Refuse an index that is not there and is not to be made, where that can be asked from here."""
    key = find_secret(home, PINECONE_KEY)
    if key and not params.create_index and not params.dry_run:
        refuse_missing_index(key, read_target(settings, "any").index)


def run(context: Context, params: PineconeSyncParams) -> PhaseResult:
    """Send what differs, or tell what would be sent."""
    if params.dry_run:
        return count(context, params.namespace)
    from kbjobs.indexing.pinecone_sync import SyncOptions, sync

    with closing(_open(context, params.namespace)) as index:
        return sync(context, index, MODEL, SyncOptions(params.create_index, params.allow_delete))


def count(context: Context, namespace: str | None) -> PhaseResult:
    """Tell what would be sent."""
    from kbjobs.indexing.pinecone_sync import estimate_sync

    with closing(_open(context, namespace)) as index:
        return estimate_sync(context, index, MODEL)


def _open(context: Context, namespace: str | None) -> PineconeIndex:
    from kbjobs.vectors.pinecone_index import PineconeIndex

    target = read_target(context.settings, context.source.id, namespace)
    return PineconeIndex(target, context.secret(PINECONE_KEY), context.home.pinecone_hosts, MODEL.dimension)


JOB_TYPE = JobType(
    name="pinecone_sync",
    label="Pinecone",
    description="Make a namespace of a Pinecone index equal to the source's vectors of Index (Online).",
    category="cloud",
    operation="sync",
    params=PineconeSyncParams,
    fill=fill,
    plan=plan,
    reach=reach,
    run=run,
    weight=20.0,
    after=("index_online",),
    secrets=(PINECONE_KEY,),
    dry_type="pinecone_sync_dry",
    examples=("kbjobs run pinecone-sync wiki --create-index",),
)
