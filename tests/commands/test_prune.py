"""``kbjobs prune``: old jobs are forgotten with their logs, and no id is given again."""

from __future__ import annotations

from kbjobs.config.home import Home
from kbjobs.services.function_jobs import Checkpoint, load_checkpoint, save_checkpoint
from kbjobs.store.phase_state import PhaseStatus
from kbjobs.store.queue import Queue
from tests.commands.conftest import check_help, put_job
from tests.conftest import Kbjobs, phase_state, read_json

LONG_AGO = "2020-01-01T00:00:00Z"


def make_old(past: Queue, *ids: int) -> None:
    for job_id in ids:
        past.connection.execute("UPDATE jobs SET finished_at = ? WHERE id = ?", (LONG_AGO, job_id))


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "prune")


def test_an_empty_home(home: Home, kbjobs: Kbjobs) -> None:
    shown = kbjobs("prune")
    assert (shown.stdout, shown.stderr) == ("", "0 jobs and 0 checkpoints are deleted.\n")
    assert read_json(kbjobs("prune", "--json")) == {"dry_run": False, "jobs": [], "checkpoints": [], "leftovers": []}
    assert not home.state_file.exists()


def test_old_jobs_go_with_their_logs(past: Queue, home: Home, kbjobs: Kbjobs) -> None:
    make_old(past, 1, 3)
    shown = kbjobs("prune", "--dry-run")
    assert [line.split("\t")[0] for line in shown.stdout.splitlines()] == ["1", "3"]
    assert shown.stderr == "2 jobs and 0 checkpoints would be deleted.\n"
    assert len(list(home.logs.iterdir())) == 4
    assert read_json(kbjobs("prune", "--days", "9999", "--json"))["jobs"] == []
    assert read_json(kbjobs("prune", "--json"))["jobs"] == [1, 3]
    assert sorted(log.name for log in home.logs.iterdir()) == ["2-1.log", "4-1.log"]
    assert [job["id"] for job in read_json(kbjobs("history", "--json"))] == [5, 4, 2]


def test_the_newest_job_stays_so_that_its_id_does_not_come_again(past: Queue, kbjobs: Kbjobs) -> None:
    kbjobs("cancel", "5")
    make_old(past, 1, 2, 3, 4, 5)
    assert kbjobs("prune", "--days", "1").stderr == "4 jobs and 0 checkpoints are deleted.\n"
    assert put_job(past, "next") == 6


def test_the_setting_is_the_default(past: Queue, home: Home, kbjobs: Kbjobs) -> None:
    past.connection.execute("UPDATE jobs SET finished_at = strftime('%FT%TZ', 'now', '-10 days') WHERE id = 1")
    assert read_json(kbjobs("prune", "--dry-run", "--json"))["jobs"] == []  # history_days is 90
    home.config_file.write_text("history_days = 9\n")
    assert read_json(kbjobs("prune", "--dry-run", "--json"))["jobs"] == [1]


def test_stale_checkpoints_are_forgotten(past: Queue, kbjobs: Kbjobs) -> None:
    save_checkpoint(Checkpoint("a", "custom", (phase_state("x", status=PhaseStatus.COMPLETED),)))
    assert "and 0 checkpoints are" in kbjobs("prune").stderr
    past.connection.execute("UPDATE checkpoints SET saved_at = ?", (LONG_AGO,))
    [stale] = read_json(kbjobs("prune", "--dry-run", "--json"))["checkpoints"]
    assert stale == {"source": "a", "type": "custom", "saved_at": LONG_AGO}
    assert load_checkpoint("a", "custom") is not None
    assert "and 1 checkpoint are" in kbjobs("prune").stderr
    assert load_checkpoint("a", "custom") is None


def test_a_bad_number_of_days(kbjobs: Kbjobs) -> None:
    assert "--days" in kbjobs("prune", "--days", "-1", check=2).stderr
