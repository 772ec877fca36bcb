"""Python functions as queued jobs: what is accepted, how they are called, what becomes of their results."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kbjobs import JobManager
from kbjobs.config.home import Home
from kbjobs.errors import ConflictError, UsageError
from kbjobs.store.transitions import Status
from tests.conftest import wait_ended, wait_until, write_pages

pytestmark = pytest.mark.usefixtures("test_types")


@pytest.fixture
def manager(home: Home) -> Iterator[JobManager]:
    opened = JobManager(home)
    yield opened
    opened.close()


@pytest.fixture
def functions(test_types: None) -> Any:
    import kbjobs_test_functions

    return kbjobs_test_functions


def test_a_function_runs_in_a_worker_with_its_arguments(manager: JobManager, functions: Any, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 3)
    job_id = manager.submit("count_pages", "wiki", functions.count_pages, str(pages), suffix=".html")
    job = wait_ended(manager, job_id)
    assert (job.type, job.source, job.status) == ("count_pages", "wiki", Status.COMPLETED)
    assert job.result == {"pages": 3, "folder": str(pages)}
    assert [one.type for one in manager.get_job_history(job_type="count_pages")] == ["count_pages"]


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("describe", {"told": True}),
        ("answer", {"value": 42}),
        ("nothing", {}),
        ("reports", {"done": True}),
        ("takes_anything", {"given": ["cancel_checker", "progress_callback"]}),
    ],
)
def test_results_and_callbacks(manager: JobManager, functions: Any, name: str, result: dict[str, Any]) -> None:
    job = wait_ended(manager, manager.submit("custom", None, getattr(functions, name)))
    assert (job.status, job.result, job.progress) == (Status.COMPLETED, result, 100)


def test_all_forms_of_progress_are_understood(manager: JobManager, functions: Any) -> None:
    job_id = manager.submit("custom", None, functions.reports, seconds=0.8)
    seen: list[tuple[float, str]] = []
    for event in manager.follow([job_id], revive=False):
        if event.event in ("phase", "progress"):
            seen.append((event.job.progress, event.job.message))
    assert (20.0, "a fifth") in seen
    assert (75.0, "three of four") in seen


def test_what_fails_is_told(manager: JobManager, functions: Any) -> None:
    failed = wait_ended(manager, manager.submit("custom", None, functions.fails))
    assert failed.status is Status.FAILED
    assert "no such luck" in (failed.error or "")
    wrong = wait_ended(manager, manager.submit("custom", None, functions.returns_what_is_not_json))
    assert "not JSON" in (wrong.error or "")


@pytest.mark.parametrize("name", ["works_until_cancelled", "reports_until_ended"])
def test_a_function_can_be_cancelled(manager: JobManager, functions: Any, tmp_path: Path, name: str) -> None:
    marker = tmp_path / "began"
    job_id = manager.submit("custom", "wiki", getattr(functions, name), str(marker))
    wait_until(marker.exists)
    manager.cancel(job_id)
    assert wait_ended(manager, job_id).status is Status.CANCELLED


def test_the_same_call_is_the_same_job(manager: JobManager, functions: Any, tmp_path: Path) -> None:
    marker = tmp_path / "began"
    job_id = manager.submit("custom", "wiki", functions.works_until_cancelled, str(marker))
    with pytest.raises(ConflictError, match=f"job {job_id}"):
        manager.submit("custom", "wiki", functions.works_until_cancelled, str(marker))
    other = manager.submit("custom", "wiki", functions.answer)
    wait_until(marker.exists)
    assert manager.get_status(other).status is Status.PENDING  # one at a time on a source
    manager.cancel(job_id)
    assert wait_ended(manager, other).status is Status.COMPLETED


def test_what_a_worker_could_not_import_is_refused(manager: JobManager, monkeypatch: pytest.MonkeyPatch) -> None:
    def local() -> None: ...

    with pytest.raises(UsageError, match="lambda, a local function") as caught:
        manager.submit("custom", None, lambda: None)
    assert "top level of a module" in caught.value.hint
    with pytest.raises(UsageError, match="local"):
        manager.submit("custom", None, local)
    with pytest.raises(UsageError):
        manager.submit("custom", None, Path("x").exists)
    ghost = type(sys)("ghost")
    exec("def walk(): ...", ghost.__dict__)
    ghost.walk.__module__ = "__main__"
    with pytest.raises(UsageError, match="the program that was started"):
        manager.submit("custom", None, ghost.walk)
    assert manager.get_job_history() == []


def test_callbacks_by_name_and_numbers_of_other_kinds(manager: JobManager, functions: Any) -> None:
    job_id = manager.submit("custom", None, functions.reports_by_name)
    assert wait_ended(manager, job_id).status is Status.COMPLETED


def test_where_modules_are_looked_for_makes_no_other_job(
    manager: JobManager, functions: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "began"
    job_id = manager.submit("custom", "wiki", functions.works_until_cancelled, str(marker))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConflictError):
        manager.submit("custom", "wiki", functions.works_until_cancelled, str(marker))
    manager.cancel(job_id)


def test_a_function_of_the_current_folder(manager: JobManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook or with python -c, where the path begins with an empty entry."""
    (tmp_path / "of_this_folder.py").write_text("def work():\n    return {'here': True}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    import of_this_folder  # type: ignore[import-not-found]

    assert wait_ended(manager, manager.submit("custom", None, of_this_folder.work)).result == {"here": True}


def test_arguments_and_names_are_checked(manager: JobManager, functions: Any) -> None:
    with pytest.raises(UsageError, match="JSON"):
        manager.submit("custom", None, functions.count_pages, Path("/"))
    with pytest.raises(UsageError, match="JSON"):
        manager.submit("custom", None, functions.count_pages, float("nan"))
    with pytest.raises(UsageError, match="valid source id"):
        manager.submit("custom", 5, functions.answer)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        manager.submit("custom", None, {}.get)
    with pytest.raises(UsageError, match="not a name"):
        manager.submit("a b", None, functions.answer)
    with pytest.raises(UsageError, match="by name"):
        manager.submit("index_offline", "wiki", None, "all-MiniLM-L6-v2")
