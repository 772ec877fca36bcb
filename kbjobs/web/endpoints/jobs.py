"""Jobs: list and show them, act on them, read their logs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from kbjobs.errors import KbjobsError, UsageError
from kbjobs.services.job_commands import write_chain
from kbjobs.store.transitions import Status
from kbjobs.web.endpoint import Body, Call, Endpoint, QueryParams

MAX_JOBS = 1_000
ALL = 1_000_000  # most jobs that a filter may match for an action on all of them
MAX_DAYS = 36_500
TAIL = 64 * 1024  # most bytes of a log that are sent at once
Text = Annotated[str, Field(max_length=200)]
JobId = Annotated[int, Field(ge=1, le=2**53)]


class JobsQuery(QueryParams):
    """Filters for jobs: those of kbjobs history, and a text in their error or message."""

    type: Text | None = None
    source: Text | None = None
    status: Status | None = None
    text: Text | None = None
    days: Annotated[float, Field(ge=0, le=MAX_DAYS, allow_inf_nan=False)] = 7
    limit: Annotated[int, Field(ge=1, le=MAX_JOBS)] = 50


class LogQuery(QueryParams):
    """The part of a log to read; by default the end of the newest attempt's log."""

    attempt: Annotated[int, Field(ge=1, le=2**31)] | None = None
    offset: Annotated[int, Field(ge=0, le=2**53)] | None = Field(
        None, description="Byte from which to read; without it the end of the log is sent."
    )


class Several(Body):
    """Jobs that are meant: by their ids, or all that the filters match."""

    action: Literal["cancel", "resume", "retry", "discard"]
    ids: list[JobId] | None = Field(None, min_length=1, max_length=MAX_JOBS)
    type: Text | None = None
    source: Text | None = None
    status: Literal["pending", "running", "failed", "cancelled", "interrupted"] | None = None
    text: Text | None = None
    days: Annotated[float, Field(ge=0, le=MAX_DAYS, allow_inf_nan=False)] = 7


def list_jobs(asked: Call) -> Any:
    """List the jobs that match, newest first."""
    return {"daemon": daemon_of(asked), "jobs": [asked.manager.as_dict(job) for job in find_jobs(asked)]}


def find_jobs(asked: Call) -> list[Any]:
    """Find the jobs that match a query, or a body with the same fields."""
    wanted = asked.query if isinstance(asked.query, JobsQuery) else asked.body
    kind = wanted.type.replace("-", "_") if wanted.type else None
    status = Status(wanted.status) if wanted.status else None
    return asked.manager.get_job_history(
        getattr(wanted, "limit", ALL), wanted.days, kind, wanted.source or None, status, wanted.text or None
    )


def daemon_of(asked: Call) -> dict[str, Any]:
    """Describe the daemon as the pages show it, without its secrets."""
    state = asked.manager.get_daemon()
    return {"running": state.running, "version": state.version, "started_at": state.started_at}


def show_job(asked: Call) -> Any:
    """Show a job with its attempts."""
    manager, job_id = asked.manager, asked.path["job"]
    job = manager.get_status(job_id)
    attempts = [
        {"attempt": one.attempt, "started_at": one.started_at, "finished_at": one.finished_at, "outcome": one.outcome,
         "error": one.error}
        for one in manager.get_attempts(job_id)
    ]  # fmt: skip
    return {**manager.as_dict(job), "attempts": attempts}


def cancel(asked: Call) -> Any:
    """Ask a job to stop."""
    return asked.manager.cancel(asked.path["job"]).as_dict()


def resume(asked: Call) -> Any:
    """Resume a job that has ended from its checkpoint."""
    return asked.manager.resume(asked.path["job"]).as_dict()


def retry(asked: Call) -> Any:
    """Run a job that has ended from the start."""
    return asked.manager.retry(asked.path["job"]).as_dict()


def discard(asked: Call) -> Any:
    """Give up resuming a job; its results are kept."""
    return asked.manager.discard(asked.path["job"]).as_dict()


