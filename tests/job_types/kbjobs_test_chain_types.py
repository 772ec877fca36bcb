"""Job types of another package with rules of order, and with parameters of every kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kbjobs.plugins import Context, JobType, Params, PhaseResult


class Window(BaseModel):
    """Hours between which something happens."""

    model_config = ConfigDict(extra="forbid", strict=True)

    first: int = Field(ge=0, le=23)
    last: int = Field(23, ge=0, le=23)


class GatherParams(Params):
    """One parameter of each kind."""

    where: str = Field(description="A required text.", min_length=1, max_length=20)
    code: str | None = Field(None, pattern="^[a-z]{2}$", description="A text of a form.")
    size: int | str = Field(1, description="Either of two kinds.")
    mode: Literal["fast", "slow"] = Field("fast", description="One of two words.")
    share: float = Field(0.5, gt=0, lt=1, description="A number between two others.")
    numbers: list[Annotated[int, Field(ge=0)]] = Field([], max_length=3, description="Several numbers.")
    pair: tuple[int, str] | None = Field(None, description="Two values.", strict=False)
    window: Window | None = Field(None, description="A table.")
    windows: list[Window] = Field([], description="Several tables.")
    extra: dict[str, Any] = Field({}, description="Anything.")
    force: bool = Field(False, description="A switch.")

    @field_validator("where")
    @classmethod
    def _is_not_nowhere(cls, value: str) -> str:
        if value == "nowhere":
            raise ValueError("there is no such place")
        return value

    @model_validator(mode="after")
    def _fits(self) -> GatherParams:
        if self.mode == "fast" and self.force:
            raise ValueError("fast and force do not go together")
        return self


class SweepParams(Params):
    """None."""


def run(context: Context, params: Any) -> PhaseResult:
    """Do nothing."""
    return PhaseResult({}, "nothing")


GATHER = JobType(
    name="gather",
    label="Gather",
    description="Has a parameter of every kind, and comes first.",
    category="tests",
    operation="gather",
    params=GatherParams,
    run=run,
    before=("index_offline",),
    conflicts=("steps",),
)
SWEEP = JobType(
    name="sweep_it_all",
    label="Sweep",
    description="Nothing may come after it.",
    category="tests",
    operation="sweep",
    params=SweepParams,
    run=run,
    conflicts=("*",),
)
