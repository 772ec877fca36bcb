"""The examples of the former API, with the names they had: what callers have written goes on working."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kbjobs import (
    Checkpoint,
    JobManager,
    JobPhase,
    cleanup_stale_checkpoints,
    delete_checkpoint,
    get_interrupted_jobs,
    get_job_manager,
    load_checkpoint,
    run_combined_job,
    save_checkpoint,
)
from kbjobs.errors import ConflictError
from kbjobs.store.transitions import Status
from tests.conftest import Kbjobs, wait_ended, wait_until

pytestmark = pytest.mark.usefixtures("test_types")


@pytest.fixture
def manager() -> Iterator[JobManager]:
    opened = get_job_manager()
    yield opened
    opened.close()


@pytest.fixture
def functions(test_types: None) -> Any:
    import kbjobs_test_functions

    return kbjobs_test_functions


@pytest.mark.parametrize("job_type", ["index_online", "generate_source", "index", "nightly"])
def test_the_job_type_of_a_function_is_its_label(
    manager: JobManager, functions: Any, kbjobs: Kbjobs, job_type: str
) -> None:
    my_index_function = functions.my_index_function
    job_id = manager.submit(job_type, "my_source", my_index_function, "value1", kwarg1=3)
    status = wait_ended(manager, job_id)
    assert (status.type, status.source, status.status) == (job_type, "my_source", Status.COMPLETED)
    assert status.result == {"status": "success", "indexed": 3}
    assert [job.id for job in manager.get_job_history(limit=50, max_age_days=7, job_type=job_type)] == [job_id]
    assert job_type.replace("_", "-") in kbjobs("history", "--type", job_type).stdout
    by_name = manager.submit(job_type=job_type, source_id="my_source", func=my_index_function, arg1="value1", kwarg1=2)
    assert wait_ended(manager, by_name).result == {"status": "success", "indexed": 2}


def test_one_job_a_source_and_no_duplicates(manager: JobManager, functions: Any, tmp_path: Any) -> None:
    marker = tmp_path / "began"
    waits = functions.works_until_cancelled
    job_id = manager.submit("index_online", "my_source", waits, str(marker))
    with pytest.raises(ConflictError, match=f"job {job_id}"):
        manager.submit("index_online", "my_source", waits, str(marker))
    other = manager.submit("index_online", "my_source", functions.answer)
    wait_until(marker.exists)
    assert [job.id for job in manager.get_active_jobs(source_id="my_source")] == [job_id, other]
    assert manager.get_status(other).status is Status.PENDING
    manager.cancel(job_id)
    assert wait_ended(manager, job_id).status is Status.CANCELLED
    assert wait_ended(manager, other).status is Status.COMPLETED


def test_a_label_takes_nothing_of_what_bears_it_as_a_name(manager: JobManager, functions: Any) -> None:
    """The checkpoint of a chain outlives functions that run under its name."""
    phases: Any = [
        {"name": "metadata", "job": "metadata", "status": "completed"},
        {"name": "index", "job": "index_online"},
    ]
    save_checkpoint(Checkpoint("my_source", "generate_source", phases))
    wait_ended(manager, manager.submit("generate_source", "my_source", functions.answer))
    found = load_checkpoint("my_source", "generate_source")
    assert found is not None
    assert [phase.job for phase in found.phases] == ["metadata", "index_online"]


def test_a_combined_job(functions: Any) -> None:
    phases = [
        JobPhase(name="metadata", func=functions.my_metadata_function, weight=20, args=("my_source",)),
        JobPhase(name="index", func=functions.my_index_function, weight=80, args=("x",), kwargs={"kwarg1": 4}),
    ]
    told: list[int] = []
    result = run_combined_job(
        phases,
        progress_callback=lambda current, total, message: told.append(current),
        cancel_checker=lambda: False,
        source_id="my_source",
        job_type="generate_source",
        resume=True,
    )
    assert result["success"] and result["status"] == "success"
    assert (result["phases_completed"], result["resumed"], result["phases_skipped"]) == (2, False, 0)
    assert [one["phase"] for one in result["phase_results"]] == ["metadata", "index"]
    assert told == sorted(told) and told[-1] == 100


def test_checkpoints(functions: Any) -> None:
    phases = [
        JobPhase("metadata", functions.my_metadata_function, args=("my_source",)),
        JobPhase("index", functions.fails),
    ]
    assert not run_combined_job(phases, None, None, "my_source", "generate_source")["success"]
    checkpoint = load_checkpoint("my_source", "generate_source")
    assert checkpoint is not None
    assert checkpoint.phases_completed == 1
    assert checkpoint.phase_results == [
        {"phase": "metadata", "index": 0, "result": {"source": "my_source", "documents": 3}}
    ]
    assert [one.job_type for one in get_interrupted_jobs()] == ["generate_source"]
    assert cleanup_stale_checkpoints(max_age_days=7) == 0
    assert delete_checkpoint("my_source", "generate_source") is True


def test_a_label_with_dashes_is_that_with_underscores(manager: JobManager, functions: Any) -> None:
    job = wait_ended(manager, manager.submit("index-online", "my_source", functions.answer))
    assert (job.type, job.status) == ("index_online", Status.COMPLETED)
