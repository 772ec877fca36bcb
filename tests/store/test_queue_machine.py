"""A Hypothesis state machine over the real queue against a simple model.

Submit, claim, progress, finish, cancel, pause, crash, recover, resume, time passing, and two daemons racing: whatever
the order, no job is lost, none runs twice, none is revived against the user's request, none begins under a pause, no
source has two, and each end is noted once.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule

from kbjobs.errors import ConflictError, ExitCode
from kbjobs.store import clocks
from kbjobs.store.history import list_attempts
from kbjobs.store.jobs import Limits, NewJob
from kbjobs.store.pauses import end_pause, held_jobs, put_pause
from kbjobs.store.queue import DuplicateJobError, Queue, StaleWorkerError
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event, Status
from tests.conftest import FACTOR, phase_state

SOURCES = ("a", "b", "c")
MAX_DEATHS = 2


@dataclass
class Model:
    """What a job should be, told in the plainest way."""

    id: int
    source: str
    params: int
    priority: int
    not_before: float
    until: float | None
    status: Status = Status.PENDING
    run: str | None = None
    cancel: bool = False
    pause: bool = False
    deaths: int = 0
    saved: int = 0
    saved_at_claim: int = 0
    retry_at: float = 0.0
    attempts: int = 0
    is_within: bool = False
    runs: set[str] = field(default_factory=set)

    @property
    def key(self) -> tuple[str, int]:
        return (self.source, self.params)

    @property
    def lives(self) -> bool:
        return self.status in (Status.PENDING, Status.RUNNING)


class QueueMachine(RuleBasedStateMachine):
    """Two connections stand for two daemons (and their clients) on one file."""

    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.queues = [Queue(self.folder / "state.db"), Queue(self.folder / "state.db")]
        for queue in self.queues:
            queue.set_durability("OFF")
        self.queues[0].describe_daemon(1, "0", runs_on_finish=True)
        self.jobs: dict[int, Model] = {}
        self.count = 0
        self.pauses: set[str | None] = set()
        self.ended: set[int] = set()
        self.ends = 0
        self.now = 1000.0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(time, "time", lambda: self.now)
        self.patch.setattr(clocks, "since_boot", lambda: self.now)
        self.patch.setattr(clocks, "boot_id", lambda: "boot")

    def teardown(self) -> None:
        self.patch.undo()
        for queue in self.queues:
            queue.close()
        shutil.rmtree(self.folder)

    def running(self, run: str) -> Model | None:
        return next((job for job in self.jobs.values() if job.run == run), None)

    def is_held(self, job: Model) -> bool:
        return bool(self.pauses & {None, job.source})

    @rule(which=st.integers(0, 1), source=st.sampled_from([None, *SOURCES]), stop_running=st.booleans())
    def pause(self, which: int, source: str | None, stop_running: bool) -> None:
        held = put_pause(self.queues[which], source, stop_running)
        assert held.is_new == (source not in self.pauses)
        self.pauses.add(source)
        meant = [job for job in self.jobs.values() if job.lives and source in (None, job.source)]
        for job in meant:
            job.pause = job.pause or (stop_running and job.status is Status.RUNNING)
        assert set(held.waiting) == {job.id for job in meant if job.status is Status.PENDING}
        assert set(held.stopping) == {job.id for job in meant if job.pause}

    @rule(which=st.integers(0, 1), source=st.sampled_from([None, *SOURCES]))
    def unpause(self, which: int, source: str | None) -> None:
        ended = end_pause(self.queues[which], source)
        assert (ended is not None) == (source in self.pauses)
        self.pauses.discard(source)
        for job in self.jobs.values():
            job.pause = job.pause and self.is_held(job)

    @rule(
        which=st.integers(0, 1),
        source=st.sampled_from(SOURCES),
        params=st.integers(0, 1),
        priority=st.integers(-1, 1),
        wait=st.sampled_from([0, 0, 5]),
        limit=st.sampled_from([None, None, 8]),
    )
    def submit(self, which: int, source: str, params: int, priority: int, wait: int, limit: int | None) -> None:
        limits = Limits(not_before=self.now + wait, until=None if limit is None else self.now + limit)
        new = NewJob(
            "t",
            source,
            {"p": params},
            (phase_state(params={"p": params}),),
            (f"source:{source}",),
            priority,
            limits=limits,
        )
        twin = next((job for job in self.jobs.values() if job.lives and job.key == (source, params)), None)
        try:
            job = self.queues[which].submit(new)
        except DuplicateJobError as error:
            assert (twin.id if twin else None) == error.job_id  # noqa: PT017
            return
        assert twin is None
        assert job.id == max(self.jobs, default=0) + 1
        self.jobs[job.id] = Model(job.id, source, params, priority, self.now + wait, limits.until)

    @rule(target=runs, which=st.integers(0, 1))
    def claim(self, which: int) -> Any:
        self.count += 1
        run = f"run{self.count}"
        busy = {job.source for job in self.jobs.values() if job.status is Status.RUNNING}
        due = [
            job
            for job in self.jobs.values()
            if job.status is Status.PENDING
            and job.source not in busy
            and max(job.not_before, job.retry_at) <= self.now
            and not self.is_held(job)
        ]
        expected = min(due, key=lambda job: (-job.priority, job.id), default=None)
        claimed = self.queues[which].claim(run)
        assert (claimed.id if claimed else None) == (expected.id if expected else None)
        if expected is None:
            return multiple()
        expected.attempts += not expected.is_within
        expected.is_within = True
        expected.status, expected.run, expected.saved_at_claim = Status.RUNNING, run, expected.saved
        expected.retry_at = 0.0
        expected.runs.add(run)
        return run

    @rule(which=st.integers(0, 1), run=runs, steps=st.integers(0, 2))
    def progress(self, which: int, run: str, steps: int) -> None:
        job = self.running(run)
        saved = (job.saved if job else 99) + steps
        known = next(one for one in self.jobs.values() if run in one.runs)
        try:
            wish = self.queues[which].record_progress(known.id, run, saved, 1.0)
        except StaleWorkerError:
            assert job is None
            return
        assert job is not None
        assert wish == (job.cancel or job.pause)
        job.saved += steps

    @rule(
        which=st.integers(0, 1),
        run=runs,
        event=st.sampled_from([Event.COMPLETE, Event.FAIL, Event.EXPIRE, Event.CANCEL]),
    )
    def finish(self, which: int, run: str, event: Event) -> None:
        job = self.running(run)
        known = next(one for one in self.jobs.values() if run in one.runs)
        try:
            self.queues[which].finish(known.id, run, RunOutcome(event, ExitCode.DONE, ""))
        except StaleWorkerError:
            assert job is None
            return
        assert job is not None
        job.run, job.is_within = None, False
        job.status = {
            Event.COMPLETE: Status.COMPLETED,
            Event.FAIL: Status.FAILED,
            Event.EXPIRE: Status.INTERRUPTED,
            Event.CANCEL: Status.CANCELLED,
        }[event]

    @rule(which=st.integers(0, 1), run=runs)
    def postpone(self, which: int, run: str) -> None:
        job = self.running(run)
        known = next(one for one in self.jobs.values() if run in one.runs)
        try:
            self.queues[which].postpone(known.id, run, 4, "busy", 0)
        except StaleWorkerError:
            assert job is None
            return
        assert job is not None
        job.run, job.deaths, job.is_within = None, 0, False
        if job.cancel:
            job.status = Status.CANCELLED
        else:
            job.status, job.retry_at = Status.PENDING, self.now + 4

    @rule(which=st.integers(0, 1), run=runs)
    def wait(self, which: int, run: str) -> None:
        """The job has nothing to do for a while: the same attempt goes on later."""
        job = self.running(run)
        known = next(one for one in self.jobs.values() if run in one.runs)
        try:
            self.queues[which].wait(known.id, run, 3, "waiting for a sign", 0)
        except StaleWorkerError:
            assert job is None
            return
        assert job is not None
        job.run, job.deaths = None, 0
        if job.cancel:
            job.status, job.is_within = Status.CANCELLED, False
        else:
            job.status, job.retry_at = Status.PENDING, self.now + 3
        assert self.queues[which].get(job.id).is_waiting == (not job.cancel)

    @rule(which=st.integers(0, 1), run=runs)
    def crash(self, which: int, run: str) -> None:
        """The worker is proven dead; both daemons may say so, one after the other."""
        job = self.running(run)
        known = next(one for one in self.jobs.values() if run in one.runs)
        died = self.queues[which].record_death(known.id, run, "killed", MAX_DEATHS)
        assert self.queues[1 - which].record_death(known.id, run, "killed", MAX_DEATHS) is None
        if job is None:
            assert died is None
            return
        job.run, job.is_within = None, False
        job.deaths = 0 if job.saved > job.saved_at_claim else job.deaths + (not job.pause or job.cancel)
        if job.cancel:
            job.status = Status.CANCELLED
        elif job.until is not None and job.until <= self.now:
            job.status = Status.INTERRUPTED
        elif job.pause:
            job.status = Status.PENDING
        else:
            job.status = Status.INTERRUPTED if job.deaths >= MAX_DEATHS else Status.PENDING

    @rule(which=st.integers(0, 1), run=runs)
    def release(self, which: int, run: str) -> None:
        job = self.running(run)
        known = next(one for one in self.jobs.values() if run in one.runs)
        try:
            self.queues[which].release(known.id, run)
        except StaleWorkerError:
            assert job is None
            return
        assert job is not None
        job.status, job.run = Status.CANCELLED if job.cancel else Status.PENDING, None
        job.is_within = False

    @precondition(lambda self: self.jobs)
    @rule(which=st.integers(0, 1), data=st.data())
    def cancel(self, which: int, data: st.DataObject) -> None:
        job = self.jobs[data.draw(st.sampled_from(sorted(self.jobs)))]
        try:
            self.queues[which].cancel(job.id)
        except ConflictError:
            assert not job.lives
            assert job.status is not Status.CANCELLED
            return
        if job.status is Status.PENDING:
            job.status, job.is_within = Status.CANCELLED, False
        elif job.status is Status.RUNNING:
            job.cancel = True

    @precondition(lambda self: self.jobs)
    @rule(which=st.integers(0, 1), data=st.data(), from_start=st.booleans())
    def resume(self, which: int, data: st.DataObject, from_start: bool) -> None:
        job = self.jobs[data.draw(st.sampled_from(sorted(self.jobs)))]
        twin = any(other.lives and other.key == job.key for other in self.jobs.values() if other is not job)
        possible = not job.lives and (from_start or job.status is not Status.COMPLETED)
        try:
            self.queues[which].resume(job.id, from_start=from_start)
        except ConflictError:
            assert twin or not possible
            return
        assert possible
        assert not twin
        job.status, job.cancel, job.deaths, job.retry_at = Status.PENDING, False, 0, 0.0
        if job.until is not None and job.until <= self.now:
            job.until = None
        if from_start:
            job.saved = 0

    @rule(seconds=st.integers(1, 6), which=st.integers(0, 1))
    def time_passes(self, seconds: int, which: int) -> None:
        self.now += seconds
        expired = self.queues[which].expire_pending()
        due = [job for job in self.jobs.values() if job.status is Status.PENDING and job.until is not None]
        late = [job for job in due if job.until is not None and job.until <= self.now]
        assert sorted(expired) == sorted(job.id for job in late)
        for job in late:
            job.status, job.is_within = Status.INTERRUPTED, False

    @invariant()
    def the_queue_is_as_the_model(self) -> None:
        execute = self.queues[0].connection.execute
        rows = {row["id"]: row for row in execute("SELECT * FROM jobs")}
        assert set(rows) == set(self.jobs)
        for job in self.jobs.values():
            row = rows[job.id]
            job.pause = job.pause and job.status is Status.RUNNING
            assert bool(row["pause_requested"]) == job.pause
            assert (row["status"], row["run_id"]) == (job.status, job.run)
            if job.status is Status.RUNNING:
                assert row["deaths"] == job.deaths
        waiting = {job.id for job in self.jobs.values() if job.status is Status.PENDING and self.is_held(job)}
        assert held_jobs(self.queues[0]).keys() == waiting
        ended = {job.id for job in self.jobs.values() if not job.lives}
        self.ends += len(ended - self.ended)
        self.ended = ended
        assert execute("SELECT count(*) FROM ends").fetchone()[0] == self.ends
        held = {(row["resource"], row["run_id"]) for row in execute("SELECT * FROM locks")}
        assert held == {(f"source:{job.source}", job.run) for job in self.jobs.values() if job.run}
        for job in self.jobs.values():
            outcomes = [attempt.outcome for attempt in list_attempts(self.queues[0], job.id)]
            assert len(outcomes) == job.attempts
            assert None not in outcomes[:-1]
            assert (None in outcomes) == job.is_within


QueueMachine.TestCase.settings = settings(
    max_examples=120 * FACTOR, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestQueueMachine = pytest.mark.slow(pytest.mark.long(QueueMachine.TestCase))
