"""The night report, for the person who looks in the morning: what ran, failed and cost, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.errors import KbjobsError
from kbjobs.formatting import counted
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import Job
from kbjobs.store.sources import SourceFolder, list_source_ids
from kbjobs.store.transitions import Status

MAX_JOBS = 10_000
SECONDS_A_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """A job that needs a person.

    Args:
        job: the job.
        reason: why it did not end well, or what it left out.
        remedy: a command that helps.
    """

    job: Job
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class NightReport:
    """The last hours of a home.

    Args:
        since: how far the report looks back, in seconds.
        ended: the jobs that ended in that time, latest first.
        active: the running and pending jobs.
        troubles: the jobs that need a person, without those whose work another job has done since.
        tokens: the API tokens that the ended jobs used.
        dollars: the list price of these tokens in US dollars.
        unusable: ids of sources that are unreadable or lack files, each with the problem.
        has_daemon: whether a daemon is running.
    """

    since: float
    ended: tuple[Job, ...]
    active: tuple[Job, ...]
    troubles: tuple[Trouble, ...]
    tokens: int
    dollars: float
    unusable: tuple[tuple[str, str], ...]
    has_daemon: bool

    @property
    def counts(self) -> dict[str, int]:
        """The number of ended jobs per status."""
        return dict(Counter(str(job.status) for job in self.ended))

    @property
    def needs_daemon(self) -> bool:
        """Whether there are unfinished jobs, and no daemon to run them."""
        return bool(self.active) and not self.has_daemon

    def as_dict(self) -> dict[str, Any]:
        """The report as the JSON that ``--json`` prints."""
        return {
            "since_seconds": self.since,
            "counts": self.counts,
            "jobs": [job.as_dict() for job in self.ended],
            "active": [job.as_dict() for job in self.active],
            "troubles": [{"job": one.job.id, "reason": one.reason, "remedy": one.remedy} for one in self.troubles],
            "tokens": self.tokens,
            "price_usd": round(self.dollars, 6),
            "unusable": [{"source": source, "reason": reason} for source, reason in self.unusable],
            "daemon": self.has_daemon,
        }


def report_night(home: Home, seconds: float) -> NightReport:
    """Make the report for the last seconds.

    Args:
        home: the home.
        seconds: how far back a job may have ended.

    Raises:
        KbjobsError: the state cannot be read.
    """
    manager = JobManager(home)
    try:
        ended = manager.get_just_ended_jobs(MAX_JOBS, seconds / SECONDS_A_DAY)
        active = manager.get_active_jobs()
        open_ids = {job.id for job in manager.get_resumable_jobs()} | {job.id for job in manager.get_failed_jobs()}
    finally:
        manager.close()
    tokens, dollars = _sum_spending(ended)
    troubles = [trouble for job in ended if (trouble := _find_trouble(job, job.id in open_ids)) is not None]
    return NightReport(
        seconds, tuple(ended), tuple(active), tuple(troubles), tokens, dollars, _find_unusable(home), is_running(home)
    )


def _find_unusable(home: Home) -> tuple[tuple[str, str], ...]:
    """Find the sources on which the next jobs would be refused; a job that was not queued leaves no other trace."""
    found: list[tuple[str, str]] = []
    for source_id in list_source_ids(home.sources):
        try:
            missing = SourceFolder(home.sources, source_id).find_missing()
            found += [(source_id, f"{path} is not there") for path in missing]
        except KbjobsError as error:
            found.append((source_id, error.message))
    return tuple(found)


def _find_trouble(job: Job, is_open: bool) -> Trouble | None:
    """Find what a person has to do about a job, if its work is still open."""
    if job.status is Status.COMPLETED:
        if not job.exit_code:
            return None
        if failed := sum(phase.failed for phase in job.phases):
            remedy = f"kbjobs sources skipped {job.source}" if job.source else f"kbjobs logs {job.id}"
            return Trouble(job, f"{counted(failed, 'document')} could not be processed", remedy)
        names = ", ".join(phase.name for phase in job.phases if not phase.is_completed)
        return Trouble(job, f"failed, but the chain continued: {names}", f"kbjobs logs {job.id}")
    if not is_open:
        return None
    reason = ((job.error or job.message).splitlines() or [str(job.status)])[0]
    can_resume = job.status is Status.INTERRUPTED or len(job.phases) > 1
    return Trouble(job, reason, f"kbjobs {'resume' if can_resume else 'retry'} {job.id}")


def _sum_spending(jobs: Sequence[Job]) -> tuple[int, float]:
    tokens, dollars = 0, 0.0
    for job in jobs:
        for phase in job.phases:
            result = phase.result or {}
            if "price_usd" in result and not phase.params.get("dry_run"):
                tokens += int(result.get("tokens") or 0)
                dollars += float(result["price_usd"] or 0.0)
    return tokens, dollars
