"""The queue: order, locks, fencing, recovery, cancel and resume, all on a real file."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from kbjobs.errors import ConflictError, ExitCode, NotFoundError, UnavailableError
from kbjobs.store import clocks
from kbjobs.store.history import delete_jobs, list_attempts, old_jobs
from kbjobs.store.jobs import Job, Limits, NewJob
from kbjobs.store.queue import Queue, StaleWorkerError
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event, Status
from tests.conftest import known, phase_state


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    opened = Queue(tmp_path / "state.db")
    yield opened
    opened.close()


def new(source: str = "wiki", priority: int = 0, **params: object) -> NewJob:
    return NewJob("index_offline", source, params, (phase_state(params=params),), (f"source:{source}",), priority)


def claim(queue: Queue, run_id: str) -> Job:
    job = queue.claim(run_id)
    assert job is not None
    return job


def locks(queue: Queue) -> list[tuple[str, int]]:
    return [tuple(row) for row in queue.connection.execute("SELECT resource, job_id FROM locks")]


def test_jobs_are_claimed_by_priority_then_age(queue: Queue) -> None:
    ids = [queue.submit(new(f"s{n}", priority)).id for n, priority in enumerate((0, 5, 0, 5))]
    claimed = [claim(queue, f"run{n}").id for n in range(4)]
    assert claimed == [ids[1], ids[3], ids[0], ids[2]]
    assert queue.claim("late") is None


HOUR = 3600.0


class Clock:
    """The clock since boot and the one on the wall, which a test sets forward, and a boot."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.boot = 1000.0, "boot"
        monkeypatch.setattr(clocks, "since_boot", lambda: self.seconds)
        monkeypatch.setattr(clocks, "boot_id", lambda: self.boot)
        monkeypatch.setattr("kbjobs.store.claims.time.time", lambda: 1e9 + self.seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_each_hour_of_waiting_counts_as_one_more_of_priority(queue: Queue, clock: Clock) -> None:
    old = queue.submit(new("old")).id
    clock.seconds += 2 * HOUR - 1
    higher, lower = queue.submit(new("higher", 2)).id, queue.submit(new("lower", 1)).id
    assert claim(queue, "a").id == higher
    clock.seconds += 2
    higher = queue.submit(new("higher", 2, again=True)).id
    queue.finish(1 + old, "a", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))
    # With two full hours the old one equals the higher one, which goes first; against the lower one it wins.
    assert [claim(queue, f"run{n}").id for n in range(3)] == [higher, old, lower]


def test_no_stream_of_higher_jobs_starves_a_job(queue: Queue, clock: Clock) -> None:
    waiting = queue.submit(new("waiting", -2)).id
    for hour in range(10):
        queue.submit(new(f"s{hour}", 5))
        job = claim(queue, f"run{hour}")
        if job.id == waiting:
            break
        queue.finish(job.id, f"run{hour}", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))
        clock.seconds += HOUR
    assert hour == 8  # a priority of -2 has passed 5 after eight hours


def test_jobs_of_one_priority_keep_their_order_however_long_they_wait(queue: Queue, clock: Clock) -> None:
    ids = []
    for number in range(4):
        ids.append(queue.submit(new(f"s{number}")).id)
        clock.seconds += HOUR
    assert [claim(queue, f"run{n}").id for n in range(4)] == ids


def test_the_waiting_begins_again_with_each_return_to_the_queue(queue: Queue, clock: Clock) -> None:
    """A job that failed long ago and is resumed, and one whose worker died, have not waited meanwhile."""
    resumed, dead = queue.submit(new("resumed")).id, queue.submit(new("dead")).id
    claim(queue, "a")
    queue.finish(resumed, "a", RunOutcome(Event.FAIL, ExitCode.FAILED, "failed"))
    claim(queue, "b")
    clock.seconds += 50 * HOUR
    queue.resume(resumed)
    queue.record_death(dead, "b", "killed", 3)
    higher = queue.submit(new("higher", 1)).id
    assert [claim(queue, f"run{n}").id for n in range(3)] == [higher, resumed, dead]


def test_a_job_waits_from_its_requested_start(queue: Queue, clock: Clock) -> None:
    later = queue.submit(replace(new("later"), limits=Limits(not_before=1e9 + clock.seconds + 10 * HOUR))).id
    clock.seconds += 10 * HOUR + 1
    higher = queue.submit(new("higher", 1)).id
    assert [claim(queue, f"run{n}").id for n in range(2)] == [higher, later]


def test_a_job_from_before_a_reboot_has_waited_since(queue: Queue, clock: Clock) -> None:
    old = queue.submit(new("old")).id
    clock.seconds, clock.boot = 2 * HOUR, "another"
    higher = queue.submit(new("higher", 1)).id
    assert [claim(queue, f"run{n}").id for n in range(2)] == [old, higher]


def test_a_held_job_lets_others_of_its_priority_pass(queue: Queue, clock: Clock) -> None:
    first = queue.submit(new("busy", 1)).id
    claim(queue, "a")
    blocked, free = queue.submit(new("busy", 1, again=True)).id, queue.submit(new("free", 1)).id
    lower = queue.submit(new("lower")).id
    assert [claim(queue, f"run{n}").id for n in range(2)] == [free, lower]
    queue.finish(first, "a", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))
    assert claim(queue, "last").id == blocked


