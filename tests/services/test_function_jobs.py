"""run_combined_job and the checkpoint functions: what callers get in each case, with and without resume."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest

from kbjobs import (
    Checkpoint,
    JobPhase,
    cleanup_stale_checkpoints,
    delete_checkpoint,
    get_interrupted_jobs,
    load_checkpoint,
    run_combined_job,
    save_checkpoint,
)
from kbjobs.config.home import Home
from kbjobs.errors import UsageError
from kbjobs.store.phase_state import PhaseStatus
from kbjobs.store.queue import Queue

pytestmark = pytest.mark.usefixtures("home")


class Work:
    """Functions that note their calls; the second one fails while it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_broken = False
        self.is_cancelled = False

    def first(self, pages: int, progress_callback: Any, cancel_checker: Any) -> dict[str, int]:
        self.calls.append("first")
        progress_callback(1, 2, "half of the first")
        return {"pages": pages}

    def second(self, progress_callback: Any, cancel_checker: Any) -> dict[str, bool]:
        self.calls.append("second")
        if self.is_broken:
            raise RuntimeError("the disk has gone")
        progress_callback(50)
        if cancel_checker():
            return {"stopped": True}
        return {"ok": True}

    def third(self) -> int:
        self.calls.append("third")
        return 3

    @property
    def phases(self) -> list[JobPhase]:
        return [
            JobPhase("first", self.first, weight=20, args=(7,)),
            JobPhase("second", self.second, weight=60),
            JobPhase("third", self.third, weight=20),
        ]


@pytest.fixture
def work() -> Work:
    return Work()


def test_success(work: Work, home: Home) -> None:
    reports: list[tuple[int, int, str]] = []
    result = run_combined_job(work.phases, lambda *report: reports.append(report), lambda: False)
    assert result == {
        "success": True,
        "status": "success",
        "phases_completed": 3,
        "phase_results": [
            {"phase": "first", "index": 0, "result": {"pages": 7}},
            {"phase": "second", "index": 1, "result": {"ok": True}},
            {"phase": "third", "index": 2, "result": {"value": 3}},
        ],
        "message": "3 phases done",
        "resumed": False,
        "phases_skipped": 0,
    }
    assert (10, 100, "half of the first") in reports
    assert reports[-1][0] == 100
    assert [percent for percent, _, _ in reports] == sorted(percent for percent, _, _ in reports)
    assert not home.state_file.exists()  # no checkpoint was asked for


def test_failure_and_resume(work: Work) -> None:
    work.is_broken = True
    result = run_combined_job(work.phases, None, None, "wiki", "custom")
    assert {**result, "message": ""} == {
        "success": False,
        "status": None,
        "phases_completed": 1,
        "phase_results": [{"phase": "first", "index": 0, "result": {"pages": 7}}],
        "message": "",
        "resumed": False,
        "phases_skipped": 0,
        "current_phase": 1,
        "phase_name": "second",
        "error": "the disk has gone",
    }
    assert "second failed" in result["message"]
    assert [(one.source_id, one.job_type) for one in get_interrupted_jobs()] == [("wiki", "custom")]
    work.is_broken = False
    resumed = run_combined_job(work.phases, None, None, "wiki", "custom", resume=True)
    assert work.calls == ["first", "second", "second", "third"]
    assert (resumed["success"], resumed["resumed"], resumed["phases_skipped"]) == (True, True, 1)
    assert (resumed["phases_completed"], resumed["phase_results"][0]["result"]) == (3, {"pages": 7})
    assert load_checkpoint("wiki", "custom") is None


def test_cancel_and_resume(work: Work) -> None:
    result = run_combined_job(work.phases, None, lambda: len(work.calls) == 2, "wiki", "custom")
    assert (result["success"], result["status"], result["phases_completed"]) == (False, "cancelled", 1)
    assert "error" not in result
    resumed = run_combined_job(work.phases, None, None, "wiki", "custom", resume=True)
    assert work.calls == ["first", "second", "second", "third"]
    assert resumed["success"]


