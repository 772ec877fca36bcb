"""A chain as a value: phases that are checked, in order, with what a submit needs to know of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kbjobs.errors import UsageError
from kbjobs.phases.base import JobType, Params
from kbjobs.store.phase_state import OnError

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class ChainPhase:
    """One phase as it was declared: ``weight`` is its share before normalising, ``retries`` None for the job's."""

    job_type: JobType
    name: str
    params: Params
    weight: float
    on_error: OnError = "stop"
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """A combined job, or a single one as a chain of one phase.

    ``resumable``: whether ``--resume`` may go on from the checkpoint of an earlier job; ``sources``: those the file
    names; ``origin``: where it was read, for people.
    """

    name: str
    phases: tuple[ChainPhase, ...]
    description: str = ""
    resumable: bool = True
    sources: tuple[str, ...] = ()
    origin: str = ""

    @property
    def is_single(self) -> bool:
        """Whether it is a single job of the type it is named by."""
        return len(self.phases) == 1 and self.name == self.phases[0].job_type.name


def single(job_type: JobType, params: Params) -> Chain:
    """A single job as a chain of one."""
    phase = ChainPhase(job_type, job_type.name, params, 100.0)
    return Chain(job_type.name, (phase,), job_type.description, job_type.can_resume)


def function_chain(name: str, params: Params) -> Chain:
    """A call of a Python function as a chain of one, under a name of the caller's."""
    from kbjobs.phases.registry import is_taken, job_type

    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a name for a job", "It has 1–64 of a–z, 0–9 and '_', a letter first.")
    if is_taken(name):
        raise UsageError(f"{name!r} is a job type of its own", "Give the function's job another name.")
    kind = job_type("python_function")
    return Chain(name, (ChainPhase(kind, name, params, 100.0),), kind.description)
