"""The tools for jobs: their status, and, if the user allows it, running and cancelling them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from kbjobs.assistant.redaction import Redaction
from kbjobs.assistant.tool import AssistantTool, JobId, Name, SourceId, ToolArguments
from kbjobs.config.home import Home
from kbjobs.errors import UsageError
from kbjobs.phases.names import NAMES

if TYPE_CHECKING:
    from kbjobs.services.jobs import JobManager
    from kbjobs.store.jobs import Job

RECENT = 10  # ended jobs that are listed
SHOWN = (
    "id", "type", "source", "status", "progress", "phase", "message", "eta_seconds", "attempt", "created_at",
    "started_at", "finished_at", "duration_seconds", "exit_code", "result", "error", "resumable",
)  # fmt: skip


class StatusArguments(ToolArguments):
    """Which job to describe."""

    job: Annotated[JobId | None, Field(description="Id of a job; by default those that run, wait or just ended.")] = (
        None
    )


class CancelArguments(ToolArguments):
    """Which job to cancel."""

    job: JobId


class RunArguments(ToolArguments):
    """The job to run."""

    type: Annotated[Name, Field(description=f"A chain, or one of {', '.join(NAMES)}.")]
    source: SourceId | None = None
    params: dict[str, Any] = Field({}, description="Parameters of the job type, as kbjobs types shows them.")


class JobTools:
    """The tools for the jobs of a home.

    Args:
        home: the home.
        redaction: hides what messages must not say.
    """

    def __init__(self, home: Home, redaction: Redaction) -> None:
        self._home, self._redaction = home, redaction

    def status_tool(self) -> AssistantTool:
        """The tool that changes nothing."""
        return AssistantTool(
            "job_status",
            "Job status",
            "Show a job, or the jobs that are running, waiting and just ended.",
            StatusArguments,
            self.job_status,
        )

    def changing_tools(self) -> tuple[AssistantTool, ...]:
        """The tools that run and cancel jobs."""
        return (
            AssistantTool(
                "run_job",
                "Run a job",
                "Queue a job of the knowledge base, such as index_offline for a source. It may take hours and, for"
                " online types, cost money. job_status shows its progress.",
                RunArguments,
                self.run_job,
                changes=True,
            ),
            AssistantTool(
                "cancel_job",
                "Cancel a job",
                "Stop a job. What it has done is kept, and it can be resumed.",
                CancelArguments,
                self.cancel_job,
                changes=True,
            ),
        )

    def job_status(self, asked: StatusArguments) -> dict[str, Any]:
        """Describe one job, or the current ones."""
        with self._open() as manager:
            if asked.job is not None:
                return {"job": self._describe(manager, manager.get_status(asked.job))}
            jobs = [*manager.get_active_jobs(), *manager.get_just_ended_jobs(RECENT)]
            return {
                "daemon_is_running": manager.is_daemon_running(),
                "jobs": [self._describe(manager, job) for job in jobs],
            }

    def run_job(self, asked: RunArguments) -> dict[str, Any]:
        """Queue a job, unless it would delete a source."""
        with self._open() as manager:
            chain = manager.find_chain(asked.type, asked.params)
            if any(phase.job_type.target.ends_source for phase in chain.phases):
                raise UsageError(
                    "an assistant cannot delete a source",
                    f"At a terminal: kbjobs sources delete {asked.source or 'ID'}",
                )
            [job] = manager.enqueue([manager.plan(chain, asked.source)])
            return {"job": self._describe(manager, job)}

    def cancel_job(self, asked: CancelArguments) -> dict[str, Any]:
        """Ask a job to stop."""
        with self._open() as manager:
            return {"job": self._describe(manager, manager.cancel(asked.job))}

    def _open(self) -> JobManager:
        from kbjobs.services.jobs import JobManager  # not at the start of the server

        return JobManager(self._home)

    def _describe(self, manager: JobManager, job: Job) -> dict[str, Any]:
        facts = manager.as_dict(job)
        shown: dict[str, Any] = self._redaction.hide_paths({name: facts[name] for name in SHOWN})
        return {**shown, "worker_is_dead": facts["worker_is_dead"]}
