"""The declaration of a job type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.errors import UsageError
from kbjobs.store.sources import SourceFolder


class Params(BaseModel):
    """Base of every job type's parameters: the command's options are generated from the fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


P = TypeVar("P", bound=Params)
Q = TypeVar("Q", bound=Params)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class PhaseRequest(Generic[P]):
    """The subject of a question to a job type: parameters, in a home, on a source.

    Args:
        home: the job's home.
        settings: the settings in force.
        params: the given parameters when the job is planned; the planned ones for advice and forecasts.
        folder: the folder of the job's source, None if it has no source.
        earlier: the types that run before the phase in the same chain, with their parameters.
        is_general: whether the question is about any source, because an earlier phase makes the source or none is
            named yet.
    """

    home: Home
    settings: Settings
    params: P
    folder: SourceFolder | None = None
    earlier: tuple[tuple[str, Params], ...] = ()
    is_general: bool = False

    @property
    def source(self) -> SourceFolder:
        """The source. Raises UsageError if the job has none."""
        if self.folder is None:
            raise UsageError("the job has no source", "Name one: --source ID, or source = in the chain file.")
        return self.folder

    @property
    def earlier_types(self) -> tuple[str, ...]:
        """The names of the types that run before the phase."""
        return tuple(name for name, _ in self.earlier)

    def with_params(self, params: Q) -> PhaseRequest[Q]:
        """The same request for another type, with its parameters."""
        return PhaseRequest(self.home, self.settings, params, self.folder, self.earlier, self.is_general)

    def check_source(self) -> None:
        """Raise NotFoundError or UnavailableError if the source is unusable; does nothing for a general request."""
        if self.folder is not None and not self.is_general:
            self.folder.read()


@dataclass(frozen=True, slots=True)
class Plan(Generic[P]):
    """A checked submit: the parameters with every default filled in, the dimension of the vectors, and notes.

    ``secrets`` are the credentials needed with these parameters, None for those of the job type.
    """

    params: P
    dimension: int | None = None
    notes: tuple[str, ...] = field(default=())
    secrets: tuple[str, ...] | None = None


def filled(value: Value | None) -> Value:
    """Return a parameter that the plan has filled in. Raises UsageError if the job was queued without a plan."""
    if value is None:
        raise UsageError("a parameter of the job was never filled in", "Submit the job again.")
    return value


class Advice(str):
    """A piece of advice that can be followed by putting a phase of type ``add`` before the phase."""

    add: str

    def __new__(cls, text: str, add: str) -> Advice:
        """Create the advice from its text and the type of the phase to add."""
        made = super().__new__(cls, text)
        made.add = add
        return made


