"""The front door: what Python callers and the commands ask, and what they are told where it cannot be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kbjobs
from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.errors import ConflictError, KbjobsError, MissingRequirementError, NotFoundError, UsageError
from kbjobs.services.job_events import JobEvent
from kbjobs.services.jobs import JobManager, get_job_manager
from kbjobs.services.sources import register
from kbjobs.store.transitions import Status
from tests.conftest import Kbjobs, write_pages

pytestmark = pytest.mark.usefixtures("minilm")


@pytest.fixture
def source(home: Home, tmp_path: Path) -> str:
    register(home, "x", [write_pages(tmp_path / "pages", 3)])
    return "x"


def contents(home: Home) -> set[Path]:
    return set(home.path.rglob("*"))


def test_asking_a_home_with_nothing_in_it_creates_nothing(home: Home, kbjobs: Kbjobs) -> None:
    before = contents(home)
    manager = JobManager(home)
    assert manager.get_active_jobs() == []
    assert manager.get_job_history() == []
    assert manager.get_resumable_jobs() == []
    assert manager.get_daemon().running is False
    asked: list[Callable[[], Any]] = [
        lambda: manager.get_status(1),
        lambda: manager.get_attempts(1),
        lambda: manager.cancel(1),
        lambda: manager.resume(1),
        lambda: list(manager.follow([1], revive=True)),
    ]
    for ask in asked:
        with pytest.raises(NotFoundError, match="there is no job 1"):
            ask()
    for arguments in (
        ["status"],
        ["history"],
        ["sources", "list"],
        ["watch"],
        ["daemon", "status"],
        ["config", "show"],
    ):
        kbjobs(*arguments)
    for arguments in (["cancel", "1"], ["wait", "1"], ["resume", "1"], ["logs", "1"], ["search", "words"]):
        kbjobs(*arguments, check=None)
    assert contents(home) - before <= {home.engines / "weights"}
    assert not is_running(home)


def test_asking_a_home_that_is_not_there_does_not_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBJOBS_HOME", str(tmp_path / "nowhere"))
    assert get_job_manager().get_active_jobs() == []
    assert get_job_manager().get_daemon().running is False
    assert not (tmp_path / "nowhere").exists()


def test_a_job_from_submit_to_its_end(home: Home, source: str) -> None:
    manager = kbjobs.get_job_manager()
    job_id = manager.submit("index_offline", source, limit=2)
    assert isinstance(job_id, int)
    events = list(manager.follow([job_id], revive=True))
    assert events[0].event == "queued"
    assert [event.event for event in events].count("finished") == 1
    last = events[-1]
    assert isinstance(last, JobEvent)
    assert (last.event, last.job.status, last.job.exit_code) == ("finished", Status.COMPLETED, 0)
    assert last.job.result is not None
    assert last.job.result["documents"] == 2
    progress = [event.job.progress for event in events]
    assert progress == sorted(progress)
    assert manager.get_status(job_id) == last.job
    assert manager.get_active_jobs() == []
    assert [job.id for job in manager.get_job_history()] == [job_id]
    assert [attempt.outcome for attempt in manager.get_attempts(job_id)] == ["complete"]
    assert manager.log_file(last.job).read_text()
    # An ended job is followed at once.
    assert [event.event for event in manager.follow([job_id], revive=False)] == ["finished"]
    manager.close()
    assert manager.get_status(job_id).id == job_id  # it opens again


@pytest.mark.parametrize(
    ("job_type", "source_id", "params", "error", "words"),
    [
        ("index_everything", "x", {}, KbjobsError, "index_everything"),
        ("index_offline", "y", {}, NotFoundError, "there is no source 'y'"),
        ("index_offline", "../x", {}, UsageError, "not a valid source id"),
        ("index_offline", "x", {"limit": 0}, UsageError, "limit"),
        ("index_offline", "x", {"limit": "3"}, UsageError, "limit"),
        ("index_offline", "x", {"force": 1}, UsageError, "force"),
        ("index_offline", "x", {"nonsense": 1}, UsageError, "nonsense"),
        ("index_offline", "x", {"dimension": 100}, UsageError, "dimension"),
        ("index_offline", "x", {"dimension": 768, "model": "all-MiniLM-L6-v2"}, UsageError, "384 dimensions, not 768"),
        ("index_offline", "x", {"model": "all-MiniLM-L6"}, NotFoundError, "all-MiniLM-L6-v2"),
        ("index_offline", "x", {"model": "bge-large-en-v1.5"}, MissingRequirementError, "bge-large"),
    ],
)
@pytest.mark.usefixtures("source")
def test_a_submit_that_cannot_work_is_refused_and_queues_nothing(
    home: Home, job_type: str, source_id: str, params: dict[str, Any], error: type[KbjobsError], words: str
) -> None:
    manager = JobManager(home)
    with pytest.raises(error) as caught:
        manager.submit(job_type, source_id, **params)
    assert words in caught.value.message
    assert caught.value.hint
    assert manager.get_job_history() == []
    assert not home.state_file.exists()
    assert not is_running(home)


def test_a_source_whose_folder_is_gone_is_refused(home: Home, source: str, tmp_path: Path) -> None:
    (tmp_path / "pages").rename(tmp_path / "unmounted")
    with pytest.raises(NotFoundError, match="is not there"):
        JobManager(home).submit("index_offline", source)


def test_the_same_job_twice_is_a_conflict_and_an_ended_one_cannot_be_cancelled(home: Home, source: str) -> None:
    manager = JobManager(home)
    job_id = manager.submit("index_offline", source)
    with pytest.raises(ConflictError, match=f"job {job_id}") as caught:
        manager.submit("index_offline", source)
    assert f"kbjobs watch {job_id}" in caught.value.hint
    with pytest.raises(ConflictError, match="resume"):
        manager.resume(job_id)
    list(manager.follow([job_id], revive=True))
    with pytest.raises(ConflictError, match="already ended"):
        manager.cancel(job_id)
    with pytest.raises(NotFoundError, match="no log of attempt 7"):
        manager.log_file(manager.get_status(job_id), 7)


def test_history_is_filtered(home: Home, source: str, tmp_path: Path) -> None:
    manager = JobManager(home)
    register(home, "y", [write_pages(tmp_path / "y", 1)])
    manager.pause()  # so that both are there when they are asked for
    first, second = manager.submit("index_offline", source), manager.submit("index_offline", "y")
    assert [job.id for job in manager.get_active_jobs("y")] == [second]
    manager.unpause()
    list(manager.follow([first, second], revive=True))
    assert [job.id for job in manager.get_job_history()] == [second, first]
    assert [job.id for job in manager.get_job_history(limit=1)] == [second]
    assert [job.id for job in manager.get_job_history(source_id=source)] == [first]
    assert [job.id for job in manager.get_job_history(job_type="index-offline", status=Status.COMPLETED)] == [
        second,
        first,
    ]
    assert manager.get_job_history(status=Status.FAILED) == []
    assert len(manager.get_job_history(max_age_days=None)) == 2


def test_the_package_gives_its_front_door_without_loading_it() -> None:
    code = "import sys, kbjobs; print('kbjobs.services.jobs' in sys.modules, kbjobs.JobManager.__name__)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False JobManager\n"
    with pytest.raises(AttributeError):
        kbjobs.nonsense  # noqa: B018
