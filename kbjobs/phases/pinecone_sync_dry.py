"""Pinecone (Dry): what Pinecone would send, delete and cost; nothing is written."""

from __future__ import annotations

from pydantic import Field

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.phases import pinecone_sync
from kbjobs.phases.base import JobType, Params, Plan
from kbjobs.store.sources import SourceFolder
from kbjobs.vectors.pinecone_target import PINECONE_KEY


class PineconeSyncDryParams(Params):
    """Parameters of pinecone_sync_dry."""

    namespace: str | None = Field(
        None,
        min_length=1,
        description="Namespace of the index; default: the setting 'pinecone.namespace', else the source's id.",
    )


def fill(home: Home, settings: Settings, params: PineconeSyncDryParams) -> Plan:
    """Check the settings."""
    pinecone_sync.check_settings(settings, params.namespace)
    return Plan(params, dimension=pinecone_sync.MODEL.dimension)


def plan(home: Home, settings: Settings, source: SourceFolder, params: PineconeSyncDryParams) -> Plan:
    """Check the settings and that there is a ledger, and fill in the namespace."""
    namespace = pinecone_sync.check_source(settings, source, params.namespace)
    return Plan(params.model_copy(update={"namespace": namespace}), dimension=pinecone_sync.MODEL.dimension)


def run(context: Context, params: PineconeSyncDryParams) -> PhaseResult:
    """Count and price."""
    return pinecone_sync.count(context, params.namespace)


JOB_TYPE = JobType(
    name="pinecone_sync_dry",
    label="Pinecone (Dry)",
    description="Count and price what Pinecone would send and delete; nothing is written.",
    category="cloud",
    operation="sync",
    params=PineconeSyncDryParams,
    fill=fill,
    plan=plan,
    run=run,
    weight=5.0,
    after=("index_online",),
    secrets=(PINECONE_KEY,),
)
