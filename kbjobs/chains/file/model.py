"""The model of a chain file: what its tables may hold. The JSON Schema for editors is generated from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from kbjobs.store.sources import RESERVED, SOURCE_ID, is_source_id

MAX_PHASES = 100
MAX_SOURCES = 1000
MAX_WEIGHT = 1_000_000
MAX_RETRIES = 100
MAX_DESCRIPTION = 500
NAME_PATTERN = "^[a-z][a-z0-9_-]{0,63}$"
NAME_EXPECTED = "1 to 64 of a–z, 0–9, '_' and '-', a letter first"


def _check_source(source_id: str) -> str:
    if not is_source_id(source_id):
        raise ValueError("a reserved name on some systems")
    return source_id


Name = Annotated[str, Field(pattern=NAME_PATTERN)]
SourceId = Annotated[
    str,
    Field(
        pattern=f"^{SOURCE_ID.pattern}$",
        json_schema_extra={"not": {"pattern": f"^({'|'.join(sorted(RESERVED))})([.]|$)"}},
    ),
    AfterValidator(_check_source),
]


class PhaseTable(BaseModel):
    """One phase: a job, its parameters, its share of the whole, and what to do if it fails."""

    model_config = ConfigDict(extra="forbid", strict=True)

    job: str = Field(description="The job type, as in kbjobs run: index-online or index_online.")
    name: Name | None = Field(None, description="What the phase is called; default: the job's name.")
    weight: float | None = Field(
        None,
        ge=0,
        le=MAX_WEIGHT,
        allow_inf_nan=False,
        description="Its share of the chain's progress, in proportion to the other weights; default: the type's.",
    )
    params: dict[str, Any] = Field({}, description="Parameters of the job, as the options of kbjobs run.")
    on_error: Literal["stop", "continue"] = Field(
        "stop", description="What a failure does: stop the chain, or continue with the next phase."
    )
    retries: int | None = Field(
        None, ge=0, le=MAX_RETRIES, description="How often a transient error is tried again; default: --retries."
    )


class ChainTable(BaseModel):
    """A chain file: jobs that run one after the other on the same source."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name | None = Field(None, description="What the chain is called; default: the file's name.")
    description: str = Field("", max_length=MAX_DESCRIPTION, description="What the chain is for.")
    resumable: bool = Field(True, description="Whether --resume may go on from the checkpoint of an earlier job.")
    source: SourceId | None = Field(None, description="Id of the source it runs on; or --source.")
    sources: list[SourceId] | None = Field(
        None,
        min_length=1,
        max_length=MAX_SOURCES,
        description="Ids of several sources, a job for each.",
        json_schema_extra={"uniqueItems": True},
    )
    defaults: dict[str, Any] = Field({}, description="Parameters given to every phase whose job has one of that name.")
    phase: list[PhaseTable] = Field(
        min_length=1, max_length=MAX_PHASES, description="The phases, in the order in which they run."
    )
