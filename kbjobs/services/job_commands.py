"""What a job was asked for, said again: as a command, as a chain to be changed, and as figures."""

from __future__ import annotations

import shlex
from typing import Any

from kbjobs.services.chain_files import write_draft
from kbjobs.store.jobs import Job
from kbjobs.store.phase_state import PhaseState

FUNCTION = "function"
"""The type of a job that calls Python functions: no command submits it."""


def describe_command(job: Job) -> str:
    """The command that submits the same job again; '' where none does."""
    if any(phase.job == FUNCTION for phase in job.phases):
        return ""
    name = job.type.replace("_", "-")
    [*others, last] = job.phases
    if not others and last.job == job.type:
        source = [job.source] if job.source else []
        return shlex.join(["kbjobs", "run", name, *source, *_options(chosen_parameters(last))])
    return shlex.join(["kbjobs", "chain", name, *(["--source", job.source] if job.source else [])])


def write_chain(job: Job) -> str:
    """A job as the text of a chain file, to be changed and run again."""
    phases: list[dict[str, Any]] = []
    for phase in job.phases:
        params = chosen_parameters(phase)
        phases.append({"job": phase.job, **({"params": params} if params else {})})
        if len(job.phases) > 1:
            phases[-1]["weight"] = phase.weight
    draft: dict[str, Any] = {"source": job.source} if job.source else {}
    return write_draft("", {**draft, "phase": phases}, [None] * len(phases))


def chosen_parameters(phase: PhaseState) -> dict[str, Any]:
    """The parameters of a phase that are not at their default."""
    chosen = phase.chosen if phase.chosen is not None else phase.params
    return {name: value for name, value in chosen.items() if value not in (None, False, [], {})}


def _options(params: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for name, value in params.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            found.append(option)
        else:
            for one in value if isinstance(value, list) else [value]:
                found += [option, str(one)]
    return found