def act_on_several(asked: Call) -> Any:
    """Act on several jobs; an error of one job does not stop the others."""
    body: Several = asked.body
    manager = asked.manager
    if body.ids is None and not (body.type or body.source or body.status or body.text):
        raise UsageError("no jobs were named", "Give ids, or at least one of type, source, status and text.")
    ids = body.ids if body.ids is not None else [job.id for job in find_jobs(asked) if _suits(job, body.action)]
    refused: list[dict[str, Any]] = []

    def note(job_id: int, error: KbjobsError) -> None:
        refused.append({"id": job_id, "message": error.message, "hint": error.hint})

    if body.action == "resume":
        done = manager.resume_each(ids, note)
    elif body.action == "retry":
        done = manager.retry_each(ids, note)
    else:
        act = manager.cancel if body.action == "cancel" else manager.discard
        done = []
        for job_id in dict.fromkeys(ids):
            try:
                done.append(act(job_id))
            except KbjobsError as error:
                note(job_id, error)
    return {"jobs": [job.as_dict() for job in done], "refused": refused}


def _suits(job: Any, action: str) -> bool:
    """Whether an action suits a job that matched a filter; a filter never runs a completed job again."""
    if action == "cancel":
        return not job.has_ended
    return job.has_ended and job.status is not Status.COMPLETED


def show_log(asked: Call) -> Any:
    """Show a part of a log, with the offset of the next part."""
    query: LogQuery = asked.query
    manager = asked.manager
    job = manager.get_status(asked.path["job"])
    if job.attempt == 0 and query.attempt is None:
        return {"job": job.id, "attempt": 0, "offset": 0, "size": 0, "text": ""}
    path = manager.log_file(job, query.attempt)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = max(0, size - TAIL) if query.offset is None else min(query.offset, size)
        file.seek(start)
        raw = file.read(TAIL)
    if query.offset is None and start:  # from the beginning of a line
        cut = raw.find(b"\n") + 1
        start, raw = start + cut, raw[cut:]
    text = raw.decode(errors="replace")
    attempt = query.attempt if query.attempt is not None else job.attempt
    return {"job": job.id, "attempt": attempt, "offset": start + len(raw), "size": size, "text": text}


def show_chain(asked: Call) -> Any:
    """Write a job as the text of a chain, to be changed and run again."""
    return {"toml": write_chain(asked.manager.get_status(asked.path["job"]))}


def show_interrupted(asked: Call) -> Any:
    """List the jobs that can be resumed, oldest first."""
    return {"jobs": [asked.manager.as_dict(job) for job in asked.manager.get_resumable_jobs()]}


ENDPOINTS = (
    Endpoint("GET", "/api/jobs", "Jobs, the newest first", list_jobs, JobsQuery),
    Endpoint("GET", "/api/jobs/interrupted", "What can be resumed", show_interrupted),
    Endpoint("POST", "/api/jobs/actions", "Cancel, resume, retry or discard several", act_on_several, body=Several,
             errors=(404, 409, 424)),
    Endpoint("GET", "/api/jobs/{job:int}", "One job, with its attempts", show_job, errors=(404,)),
    Endpoint("GET", "/api/jobs/{job:int}/log", "A part of a log", show_log, LogQuery, errors=(404,)),
    Endpoint("GET", "/api/jobs/{job:int}/chain", "A job as a chain to change", show_chain, errors=(404,)),
    Endpoint("POST", "/api/jobs/{job:int}/cancel", "Stop a job", cancel, errors=(404, 409)),
    Endpoint("POST", "/api/jobs/{job:int}/resume", "Go on with a job", resume, errors=(404, 409, 424)),
    Endpoint("POST", "/api/jobs/{job:int}/discard", "Do not go on with a job", discard, errors=(404, 409)),
    Endpoint("POST", "/api/jobs/{job:int}/retry", "Run a job from the start", retry, errors=(404, 409, 424)),
)  # fmt: skip
