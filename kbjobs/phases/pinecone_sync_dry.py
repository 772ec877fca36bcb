"""Pinecone (Dry): the dry run of Pinecone as a separate job type; nothing is written."""

from __future__ import annotations

from kbjobs.phases.job_type import JobType
from kbjobs.phases.pinecone_sync import PineconeParams, count, plan
from kbjobs.vectors.pinecone_target import PINECONE_KEY


class PineconeSyncDryParams(PineconeParams):
    """Parameters of pinecone_sync_dry."""


JOB_TYPE = JobType(
    name="pinecone_sync_dry",
    label="Pinecone (Dry)",
    description="Count and price what a Pinecone sync would send and delete. Nothing is written.",
    category="cloud",
    operation="sync",
    params=PineconeSyncDryParams,
    plan=plan,
    run=count,
    weight=5.0,
    after=("index_online",),
    secrets=(PINECONE_KEY,),
)
