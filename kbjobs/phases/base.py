"""What a job type declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.store.sources import SourceFolder


class Params(BaseModel):
    """Base of every job type's parameters: the command's options are generated from the fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked submit: the parameters with every default filled in, and what the job works on.

    ``secrets`` are the credentials needed with these parameters, None for those of the job type.
    """

    params: Params
    dimension: int | None = None
    notes: tuple[str, ...] = field(default=())
    secrets: tuple[str, ...] | None = None


class Advice(str):
    """Advice that a phase of the type ``add`` before it would settle."""

    add: str

    def __new__(cls, text: str, add: str) -> Advice:
        """The text, with the type."""
        made = super().__new__(cls, text)
        made.add = add
        return made


@dataclass(frozen=True, slots=True)
class PhaseForecast:
    """What a phase is expected to do; None is what is not known.

    ``passages`` are those that it works on, of which ``new`` are embedded; ``price_usd`` is at list price; ``steps``
    are what takes the time, in the ``unit`` of its progress; ``seconds`` where it is known without a measured pace.
    ``is_exact``: not judged by a sample. ``note`` is a sentence for people.
    """

    documents: int | None = None
    passages: int | None = None
    new: int | None = None
    tokens: int | None = None
    price_usd: float | None = None
    steps: int | None = None
    unit: str = ""
    seconds: float | None = None
    is_exact: bool = True
    note: str = ""


Earlier = Sequence[tuple[str, Params]]
"""The types, with their parameters, that run before a phase in the same chain."""


def forecast_nothing(
    home: Home, settings: Settings, source: SourceFolder | None, params: Any, earlier: Earlier
) -> PhaseForecast:
    """The forecast of a type that can tell nothing beforehand."""
    return PhaseForecast()


def no_advice(home: Home, settings: Settings, source: SourceFolder, params: Any, earlier: Sequence[str]) -> list[str]:
    """The advice of a type that has none to give."""
    return []


def no_other_sources(params: Any) -> tuple[str, ...]:
    """The sources beside that of the job on which a type works that knows of none."""
    return ()


def reach_nothing(home: Home, settings: Settings, params: Any) -> None:
    """What a type needs that asks for nothing elsewhere."""


def fill_nothing(home: Home, settings: Settings, params: Any) -> Plan:
    """The plan of a type whose parameters are complete as they are given."""
    return Plan(params)


@dataclass(frozen=True, slots=True)
class JobType:
    """Everything that anyone needs to know of a job type, in one object.

    ``fill`` checks what the phase will need whatever the source is (a model, a package) and fills the defaults;
    ``plan`` does that and checks the source and the disk, at submit. Both raise a KbjobsError and must stay light.
    ``reach`` asks at the submit itself whether what the job needs elsewhere is there: it raises a KbjobsError where it
    is known not to be, within seconds, and says nothing where nobody answers.
    ``run`` does the work in the worker. ``secrets`` are the names of the credentials without which it cannot run.
    ``advise`` names what in the state of the source makes the phase pointless or costly, given the planned parameters
    and the types that run before it in the same chain; it only reads, and must stay light. ``forecast`` says what the
    phase is expected to do, given the planned parameters; it may take some seconds, and writes nothing.
    ``takes_file``: in the place of a source a file may be named, for the parameter ``path``; ``name_source`` then makes
    a source's id of its path.
    ``takes_sources``: several sources or none may be named, for the parameter ``sources``; a single one is that of the
    job. ``named_by``: the parameter that is given in the place of a source. ``works_on`` gives the ids of the sources
    that a job with the planned parameters works on beside its own.
    ``makes_source``: the source need not be there yet. ``ends_source``: after it there is no source any more. It may
    be damaged, the job is alone on it, and the parameter ``confirm`` repeats its id. ``dry_type``: the type that a job
    with the parameter ``dry_run`` is one of, with those of the other parameters that it knows. ``examples`` are command
    lines that its help shows beside the plain one.
    """

    name: str
    label: str
    description: str
    category: str
    operation: str
    params: type[Params]
    plan: Callable[[Home, Settings, SourceFolder, Any], Plan]
    run: Callable[[Context, Any], PhaseResult]
    fill: Callable[[Home, Settings, Any], Plan] = fill_nothing
    reach: Callable[[Home, Settings, Any], None] = reach_nothing
    advise: Callable[[Home, Settings, SourceFolder, Any, Sequence[str]], list[str]] = no_advice
    forecast: Callable[[Home, Settings, SourceFolder, Any, Earlier], PhaseForecast] = forecast_nothing
    weight: float = 50.0
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    can_resume: bool = True
    secrets: tuple[str, ...] = ()
    needs_source: bool = True
    takes_file: bool = False
    takes_sources: bool = False
    named_by: str = ""
    works_on: Callable[[Any], tuple[str, ...]] = no_other_sources
    name_source: Callable[[str], str] | None = None
    makes_source: bool = False
    ends_source: bool = False
    dry_type: str = ""
    examples: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """Its name on the command line."""
        return self.name.replace("_", "-")

    @property
    def place(self) -> str:
        """What its command takes, for people."""
        if self.named_by:
            return self.named_by.upper()
        return "PATH|SOURCE" if self.takes_file else "[SOURCE…]" if self.takes_sources else "SOURCE"

    @property
    def reads_source(self) -> bool:
        """Whether its source must be there whole."""
        return self.needs_source and not self.ends_source

    def as_dict(self) -> dict[str, Any]:
        """The type as the JSON that ``--json`` prints; ``parameters`` are the properties of a JSON Schema."""
        return {
            "name": self.name,
            "command": f"kbjobs run {self.command} {self.place}",
            "label": self.label,
            "description": self.description,
            "category": self.category,
            "weight": self.weight,
            "before": self.before,
            "after": self.after,
            "conflicts": self.conflicts,
            "resumable": self.can_resume,
            "parameters": self.params.model_json_schema().get("properties", {}),
        }

    def resources(self, source_id: str | None, params: Any) -> tuple[str, ...]:
        """What only one running job may hold at a time: each source it works on.

        A job over several sources has nothing else in common with one over others, but what it writes: so the type too.
        """
        sources = () if source_id is None else (f"source:{source_id}",)
        others = tuple(f"source:{name}" for name in self.works_on(params))
        return (*sources, *others, f"type:{self.name}") if others else sources