def test_a_claim_of_a_type_passes_over_nothing(queue: Queue) -> None:
    queue.submit(new("a"))
    queue.submit(replace(new("b"), type="metadata"))
    assert queue.claim("run", job_type="metadata") is None
    assert known(queue.claim("run", job_type="index_offline")).source == "a"
    assert known(queue.claim("other", job_type="metadata")).source == "b"


def test_a_job_past_its_end_is_not_claimed(queue: Queue, clock: Clock) -> None:
    queue.submit(replace(new(), limits=Limits(until=1e9 + clock.seconds + 1)))
    clock.seconds += 2
    assert queue.claim("run") is None


def test_a_claim_alone_is_not_synced_and_all_that_follows_is(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time: SQLite takes the level while it prepares the statement, which a cache prepares once."""
    asked = count()

    def level() -> int:
        return int(queue.connection.execute(f"PRAGMA synchronous -- {next(asked)}").fetchone()[0])

    levels: list[int] = []
    now_text = clocks.now_text

    def recorded() -> str:
        levels.append(level())
        return now_text()

    ids = [queue.submit(new(f"s{n}")).id for n in range(3)]
    monkeypatch.setattr(clocks, "now_text", recorded)
    for n, job_id in enumerate(ids):
        assert claim(queue, f"run{n}").id == job_id
        queue.finish(job_id, f"run{n}", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))
        assert (levels, level()) == ([1, 2], 2)
        levels.clear()
    assert queue.claim("none") is None
    assert (levels, level()) == ([1], 2)


def test_one_running_job_per_source_and_a_waiting_one_blocks_nobody(queue: Queue) -> None:
    first, second, other = queue.submit(new()), queue.submit(new(force=True)), queue.submit(new("maps"))
    assert claim(queue, "a").id == first.id
    assert claim(queue, "b").id == other.id
    assert queue.claim("c") is None
    queue.finish(first.id, "a", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))
    assert claim(queue, "c").id == second.id
    assert locks(queue) == [("source:maps", other.id), ("source:wiki", second.id)]


def test_the_database_itself_refuses_a_second_lock(queue: Queue) -> None:
    queue.submit(new())
    claim(queue, "a")
    with pytest.raises(sqlite3.IntegrityError):
        queue.connection.execute("INSERT INTO locks VALUES ('source:wiki', 1, 'b')")


def test_the_same_job_is_refused_while_it_lives(queue: Queue) -> None:
    first = queue.submit(new(model="m"))
    with pytest.raises(ConflictError, match=f"job {first.id}"):
        queue.submit(new(model="m"))
    claim(queue, "a")
    with pytest.raises(ConflictError, match="running"):
        queue.submit(new(model="m"))
    queue.finish(first.id, "a", RunOutcome(Event.FAIL, ExitCode.FAILED, "no"))
    assert queue.submit(new(model="m")).id == first.id + 1


def test_ids_are_never_reused(queue: Queue) -> None:
    finished = [queue.submit(new(source)) for source in ("a", "b", "c")]
    for job in finished:
        queue.cancel(job.id)
    queue.connection.execute("UPDATE jobs SET finished_at = '2020-01-01T00:00:00Z'")
    assert delete_jobs(queue, old_jobs(queue, days=1)) == 2
    assert delete_jobs(queue, finished) == 0  # the newest stays, so that its id cannot come again
    assert queue.submit(new()).id == finished[-1].id + 1


def test_a_worker_that_was_declared_dead_changes_nothing(queue: Queue) -> None:
    job = queue.submit(new())
    claim(queue, "dead")
    queue.record_death(job.id, "dead", "killed", max_deaths=3)
    claim(queue, "heir")
    before = queue.get(job.id)
    with pytest.raises(StaleWorkerError):
        queue.record_progress(job.id, "dead", 0, 1.0)
    with pytest.raises(StaleWorkerError):
        queue.finish(job.id, "dead", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))
    with pytest.raises(StaleWorkerError):
        queue.release(job.id, "dead")
    assert queue.record_death(job.id, "dead", "again", max_deaths=1) is None
    assert queue.get(job.id) == before
    assert locks(queue) == [("source:wiki", job.id)]


def test_deaths_without_progress_are_capped_and_progress_starts_the_count_anew(queue: Queue) -> None:
    job = queue.submit(new())
    for attempt in (1, 2):
        claim(queue, f"run{attempt}")
        died = queue.record_death(job.id, f"run{attempt}", "killed", max_deaths=3)
        assert died is not None
        assert died.status is Status.PENDING
    claim(queue, "moved")
    queue.record_progress(job.id, "moved", 10, 1.0)
    died = queue.record_death(job.id, "moved", "killed", max_deaths=3)
    assert died is not None
    assert died.status is Status.PENDING
    statuses = []
    for attempt in (4, 5, 6):
        claim(queue, f"run{attempt}")
        died = queue.record_death(job.id, f"run{attempt}", "killed", max_deaths=3)
        assert died is not None
        statuses.append(died.status)
    assert statuses == [Status.PENDING, Status.PENDING, Status.INTERRUPTED]
    ended = queue.get(job.id)
    assert ended.exit_code == ExitCode.INTERRUPTED
    assert [attempt.outcome for attempt in list_attempts(queue, job.id)] == ["requeue"] * 5 + ["interrupt"]
    assert locks(queue) == []


def test_a_wish_to_cancel_outlives_the_death_of_the_worker(queue: Queue) -> None:
    job = queue.submit(new())
    claim(queue, "a")
    assert queue.cancel(job.id).status is Status.RUNNING
    assert queue.record_progress(job.id, "a", 0, 1.0) is True
    died = queue.record_death(job.id, "a", "killed", max_deaths=3)
    assert died is not None
    assert (died.status, died.exit_code) == (Status.CANCELLED, ExitCode.CANCELLED)
    assert queue.claim("b") is None


def test_a_pending_job_is_cancelled_at_once(queue: Queue) -> None:
    job = queue.submit(new())
    assert queue.cancel(job.id).status is Status.CANCELLED
    assert queue.cancel(job.id).status is Status.CANCELLED
    assert queue.claim("a") is None


def test_an_ended_job_cannot_be_cancelled(queue: Queue) -> None:
    job = queue.submit(new())
    claim(queue, "a")
    queue.finish(job.id, "a", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))
    with pytest.raises(ConflictError, match="completed"):
        queue.cancel(job.id)


def test_resume_keeps_the_id_and_adds_an_attempt(queue: Queue) -> None:
    job = queue.submit(new())
    claim(queue, "a")
    queue.finish(job.id, "a", RunOutcome(Event.FAIL, ExitCode.FAILED, "no", "no"))
    resumed = queue.resume(job.id)
    assert (resumed.id, resumed.status, resumed.error, resumed.exit_code) == (job.id, Status.PENDING, None, None)
    assert claim(queue, "b").attempt == 2
    with pytest.raises(ConflictError, match="running"):
        queue.resume(job.id)


def test_resume_is_refused_while_the_same_job_lives(queue: Queue) -> None:
    job = queue.submit(new())
    queue.cancel(job.id)
    queue.submit(new())
    with pytest.raises(ConflictError):
        queue.resume(job.id)
    assert queue.get(job.id).status is Status.CANCELLED


def test_release_is_no_death(queue: Queue) -> None:
    job = queue.submit(new())
    for attempt in range(5):
        claim(queue, f"run{attempt}")
        queue.release(job.id, f"run{attempt}")
    assert queue.get(job.id).status is Status.PENDING
    assert locks(queue) == []


def test_unknown_job(queue: Queue) -> None:
    with pytest.raises(NotFoundError):
        queue.get(7)


def _claim_all(path: Path, name: str, results: multiprocessing.Queue[list[int]]) -> None:
    queue = Queue(path)
    claimed: list[int] = []
    while (job := queue.claim(f"{name}-{len(claimed)}")) is not None:
        claimed.append(job.id)
    results.put(claimed)


def test_two_racing_claimers_never_take_the_same_job(tmp_path: Path) -> None:
    path = tmp_path / "race.db"
    queue = Queue(path)
    ids = [queue.submit(new(f"s{n}")).id for n in range(120)]
    queue.close()
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[list[int]] = context.Queue()
    racers = [context.Process(target=_claim_all, args=(path, name, results)) for name in ("a", "b", "c")]
    for racer in racers:
        racer.start()
    claimed = [job_id for _ in racers for job_id in results.get(timeout=60)]
    for racer in racers:
        racer.join()
    assert sorted(claimed) == ids


def test_a_damaged_file_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Queue(path).close()
    broken = b"SQLite format 3\0" + b"\xff" * 5000
    path.write_bytes(broken)
    with pytest.raises(UnavailableError, match="damaged"):
        Queue(path)
    assert path.read_bytes() == broken
    path.write_bytes(b"not a database at all, but long enough to have a header" * 100)
    with pytest.raises(UnavailableError, match="damaged"):
        Queue(path)


def test_a_newer_file_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Queue(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UnavailableError, match="newer kbjobs"):
        Queue(path)
    assert path.read_bytes() == before


def test_files_are_private(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "state.db")
    queue.submit(new())
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.glob("state.db*")}
    assert {"state.db", "state.db-wal", "state.db-shm"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_opening_recovers_nothing(queue: Queue) -> None:
    job = queue.submit(new())
    claim(queue, "a")
    before = queue.get(job.id)
    again = Queue(queue.path)
    assert again.get(job.id) == before
    again.close()


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    with pytest.raises(UnavailableError, match="empty"):
        Queue(path)
    assert path.stat().st_size == 0


def test_a_creation_cut_short_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    (tmp_path / "state.db.new").write_bytes(b"half made")
    (tmp_path / "state.db.new-wal").write_bytes(b"half made")
    queue = Queue(path)
    assert queue.submit(new()).id == 1
    queue.close()
