"""Ends of jobs: noted however a job ends, taken once, forgotten where nobody is to be told."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kbjobs.errors import ExitCode
from kbjobs.store import clocks
from kbjobs.store.history import delete_jobs
from kbjobs.store.job_ends import PendingHook, close_hook, forget_hooks, list_taken_hooks, take_hook
from kbjobs.store.jobs import Limits, NewJob
from kbjobs.store.queue import Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event, Status
from tests.conftest import phase_state


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """The queue of a home whose daemon runs a command after each job."""
    opened = Queue(tmp_path / "state.db")
    opened.describe_daemon(1, "0", runs_on_finish=True)
    yield opened
    opened.close()


def submit(queue: Queue, source: str = "a", until: float | None = None) -> int:
    limits = Limits(until=until)
    return queue.submit(NewJob("t", source, {}, (phase_state(),), (f"source:{source}",), limits=limits)).id


def take_all(queue: Queue) -> list[PendingHook]:
    return list(iter(lambda: take_hook(queue), None))


def run(queue: Queue, event: Event, code: ExitCode) -> None:
    job = submit(queue)
    queue.claim("r")
    queue.finish(job, "r", RunOutcome(event, code, f"it is {event}"))


def die(queue: Queue, max_deaths: int) -> None:
    job = submit(queue)
    queue.claim("r")
    queue.record_death(job, "r", "killed", max_deaths)


WAYS: dict[str, tuple[Callable[[Queue], object], tuple[int, Status, ExitCode, str] | None]] = {
    "done": (
        lambda queue: run(queue, Event.COMPLETE, ExitCode.PARTIAL),
        (1, Status.COMPLETED, ExitCode.PARTIAL, "it is complete"),
    ),
    "failed": (
        lambda queue: run(queue, Event.FAIL, ExitCode.USAGE),
        (1, Status.FAILED, ExitCode.USAGE, "it is fail"),
    ),
    "cancelled before it began": (
        lambda queue: queue.cancel(submit(queue)),
        (0, Status.CANCELLED, ExitCode.CANCELLED, "cancelled before it started"),
    ),
    "too late": (
        lambda queue: (submit(queue, until=1.0), queue.expire_pending()),
        (0, Status.INTERRUPTED, ExitCode.TIME_LIMIT, "time limit reached before it could run"),
    ),
    "died too often": (
        lambda queue: die(queue, 1),
        (1, Status.INTERRUPTED, ExitCode.INTERRUPTED, "its worker died 1 times without progress (killed)"),
    ),
    "goes on": (lambda queue: die(queue, 2), None),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_end_is_noted_once(queue: Queue, way: str) -> None:
    act, expected = WAYS[way]
    act(queue)
    found = [(end.attempt, end.status, end.exit_code, end.summary) for end in take_all(queue)]
    assert found == ([] if expected is None else [expected])
    assert take_hook(queue) is None


def test_an_end_is_that_which_was_whatever_becomes_of_the_job(queue: Queue) -> None:
    run(queue, Event.FAIL, ExitCode.FAILED)
    queue.resume(1)
    queue.claim("s")
    queue.finish(1, "s", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))
    ends = take_all(queue)
    assert [(end.attempt, end.status) for end in ends] == [(1, Status.FAILED), (2, Status.COMPLETED)]
    assert len({end.token for end in ends}) == 2


def test_a_discarded_job_has_not_ended_again(queue: Queue) -> None:
    run(queue, Event.FAIL, ExitCode.FAILED)
    queue.discard(1)
    assert [end.status for end in take_all(queue)] == [Status.FAILED]


def test_nothing_is_noted_where_no_command_is_to_run(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "state.db")
    queue.cancel(submit(queue))  # no daemon was ever there
    queue.describe_daemon(1, "0")
    queue.cancel(submit(queue))
    queue.describe_daemon(1, "0", runs_on_finish=True)
    assert take_hook(queue) is None
    queue.close()


def test_a_taken_end_is_known_until_it_is_closed(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in "ab":
        queue.cancel(submit(queue, source))
    first = take_hook(queue)
    assert first is not None
    [known] = list_taken_hooks(queue)
    assert (known.id, known.token, known.age < 60) == (first.id, first.token, True)
    monkeypatch.setattr(clocks, "boot_id", lambda: "another boot")
    assert list_taken_hooks(queue)[0].age == float("inf")
    forget_hooks(queue)
    assert take_hook(queue) is None
    assert len(list_taken_hooks(queue)) == 1
    close_hook(queue, first)
    assert list_taken_hooks(queue) == []


def test_a_job_that_is_forgotten_takes_its_end_with_it(queue: Queue) -> None:
    jobs = [queue.cancel(submit(queue, source)) for source in "ab"]
    assert delete_jobs(queue, jobs) == 1  # the newest stays
    assert [end.job_id for end in take_all(queue)] == [jobs[1].id]


def take_from(path: Path) -> list[str]:
    queue = Queue(path)
    tokens = [end.token for end in take_all(queue)]
    queue.close()
    return tokens


def test_no_end_is_taken_by_two(queue: Queue, tmp_path: Path) -> None:
    for number in range(60):
        queue.cancel(submit(queue, f"s{number}"))
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        taken = [token for tokens in pool.map(take_from, [tmp_path / "state.db"] * 3) for token in tokens]
    assert (len(taken), len(set(taken))) == (60, 60)
