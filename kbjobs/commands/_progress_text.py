"""What a live job is doing, in as many words as there is room for."""

from __future__ import annotations

from kbjobs.commands._render import describe_rate, describe_time_left, describe_window, format_counts, has_counts
from kbjobs.store.jobs import Job
from kbjobs.store.pauses import Pause
from kbjobs.store.transitions import Status

SEPARATOR = " · "
UNITS = {"chunks": "passages"}  # the word for people


def progress_texts(job: Job) -> tuple[str, ...]:
    """Describe the running phase: what it does, counts, rate and time left.

    Returns:
        The same in ever fewer words: without what it does, without the unit, without the rate, without the time left.
    """
    rate, left = describe_rate(job), describe_time_left(job)
    phase = job.phase
    if phase is None or not has_counts(job):
        doing = job.message or (str(job.status) if phase is None else phase.name.replace("_", "-"))
        return join(doing, left), doing
    if phase.unit == "bytes":
        counts = short = format_counts(job)
    else:
        short = f"{phase.current:,}/{phase.total:,}"
        counts = f"{short} {UNITS.get(phase.unit, phase.unit)}"
    texts = (
        join(f"{job.message}: {counts}" if job.message else counts, rate, left),
        join(counts, rate, left),
        join(short, rate, left),
        join(short, left),
        short,
    )
    return tuple(dict.fromkeys(texts))


def waiting_texts(job: Job, pause: Pause | None = None) -> tuple[str, ...]:
    """Describe what a job waits for.

    Args:
        job: a pending job.
        pause: what holds it, if anything.
    """
    if pause is not None:
        return (join(f"{pause.what} is paused, it waits for {pause.remedy}", describe_window(job)), pause.remedy)
    return (join(job.message or "queued", describe_window(job)),)


def live_texts(job: Job, pause: Pause | None = None) -> tuple[str, ...]:
    """Describe a job that has not ended, from many words to few."""
    return waiting_texts(job, pause) if job.status is Status.PENDING else progress_texts(job)


def join(*parts: str) -> str:
    """The parts that are not empty, between dots."""
    return SEPARATOR.join(filter(None, parts))
