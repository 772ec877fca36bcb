"""Kills in and between the phases of a chain: each completes once, and is begun once more for each kill in it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kbjobs.chains.chain import Chain, ChainPhase
from kbjobs.config.home import Home
from kbjobs.phases.registry import job_type
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.jobs import Job
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import known, rest_full, wait_ended, wait_until, write_pages

pytestmark = [pytest.mark.usefixtures("test_types"), pytest.mark.processes]
PHASES = 6
STEPS = 12
SECONDS = 0.05


@pytest.fixture
def manager(home: Home, tmp_path: Path, test_types: None) -> Iterator[JobManager]:
    register(home, "a", [write_pages(tmp_path / "pages", 1)])
    opened = JobManager(home)
    yield opened
    opened.close()


def chain(seconds: float = SECONDS, name: str = "six", **changed: dict[str, Any]) -> Chain:
    """Six phases of steps; ``changed``: other parameters of the phase of that name."""
    kind = job_type("steps")
    phases = []
    for number in range(PHASES):
        params = {"count": STEPS, "seconds": seconds, "number": number, **changed.get(f"p{number}", {})}
        phases.append(ChainPhase(kind, f"p{number}", kind.params.model_validate(params), number + 1.0))
    return Chain(name, tuple(phases))


def submit(manager: JobManager, chain: Chain, resume: bool = False) -> int:
    return manager.enqueue([manager.plan(chain, "a", resume=resume)])[0].id


def rows(manager: JobManager, question: str) -> list[tuple[Any, ...]]:
    import kbjobs_test_types

    ledger = kbjobs_test_types.open_ledger(manager.home.sources / "a")
    found = [tuple(row) for row in ledger.execute(question)]
    ledger.close()
    return found


def steps_of(manager: JobManager, number: int) -> int:
    return rows(manager, f"SELECT count(*) FROM steps WHERE number = {number}")[0][0]


def state_of(job: Job) -> list[tuple[Any, ...]]:
    """What does not depend on times."""
    return [(phase.name, phase.status, phase.result, phase.weight) for phase in job.phases]


def test_a_kill_in_the_middle_of_each_phase(manager: JobManager) -> None:
    undisturbed = wait_ended(manager, submit(manager, chain(0.0, "other")))
    job_id = submit(manager, chain())
    seen = [0.0]
    for number in range(PHASES):
        wait_until(lambda n=number: steps_of(manager, n) > STEPS + 2)
        job = manager.get_status(job_id)
        assert job.pid is not None
        seen.append(job.progress)
        os.kill(job.pid, 9)
        wait_until(lambda before=job.attempt: manager.get_status(job_id).attempt > before)
    job = wait_ended(manager, job_id)
    assert (job.status, job.exit_code, job.attempt, job.progress) == (Status.COMPLETED, 0, PHASES + 1, 100.0)
    assert seen == sorted(seen)
    assert state_of(job) == state_of(undisturbed)
    assert job.result == undisturbed.result
    runs = Counter(rows(manager, f"SELECT number, what FROM runs WHERE job = {job_id}"))
    assert runs == {(n, "begins"): 2 for n in range(PHASES)} | {(n, "ends"): 1 for n in range(PHASES)}
    steps = rows(manager, f"SELECT number, step FROM steps WHERE job = {job_id} ORDER BY number, step")
    assert steps == [(n, step) for n in range(PHASES) for step in range(STEPS)]
    assert manager.get_checkpoint("six", "a") is None


@pytest.mark.parametrize(
    ("point", "begun"), rest_full([("phase.before_record", 2), ("phase.recorded", 1)], ("phase.recorded", 1))
)
def test_a_kill_between_each_pair_of_phases(
    manager: JobManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, begun: int
) -> None:
    """Killed before the end of a phase is on record it is run again; afterwards it is not."""
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    job_id = submit(manager, chain())
    for number in range(PHASES - 1):
        wait_until(marker.exists)
        wait_until(lambda n=number: manager.get_status(job_id).phases[n].status == "completed")
        checkpoint = manager.get_checkpoint("six", "a")
        assert checkpoint is not None
        assert [known(phase.result)["number"] for phase in checkpoint.completed] == list(range(number + 1))
        marker.unlink()
    job = wait_ended(manager, job_id)
    assert (job.status, job.attempt) == (Status.COMPLETED, PHASES)
    runs = Counter(rows(manager, "SELECT number FROM runs WHERE what = 'begins'"))
    assert runs == {(n,): begun if n < PHASES - 1 else 1 for n in range(PHASES)}
    assert [known(phase.result)["number"] for phase in job.phases] == list(range(PHASES))
    assert manager.get_checkpoint("six", "a") is None


@pytest.mark.full
def test_a_cancel_in_each_phase_and_resume_by_another_job(manager: JobManager) -> None:
    resume = False
    for number in range(PHASES):
        planned = manager.plan(chain(), "a", resume=resume)
        assert ("Going on from the checkpoint" in " ".join(planned.notes)) == resume
        job_id = manager.enqueue([planned])[0].id
        job = manager.get_status(job_id)
        done = [phase.status == "completed" for phase in job.phases]
        assert done == [n < number - 1 for n in range(PHASES)]
        wait_until(lambda j=job_id, n=number: rows(manager, f"SELECT 1 FROM steps WHERE job = {j} AND number = {n}"))
        manager.cancel(job_id)
        assert wait_ended(manager, job_id).status is Status.CANCELLED
        resume = True
    last = submit(manager, chain(), resume=True)
    job = wait_ended(manager, last)
    assert (job.status, job.exit_code) == (Status.COMPLETED, 0)
    assert [known(phase.result)["number"] for phase in job.phases] == list(range(PHASES))
    assert [phase.is_skipped for phase in job.phases] == [True] * (PHASES - 1) + [False]
    assert job.result == {"phases": 6, "completed": 6, "skipped": 5, "failed_phases": [], "failed": 0}
    runs = Counter(rows(manager, "SELECT number, what FROM runs"))
    assert runs == {(n, "begins"): 2 for n in range(PHASES)} | {(n, "ends"): 1 for n in range(PHASES)}
    assert manager.get_checkpoint("six", "a") is None


def test_the_checkpoint_inside_a_phase_outlives_kill_and_cancel(
    manager: JobManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phase that knows only its checkpoint repeats nothing, in its own job and in another one."""
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"checkpoint.saved:{marker}")
    remembering = chain(p0={"remember": True})
    first = submit(manager, remembering)
    wait_until(lambda: manager.get_status(first).attempt == 2)
    wait_until(lambda: steps_of(manager, 0) >= 3)
    manager.cancel(first)
    assert wait_ended(manager, first).status is Status.CANCELLED
    done = steps_of(manager, 0)
    assert done < STEPS
    second = submit(manager, remembering, resume=True)
    assert wait_ended(manager, second).status is Status.COMPLETED
    steps = rows(manager, "SELECT step FROM steps WHERE number = 0 ORDER BY rowid")
    assert steps == [(step,) for step in range(STEPS)]


def test_a_start_without_resume_puts_the_old_checkpoint_aside(manager: JobManager) -> None:
    broken = chain(0.0, p2={"fail": True})
    assert wait_ended(manager, submit(manager, broken)).status is Status.FAILED
    checkpoint = manager.get_checkpoint("six", "a")
    assert checkpoint is not None
    assert [phase.name for phase in checkpoint.completed] == ["p0", "p1"]
    (manager.home.sources / "a" / "mended").touch()
    planned = manager.plan(broken, "a")
    assert "2 of 6 phases done" in planned.notes[0]
    assert "submit it with --resume" in planned.notes[0]
    job = wait_ended(manager, manager.enqueue([planned])[0].id)
    assert job.status is Status.COMPLETED
    assert Counter(rows(manager, "SELECT number FROM runs WHERE what = 'ends'"))[(0,)] == 2
