"""The parameters that all index types share."""

from __future__ import annotations

from pydantic import Field

from kbjobs.embedding.engines import Engine
from kbjobs.phases.job_type import Params


class IndexParams(Params):
    """The parameters for how much of a source to index."""

    limit: int | None = Field(None, ge=1, description="Index at most N documents; remove none.")
    allow_delete: bool = Field(False, description="Continue even if more than 20 % of the source's documents are gone.")


class LocalModelParams(Params):
    """The parameters for the local model, and for the engine that runs it."""

    model: str | None = Field(
        None, description="Local model (default: the setting for the dimension, or the setting model)."
    )
    engine: Engine | None = Field(None, description="Engine that computes the vectors (default: the setting engine).")
    ray_address: str | None = Field(
        None, description="Cluster for --engine ray (default: ray.address or RAY_ADDRESS; else a local one is started)."
    )
    download: bool = Field(False, description="Download the model first if it is missing.")
