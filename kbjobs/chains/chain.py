"""A chain as a value: its checked phases, in order, and what a submit needs to know about them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from kbjobs.errors import UsageError
from kbjobs.phases.job_type import JobType, Params
from kbjobs.store.phase_state import OnError

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class ChainPhase:
    """A phase as declared. ``weight`` is its share before normalising; ``retries`` is None to use the job's."""

    job_type: JobType[Any]
    name: str
    params: Params
    weight: float
    on_error: OnError = "stop"
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """A combined job, or a single one as a chain of one phase.

    ``resumable``: whether ``--resume`` may start from the checkpoint of an earlier job; ``sources``: those the file
    names; ``origin``: where the chain was read, for people.
    """

    name: str
    phases: tuple[ChainPhase, ...]
    description: str = ""
    resumable: bool = True
    sources: tuple[str, ...] = ()
    origin: str = ""

    @property
    def is_single(self) -> bool:
        """Whether this is a single job, named after its type."""
        return len(self.phases) == 1 and self.name == self.phases[0].job_type.name

    @property
    def label(self) -> str:
        """The name for people: ``reindex_online`` becomes Reindex (Online)."""
        words = self.name.replace("_", " ").title()
        return words.replace(" Online", " (Online)").replace(" Offline", " (Offline)")

    def as_type(self) -> dict[str, Any]:
        """The chain as one of the job types that ``--json`` lists."""
        return {
            "name": self.name,
            "command": f"kbjobs run {self.name.replace('_', '-')} SOURCE",
            "label": self.label,
            "description": self.description,
            "category": "combined",
            "phases": [phase.job_type.name for phase in self.phases],
            "resumable": self.resumable,
            "parameters": {},
        }

    def as_dict(self) -> dict[str, Any]:
        """The chain as the JSON that ``--json`` prints: what its file says."""
        return {
            "name": self.name,
            "description": self.description,
            "resumable": self.resumable,
            "sources": list(self.sources),
            "phases": [
                {
                    "name": phase.name,
                    "job": phase.job_type.name,
                    "weight": phase.weight,
                    "params": phase.params.model_dump(exclude_unset=True),
                    "on_error": phase.on_error,
                    "retries": phase.retries,
                }
                for phase in self.phases
            ],
        }


def single(job_type: JobType[Any], params: Params) -> Chain:
    """Make a chain of one phase for a single job."""
    phase = ChainPhase(job_type, job_type.name, params, 100.0)
    return Chain(job_type.name, (phase,), job_type.description, job_type.can_resume)


def function_chain(name: str, params: Params) -> Chain:
    """Make a chain of one phase for a call of a Python function, under a name that the caller chooses.

    The name may equal a job type's; the function runs all the same. Dashes become underscores.
    """
    from kbjobs.phases.registry import job_type

    name = name.replace("-", "_")
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name for a job", "A name has 1–64 characters of a–z, 0–9 and '_', a letter first."
        )
    kind = job_type("python_function")
    return Chain(name, (ChainPhase(kind, name, params, 100.0),), kind.description)
