"""The builder's operations: list job types and chains; check, forecast, run and edit a chain."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from kbjobs.chains.diagnostics import Diagnostic
from kbjobs.errors import KbjobsError
from kbjobs.phases.job_type import JobType
from kbjobs.phases.registry import job_types
from kbjobs.services import chain_files
from kbjobs.store.jobs import Limits
from kbjobs.web.endpoint import Body, Call, Endpoint

MAX_TEXT = 256 * 1024
ChainText = Annotated[str, Field(max_length=MAX_TEXT, description="The chain file, in TOML.")]
SourceIds = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=1000)]
Moment = Annotated[float, Field(ge=0, le=2**53, allow_inf_nan=False)]


class Checked(Body):
    """A chain, and the sources that it is to run on; without them those that it names."""

    toml: ChainText
    sources: SourceIds = Field(default_factory=list)


class Submitted(Checked):
    """A chain that is to run. Moments are seconds since 1970, ``timeout`` seconds of work."""

    resume: bool = False
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    not_before: Moment | None = None
    until: Moment | None = None
    timeout: Annotated[float, Field(gt=0, le=2**31, allow_inf_nan=False)] | None = None
    retries: Annotated[int, Field(ge=0, le=100)] = 0


class EditedDraft(Body):
    """A text, what it is to say, and for each phase which one of the text it comes from (null: a new one)."""

    toml: ChainText
    draft: dict[str, Any]
    origins: list[int | None] = Field(default_factory=list, max_length=1000)


class Parsed(Body):
    """A text."""

    toml: ChainText


def show_schemas(asked: Call) -> Any:
    """List all job types with their parameters, the categories, and the chains."""
    return {
        "types": [describe_type(kind) for kind in job_types()],
        "categories": list(dict.fromkeys(kind.category for kind in job_types())),
        "chains": chain_files.list_chains(asked.home),
    }


def describe_type(kind: JobType[Any]) -> dict[str, Any]:
    """Describe a job type as ``kbjobs types --json`` does, with the JSON Schema of its parameters and its target."""
    return {
        **kind.as_dict(),
        "schema": kind.params.model_json_schema(),
        "needs_source": kind.target.needs_source,
        "makes_source": kind.target.makes_source,
        "ends_source": kind.target.ends_source,
        "operation": kind.operation,
    }


def validate(asked: Call) -> Any:
    """List the errors that a submit would raise, and advice, each with its phase."""
    body: Checked = asked.body
    try:
        found = chain_files.check_text(asked.manager, body.toml, body.sources)
    except KbjobsError as error:  # such as a missing source
        found = [Diagnostic("state", error.message, hint=error.hint, exit_code=error.exit_code)]
    findings = [describe_finding(one) for one in found]
    return {"valid": not any(one["severity"] == "error" for one in findings), "findings": findings}


def describe_finding(one: Diagnostic) -> dict[str, Any]:
    """Describe a finding with its phase (from 0, or null), its path in the file, and a change that fixes it."""
    phase = one.path[1] if len(one.path) > 1 and one.path[0] == "phase" else None
    fix = None if one.fix is None else {"add": one.fix.add or None, "move": one.fix.move}
    shown = one.as_dict("")
    del shown["file"]
    return {**shown, "phase": phase, "path": list(one.path), "exit_code": int(one.exit_code), "fix": fix}


def forecast(asked: Call) -> Any:
    """Forecast the chain on each source: documents, passages, tokens, price, time. Nothing is queued."""
    body: Checked = asked.body
    chain = chain_files.read_chain_text(body.toml)
    sources = body.sources or chain.sources or (None,)
    return {"forecasts": [asked.manager.forecast(chain, source).as_dict() for source in dict.fromkeys(sources)]}


def run(asked: Call) -> Any:
    """Submit the chain as a combined job with checkpoints, one for each source."""
    body: Submitted = asked.body
    chain = chain_files.read_chain_text(body.toml)
    limits = Limits(body.not_before, body.until, body.timeout, body.retries)
    sources = dict.fromkeys(body.sources or chain.sources or (None,))
    planned = [asked.manager.plan(chain, source, body.priority, limits, body.resume) for source in sources]
    jobs = asked.manager.enqueue(planned)
    return {
        "id": jobs[0].id,
        "jobs": [job.as_dict() for job in jobs],
        "notes": list(dict.fromkeys(note for one in planned for note in one.notes)),
    }


def edit(asked: Call) -> Any:
    """Write a draft into a text, keeping the text's comments."""
    body: EditedDraft = asked.body
    return {"toml": chain_files.write_draft(body.toml, body.draft, body.origins)}


def parse(asked: Call) -> Any:
    """Read a text into tables."""
    body: Parsed = asked.body
    return {"draft": chain_files.read_draft(body.toml)}


_BUILDER = "/api/job-builder"
ENDPOINTS = (
    Endpoint("GET", f"{_BUILDER}/schemas", "Job types with their parameters, and chains", show_schemas),
    Endpoint("POST", f"{_BUILDER}/validate", "Check a chain", validate, body=Checked),
    Endpoint("POST", f"{_BUILDER}/forecast", "What a chain would do, its price and time", forecast, body=Checked,
             errors=(404, 409, 424)),
    Endpoint("POST", f"{_BUILDER}/run", "Submit a chain", run, body=Submitted, status=201, errors=(404, 409, 424)),
    Endpoint("POST", f"{_BUILDER}/edit", "Write what a form says into a text", edit, body=EditedDraft),
    Endpoint("POST", f"{_BUILDER}/parse", "Read a text into tables", parse, body=Parsed),
)  # fmt: skip
