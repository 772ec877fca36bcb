"""A restore waits for nobody and disturbs nobody: a home in use is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ConflictError
from kbjobs.services.backup import restore
from kbjobs.sources.registration import register
from kbjobs.store.backup import create_backup
from kbjobs.store.job_ends import take_hook
from kbjobs.store.jobs import NewJob
from kbjobs.store.locks import try_lock
from kbjobs.store.queue import Queue
from kbjobs.store.sources import SourceFolder
from tests.conftest import phase_state, write_pages


@pytest.fixture
def archive(home: Home, tmp_path: Path) -> Path:
    register(home, "wiki", [write_pages(tmp_path / "pages", 2)], copy=True)
    create_backup(home, tmp_path / "b.tar", with_pages=False)
    return tmp_path / "b.tar"


@pytest.mark.parametrize("part", ["daemon", "worker", "source"])
def test_a_home_in_use_is_refused_and_left_as_it_is(home: Home, archive: Path, part: str) -> None:
    locks = {
        "daemon": home.daemon_lock,
        "worker": home.worker_lock("0123"),
        "source": SourceFolder(home.sources, "wiki").lock,
    }
    lock = try_lock(locks[part], 1.0)
    assert lock is not None
    with pytest.raises(ConflictError, match="daemon is running" if part == "daemon" else "is locked"):
        restore(home, archive, replace=True)
    lock.release()
    assert not list(home.path.glob("replaced-*"))
    assert restore(home, archive, replace=True).files == 1


def test_no_worker_starts_a_daemon_afterwards(home: Home, archive: Path) -> None:
    home.guard_mark.touch()  # of a daemon that was killed
    restore(home, archive, replace=True)
    assert not home.guard_mark.exists()


def test_what_was_not_in_the_backup_is_told(home: Home, archive: Path) -> None:
    restored = restore(home, archive, replace=True)
    assert restored.missing == {"wiki": [SourceFolder(home.sources, "wiki").pages / "1" / "pages"]}
    lock = try_lock(home.daemon_lock, 1.0)
    assert lock is not None  # it was given back
    lock.release()


def test_an_end_that_was_still_to_be_told_is_not_told_again(home: Home, tmp_path: Path) -> None:
    """The command for it ran, or will, in the home that was backed up."""
    home.prepare()
    with Queue(home.state_file) as queue:
        queue.describe_daemon(1, "0", runs_on_finish=True)
        job = queue.submit(NewJob("t", "wiki", {}, (phase_state(),), ("source:wiki",)))
        queue.cancel(job.id)
    create_backup(home, tmp_path / "c.tar", with_pages=False)
    with Queue(home.state_file) as queue:
        assert take_hook(queue) is not None
    restore(home, tmp_path / "c.tar", replace=True)
    with Queue(home.state_file) as queue:
        assert take_hook(queue) is None
        assert queue.get(job.id).has_ended