def test_a_wish_to_cancel_between_two_phases_is_heard(work: Work) -> None:
    result = run_combined_job(work.phases, None, lambda: len(work.calls) == 1)
    assert (result["status"], work.calls) == ("cancelled", ["first"])


def test_without_resume_it_starts_from_the_beginning(work: Work) -> None:
    work.is_broken = True
    run_combined_job(work.phases, None, None, "wiki", "custom")
    work.is_broken = False
    assert run_combined_job(work.phases, None, None, "wiki", "custom")["phases_skipped"] == 0
    assert work.calls == ["first", "second", "first", "second", "third"]


def test_resume_without_a_checkpoint_starts_from_the_beginning(work: Work) -> None:
    result = run_combined_job(work.phases, None, None, "wiki", "custom", resume=True)
    assert (result["success"], result["resumed"], result["phases_skipped"]) == (True, False, 0)


def test_phases_that_were_changed_are_not_resumed(work: Work) -> None:
    work.is_broken = True
    run_combined_job(work.phases, None, None, "wiki", "custom")
    with pytest.raises(UsageError, match="differ from those of its checkpoint"):
        run_combined_job(work.phases[1:], None, None, "wiki", "custom", resume=True)


def test_a_job_that_had_done_all_is_told_as_done(work: Work) -> None:
    work.is_broken = True
    run_combined_job(work.phases, None, None, "wiki", "custom")
    found = load_checkpoint("wiki", "custom")
    assert found is not None
    done = [replace(phase, status=PhaseStatus.COMPLETED, result={}) for phase in found.phases]
    save_checkpoint(replace(found, phases=tuple(done)))
    reports: list[tuple[int, int, str]] = []
    result = run_combined_job(work.phases, lambda *report: reports.append(report), None, "wiki", "custom", resume=True)
    assert (result["success"], result["phases_skipped"]) == (True, 3)
    assert reports[-1][0] == 100


def test_a_function_that_leaves_the_program_has_failed(work: Work) -> None:
    result = run_combined_job([JobPhase("leaves", sys.exit)], None, None)
    assert (result["success"], result["phase_name"]) == (False, "leaves")


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "20"])
def test_a_weight_is_a_number(work: Work, weight: float) -> None:
    with pytest.raises(UsageError, match="weight"):
        run_combined_job([JobPhase("a", work.third, weight)], None, None)


def test_no_phases_are_no_job() -> None:
    with pytest.raises(UsageError):
        run_combined_job([], None, None)


def test_checkpoints_are_saved_loaded_deleted_and_cleaned_up(home: Home) -> None:
    assert load_checkpoint("wiki", "custom") is None
    assert delete_checkpoint("wiki", "custom") is False
    assert get_interrupted_jobs() == []
    assert cleanup_stale_checkpoints() == 0
    phases: Any = [{"name": "a", "job": "t", "params": {}, "status": "completed", "result": {"n": 1}}]
    save_checkpoint(Checkpoint("wiki", "custom", phases, inner={"page": 7}))
    found = load_checkpoint("wiki", "custom")
    assert found is not None
    assert [one.as_dict() for one in found.phases] == [{**phases[0], "weight": 0.0}]
    assert (found.inner, found.phases_completed) == ({"page": 7}, 1)
    assert found.phase_results == [{"phase": "a", "index": 0, "result": {"n": 1}}]
    assert load_checkpoint("other", "custom") is None
    assert delete_checkpoint("wiki", "custom") is True
    save_checkpoint(Checkpoint("wiki", "old", phases))
    save_checkpoint(Checkpoint(None, "young", phases))
    queue = Queue(home.state_file)
    queue.connection.execute("UPDATE checkpoints SET saved_at = '2020-01-01T00:00:00Z' WHERE chain = 'old'")
    queue.close()
    assert cleanup_stale_checkpoints(max_age_days=7) == 1
    assert [one.job_type for one in get_interrupted_jobs()] == ["young"]