@dataclass(frozen=True, slots=True)
class PhaseForecast:
    """What a phase is expected to do; unknown values are None.

    ``passages`` is the number of passages that it works on, of which ``new`` are embedded; ``price_usd`` is at list
    price; ``steps`` is the work that takes the time, in the ``unit`` of its progress; ``seconds`` is set if it is known
    without a measured rate. ``is_exact``: it was counted, not derived from a sample. ``note`` is a sentence for people.
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


@dataclass(frozen=True, slots=True)
class Target:
    """The argument that a command takes before its options, and what the job does to it.

    Args:
        needs_source: the argument is a source. Otherwise the job may have no source.
        makes_source: the source need not exist yet.
        ends_source: the job deletes the source. The source may be damaged, no other job may use it, and the parameter
            ``confirm`` repeats its id.
        takes_file: a file may be named instead of a source, for the parameter ``path``.
        name_source: makes the id of a new source from the path of that file.
        takes_sources: several sources or none may be named, for the parameter ``sources``; a single one becomes the
            job's source.
        parameter: the parameter that is given instead of a source.
    """

    needs_source: bool = True
    makes_source: bool = False
    ends_source: bool = False
    takes_file: bool = False
    name_source: Callable[[str], str] | None = None
    takes_sources: bool = False
    parameter: str = ""

    @property
    def shown(self) -> str:
        """The argument as help texts show it."""
        if self.parameter:
            return self.parameter.upper()
        return "PATH|SOURCE" if self.takes_file else "[SOURCE…]" if self.takes_sources else "SOURCE"

    @property
    def reads_source(self) -> bool:
        """Whether the source must be readable."""
        return self.needs_source and not self.ends_source


SOURCE = Target()
NO_SOURCE = Target(needs_source=False)


def plan_as_given(request: PhaseRequest[P]) -> Plan[P]:
    """The default plan: the parameters stay as given."""
    return Plan(request.params)


def reach_nothing(request: PhaseRequest[Any]) -> None:
    """The default ``reach``, for a type that needs no service."""


def no_advice(request: PhaseRequest[Any]) -> list[str]:
    """The default ``advise``: no advice."""
    return []


def no_forecast(request: PhaseRequest[Any]) -> PhaseForecast:
    """The default ``forecast``: everything is unknown."""
    return PhaseForecast()


def no_other_sources(params: Any) -> tuple[str, ...]:
    """The default ``works_on``: no additional sources."""
    return ()


@dataclass(frozen=True, slots=True)
class JobType(Generic[P]):
    """Everything about a job type in one object.

    Args:
        name: the name, such as ``index_offline``.
        label: the name for people, such as ``Index (Offline)``.
        description: one sentence, shown by ``kbjobs types`` and in the help.
        category: the heading under which it is listed.
        operation: what the job does, in one word.
        params: the class of its parameters.
        run: does the work, in the worker.
        plan: checks the phase's requirements at the submit, and fills in the defaults. Raises a KbjobsError. Must
            stay light.
        target: the argument of its command.
        reach: checks at the submit whether what the job needs at a service exists. Raises a KbjobsError within seconds
            if it does not; does nothing if the service does not answer.
        advise: warns if the state of the source makes the phase pointless or costly. Reads only, and must stay light.
        forecast: forecasts the work of the phase. May take some seconds; writes nothing.
        works_on: returns the ids of the additional sources that a job with the planned parameters works on.
        weight: its share of a chain's progress.
        before: types that should rather run after it.
        after: types that should rather run before it.
        conflicts: types that may not follow it; ``*`` for all.
        can_resume: whether a job can resume from its checkpoint.
        shares_worker: whether a worker process that has run a job of this type cleanly may run the next one of the
            type: a run leaves no thread, process, changed environment or open file behind.
        secrets: names of the credentials without which it cannot run.
        examples: command lines for its help.
    """

    name: str
    label: str
    description: str
    category: str
    operation: str
    params: type[P]
    run: Callable[[Context, P], PhaseResult]
    plan: Callable[[PhaseRequest[P]], Plan[P]] = plan_as_given
    target: Target = SOURCE
    reach: Callable[[PhaseRequest[P]], None] = reach_nothing
    advise: Callable[[PhaseRequest[P]], list[str]] = no_advice
    forecast: Callable[[PhaseRequest[P]], PhaseForecast] = no_forecast
    works_on: Callable[[P], tuple[str, ...]] = no_other_sources
    weight: float = 50.0
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    can_resume: bool = True
    shares_worker: bool = False
    secrets: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """Its name on the command line."""
        return self.name.replace("_", "-")

    def as_dict(self) -> dict[str, Any]:
        """The type as the JSON that ``--json`` prints; ``parameters`` are the properties of a JSON Schema."""
        return {
            "name": self.name,
            "command": f"kbjobs run {self.command} {self.target.shown}",
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

    def resources(self, source_id: str | None, params: P) -> tuple[str, ...]:
        """The resources that only one running job may hold at a time: each source it works on.

        Jobs of this type over several sources write the same output, so they also hold the type.
        """
        sources = () if source_id is None else (f"source:{source_id}",)
        others = tuple(f"source:{name}" for name in self.works_on(params))
        return (*sources, *others, f"type:{self.name}") if others else sources
