"""Once a day the daemon forgets old jobs with their logs; a kill in the middle loses nothing that is to stay."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.housekeeping import A_DAY, Housekeeping, forget_old_jobs
from kbjobs.daemon.launching import is_running
from kbjobs.errors import ExitCode
from kbjobs.store.history import PRUNED_AT_ONCE, list_jobs
from kbjobs.store.jobs import NewJob
from kbjobs.store.queue import Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import Kbjobs, phase_state, wait_until


def end_jobs(home: Home, days: Sequence[float]) -> None:
    """Jobs 1, 2, … that ended so many days ago, each with a log."""
    home.prepare()
    with Queue(home.state_file) as queue:
        for ago in days:
            new = NewJob("steps", "a", {}, (phase_state("steps", "steps"),), (f"source:{ago}",))
            job_id = queue.submit(new).id
            assert queue.claim(f"run {job_id}") is not None
            home.log_file(job_id, 1).write_text("log")
            queue.finish(job_id, f"run {job_id}", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done", None, None), {})
            ended = (datetime.now(UTC) - timedelta(days=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
            queue.connection.execute("UPDATE jobs SET finished_at = ? WHERE id = ?", (ended, job_id))


def left(home: Home) -> list[int]:
    """The ids of the jobs and of the logs that are left; they must be the same."""
    with Queue(home.state_file) as queue:
        ids = sorted(job.id for job in list_jobs(queue))
    assert ids == [job_id for job_id in range(1, PRUNED_AT_ONCE + 99) if home.log_file(job_id, 1).exists()]
    return ids


def test_what_is_older_is_forgotten_and_said(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kbjobs.daemon")
    end_jobs(home, [100, 91, 89, 0])
    forget_old_jobs(home)
    assert left(home) == [3, 4]
    assert "2 jobs and 0 checkpoints older than 90 days deleted (history_days)" in caplog.text
    caplog.clear()
    forget_old_jobs(home)
    assert caplog.text == "" and left(home) == [3, 4]


def test_the_setting_decides(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBJOBS_HISTORY_DAYS", "1000")
    end_jobs(home, [999, 0])
    forget_old_jobs(home)
    assert left(home) == [1, 2]


def test_once_a_day_also_over_restarts(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[Home] = []
    monkeypatch.setattr("kbjobs.daemon.housekeeping.forget_old_jobs", began.append)
    home.prepare()

    def start(ago: float | None) -> int:
        """How many are begun by a daemon that starts so many seconds after the last one ended."""
        home.housekeeping_mark.unlink(missing_ok=True)
        if ago is not None:
            home.housekeeping_mark.touch()
            os.utime(home.housekeeping_mark, (time.time() - ago,) * 2)
        began.clear()
        housekeeping = Housekeeping(home)
        for _ in range(3):
            housekeeping.start_if_due()
            if housekeeping._thread is not None:
                housekeeping._thread.join()
        return len(began)

    assert [start(ago) for ago in (None, 60, A_DAY - 60, A_DAY + 60, -A_DAY)] == [1, 0, 0, 1, 1]


def test_a_state_that_cannot_be_written_is_no_reason_to_end(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.prepare()
    home.state_file.write_bytes(b"no database" * 1000)
    forget_old_jobs(home)
    assert "could not be deleted" in caplog.text and not home.housekeeping_mark.exists()


def test_a_killed_one_is_done_by_the_next_daemon(
    home: Home, kbjobs: Kbjobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_jobs(home, [*[200.0] * (PRUNED_AT_ONCE + 20), 1, 0])
    monkeypatch.setenv(VARIABLE, f"housekeeping.batch:{tmp_path / 'killed'}")
    kbjobs("daemon", "start")
    wait_until(lambda: not is_running(home))
    assert len(left(home)) == 22
    monkeypatch.delenv(VARIABLE)
    kbjobs("daemon", "start")
    wait_until(home.housekeeping_mark.exists)
    assert left(home) == [PRUNED_AT_ONCE + 21, PRUNED_AT_ONCE + 22]
    kbjobs("daemon", "stop")
