"""What is asked of the jobs of a home: nothing is written, and what there is not is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ExitCode, NotFoundError, UsageError
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import NewJob
from kbjobs.store.queue import Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event, Status
from tests.conftest import phase_state


@pytest.fixture
def queue(home: Home) -> Iterator[Queue]:
    home.prepare()
    opened = Queue(home.state_file)
    yield opened
    opened.close()


@pytest.fixture
def reader(home: Home, queue: Queue) -> Iterator[JobManager]:
    opened = JobManager(home)
    yield opened
    opened.close()


def submit(queue: Queue, source: str, kind: str = "index_offline", dimension: int | None = 384) -> int:
    new = NewJob(kind, source, {}, (phase_state(kind, kind),), (f"source:{source}",), dimension=dimension)
    return queue.submit(new).id


def test_former_names_find_the_jobs_of_both_types(queue: Queue, reader: JobManager) -> None:
    offline, online = submit(queue, "a"), submit(queue, "b", "index_online", 1536)
    submit(queue, "c", "metadata", None)
    assert [job.id for job in reader.get_job_history(job_type="index")] == [online, offline]
    assert [job.id for job in reader.get_job_history(job_type="index", source_id="a")] == [offline]
    assert reader.get_job_history(job_type="reindex") == []


def test_live_jobs_are_in_the_order_in_which_they_start(queue: Queue, reader: JobManager) -> None:
    first, second = submit(queue, "a"), submit(queue, "b")
    queue.claim("run")
    urgent = queue.submit(NewJob("metadata", "c", {}, (phase_state(),), (), priority=5)).id
    assert [job.id for job in reader.get_active_jobs()] == [first, urgent, second]
    assert [job.id for job in reader.get_active_jobs("b")] == [second]


def test_a_dimension_is_busy_while_a_job_runs_on_it(queue: Queue, reader: JobManager) -> None:
    submit(queue, "a")
    assert reader.get_available_dimensions() == [384, 768, 1024, 1536]  # it only waits
    queue.claim("run")
    assert reader.get_dimension_status()[384] == {"busy": True, "job": 1, "source": "a", "operation": None}
    assert reader.is_dimension_busy(384) and not reader.is_dimension_busy(768)
    assert reader.get_available_dimensions() == [768, 1024, 1536]
    with pytest.raises(UsageError, match="100 is not a dimension") as caught:
        reader.is_dimension_busy(100)
    assert "384, 768, 1024, 1536" in caught.value.hint


def test_logs_are_those_of_attempts(home: Home, queue: Queue, reader: JobManager) -> None:
    job_id = submit(queue, "a")
    with pytest.raises(NotFoundError, match="job 1 has no log of attempt 0") as caught:
        reader.log_file(reader.get_status(job_id))
    assert caught.value.hint == "It has not started yet."
    queue.claim("run")
    home.log_file(job_id, 1).write_text("begun")
    assert reader.log_file(reader.get_status(job_id)).read_text() == "begun"
    with pytest.raises(NotFoundError, match="attempt 2") as caught:
        reader.log_file(reader.get_status(job_id), 2)
    assert caught.value.hint == "It has had 1 attempt."


def test_a_job_without_its_worker_is_dead_and_can_be_resumed(queue: Queue, reader: JobManager) -> None:
    """Nobody holds the lock of its run, and no daemon is there to start it."""
    job_id = submit(queue, "a")
    assert not reader.is_worker_dead(reader.get_status(job_id))
    queue.claim("run")
    assert reader.is_worker_dead(reader.get_status(job_id))
    assert [job.id for job in reader.get_resumable_jobs()] == [job_id]
    queue.finish(job_id, "run", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))
    assert not reader.is_worker_dead(reader.get_status(job_id))
    assert reader.get_resumable_jobs() == []
    assert reader.get_status(job_id).status is Status.COMPLETED
