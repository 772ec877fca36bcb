"""Describing a job's request again: as a command, and as a chain file that can be changed."""

from __future__ import annotations

import json
import shlex
from typing import Any

from kbjobs.phases.names import INTERNAL
from kbjobs.phases.registry import BrokenJobTypeError, is_taken, job_type
from kbjobs.services.chain_files import UNNAMED, write_draft
from kbjobs.store.jobs import Job
from kbjobs.store.phase_state import PhaseState


def describe_command(job: Job) -> str:
    """The command that submits the same job again; '' if there is none."""
    if not can_be_written(job) or job.type == UNNAMED:
        return ""
    name, [*others, last] = job.type.replace("_", "-"), job.phases
    if others or last.job != job.type:
        return shlex.join(["kbjobs", "chain", name, *(["--source", job.source] if job.source else [])])
    try:
        target, params = job_type(job.type).target, chosen_parameters(last)
    except BrokenJobTypeError:  # a type of another package that cannot be loaded now
        return ""
    source = [job.source] if job.source else []
    if target.takes_file and params.get("path"):
        words = [params.pop("path"), *(["--source", *source] if source else [])]
    elif target.parameter:
        words = [last.params[target.parameter]]
        params.pop(target.parameter, None)
    elif target.takes_sources:
        words = params.pop("sources", None) or source
    else:
        words = source
    if target.ends_source:  # the user must confirm the id again
        params.pop("confirm", None)
    return shlex.join(["kbjobs", "run", name, *map(str, words), *_options(params)])


def can_be_written(job: Job) -> bool:
    """Whether a chain file can express the job; calls of Python functions and removed job types cannot be written."""
    return all(is_taken(phase.job) and phase.job not in INTERNAL for phase in job.phases)


def write_chain(job: Job) -> str:
    """Write a job as the text of a chain file, to be changed and run again."""
    phases: list[dict[str, Any]] = []
    for phase in job.phases:
        params = chosen_parameters(phase)
        phases.append({"job": phase.job, **({"params": params} if params else {})})
        if len(job.phases) > 1:
            phases[-1]["weight"] = phase.weight
    draft: dict[str, Any] = {"source": job.source} if job.source else {}
    return write_draft("", {**draft, "phase": phases}, [None] * len(phases))


def chosen_parameters(phase: PhaseState) -> dict[str, Any]:
    """The non-default parameters of a phase; for phases of older versions, which did not record them, all set ones."""
    if phase.chosen is not None:
        return dict(phase.chosen)
    return {name: value for name, value in phase.params.items() if value not in (None, False, [], {})}


def _options(params: dict[str, Any]) -> list[str]:
    """Write parameters as options of ``kbjobs run``: a switch, a word, or JSON."""
    found: list[str] = []
    for name, value in params.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{option}" if value else f"--no-{option}")
        else:
            found += [f"--{option}", json.dumps(value) if isinstance(value, list | dict) else str(value)]
    return found
