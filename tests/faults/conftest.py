"""A home to kill things in: indexed once a session, by a small model, and copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import SourceFields, register
from kbjobs.store.queue import Queue
from tests.conftest import wait_ended, write_pages
from tests.in_process import threads_for_processes

PAGES = 40
FIRST = 20  # of them, those that are indexed
NOT_COPIED = shutil.ignore_patterns("locks")


@pytest.fixture(scope="session")
def indexed_home(engines: Path, small_model: Path) -> Path:
    """A home with the source x: forty pages, of which the small model has indexed twenty. Read only: copy it."""
    made = engines.with_name("indexed-home")
    with FileLock(engines.with_name("indexed-home.lock")):
        if not made.exists():
            home = Home(engines.with_name("indexed-home-unfinished"))
            home.prepare()
            engines.mkdir(exist_ok=True)
            home.engines.symlink_to(engines)
            described = SourceFields(base_url="https://example.org/")  # the same documents in every copy
            register(home, "x", [write_pages(home.path / "pages", PAGES)], described)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("KBJOBS_MODEL", str(small_model))
                run_undisturbed(home, "index_offline", {"limit": FIRST})
            home.engines.unlink()
            home.path.rename(made)
    return made


@pytest.fixture
def half_indexed(home: Home, indexed_home: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's home is a copy of that home; returns the folder of its pages."""
    shutil.copytree(indexed_home, home.path, dirs_exist_ok=True, ignore=NOT_COPIED)
    monkeypatch.setenv("KBJOBS_MODEL", str(small_model))
    return home.path / "pages"


def copy_home(home: Home, target: Path) -> Home:
    """Copy a home in which nothing runs."""
    return Home(Path(shutil.copytree(home.path, target, symlinks=True, ignore=NOT_COPIED)))


def run_undisturbed(home: Home, job_type: str, params: dict[str, Any]) -> None:
    """Run a job on the source x to its end, within this process."""
    with pytest.MonkeyPatch.context() as patch, threads_for_processes(patch):
        patch.setenv(HOME_VARIABLE, str(home.path))
        manager = JobManager(home)
        assert wait_ended(manager, manager.submit(job_type, "x", **params)).exit_code == 0
        manager.close()
    queue = Queue(home.state_file)
    queue.connection.execute("DELETE FROM daemon")  # who kills the daemon of a copy must not take this process for it
    queue.close()
