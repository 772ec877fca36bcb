"""``on_finish``: a command after each job, bounded, logged, never twice, and never in the daemon's way."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.daemon.launching import ensure_daemon, is_running, stop_daemon
from kbjobs.daemon.processes import FINISH_VARIABLE, processes_of_run
from kbjobs.errors import UsageError
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.job_ends import list_taken_hooks
from kbjobs.store.queue import Queue
from tests.conftest import Kbjobs, is_alive, read_json, wait_ended, wait_until, write_pages

Configure = Callable[..., None]


@pytest.fixture
def manager(home: Home, tmp_path: Path, test_types: None) -> JobManager:
    for name in ("a", "b"):
        register(home, name, [write_pages(tmp_path / name, 1)])
    return JobManager(home)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Where the commands of these tests write."""
    return tmp_path / "told"


@pytest.fixture
def configure(home: Home, tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Writes config.toml with a script as on_finish; in it, TOLD names the file ``told``."""
    monkeypatch.setenv("TOLD", str(runs))

    def write(script: str, *words: str, seconds: float = 60.0) -> None:
        program = tmp_path / "my command"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        on_finish = json.dumps([str(program), *words])
        home.config_file.write_text(f"on_finish = {on_finish}\non_finish_seconds = {seconds}\n")

    return write


def lines(runs: Path, count: int, seconds: float = 20) -> list[str]:
    """The lines that were written, once there are so many."""
    return wait_until(lambda: runs.exists() and len(found := runs.read_text().splitlines()) >= count and found, seconds)


def all_closed(home: Home) -> bool:
    queue = Queue(home.state_file)
    left = queue.connection.execute("SELECT count(*) FROM ends").fetchone()[0]
    queue.close()
    return left == 0


FIELDS = ("ID", "TYPE", "SOURCE", "STATUS", "EXIT_CODE", "SUMMARY")
SHOW = (
    'printf "%s|" '
    + " ".join(f'"$KBJOBS_JOB_{name}"' for name in FIELDS)
    + ' "$KBJOBS_HOME" "$*" >>"$TOLD"\necho >>"$TOLD"'
)


def test_it_is_told_how_the_job_ended(manager: JobManager, configure: Configure, runs: Path, home: Home) -> None:
    configure(SHOW, "two words", "$HOME; rm -rf /")
    manager.submit("steps", "a", count=2, fail_documents=1)
    assert lines(runs, 1) == [f"1|steps|a|completed|3|2 steps|{home.path}|two words $HOME; rm -rf /|"]
    job = manager.submit("steps", "b", count=0, fail=True, says="$(touch /tmp/no) \"'; `id`\nand more")
    wait_ended(manager, job)
    assert lines(runs, 3)[1:] == [
        "2|steps|b|failed|1|$(touch /tmp/no) \"'; `id`",
        f"and more|{home.path}|two words $HOME; rm -rf /|",
    ]
    wait_until(lambda: all_closed(home))


def test_a_job_that_never_began_is_told_of_too(
    manager: JobManager, configure: Configure, runs: Path, kbjobs: Kbjobs
) -> None:
    configure(f"{SHOW}; echo its output")
    manager.pause()
    job = manager.submit("steps", "a")
    manager.cancel(job)
    assert lines(runs, 1)[0].startswith(f"{job}|steps|a|cancelled|9|cancelled before it started|")
    wait_until(lambda: all_closed(manager.home))
    assert "its output" in kbjobs("logs", job).stdout


def test_its_output_and_its_failure_are_in_the_log_and_change_nothing(
    manager: JobManager, configure: Configure, home: Home, kbjobs: Kbjobs
) -> None:
    configure("echo to stdout; echo to stderr >&2; exit 7")
    job = wait_ended(manager, manager.submit("steps", "a", count=1))
    wait_until(lambda: all_closed(home))
    log = home.log_file(job.id, 1).read_text()
    assert "to stdout\nto stderr\n" in log
    wait_until(lambda: "WARNING on_finish ended with status 7\n" in home.log_file(job.id, 1).read_text())
    assert f"job {job.id}: on_finish ended with status 7" in home.daemon_log.read_text()
    assert (job.exit_code, manager.get_status(job.id)) == (0, job)


@pytest.mark.parametrize("words", [["./not there"], ["/etc/passwd"], ["no-such-program-1"]])
def test_a_program_that_cannot_be_run(manager: JobManager, home: Home, kbjobs: Kbjobs, words: list[str]) -> None:
    home.config_file.write_text(f"on_finish = {json.dumps(words)}\n")
    findings = read_json(kbjobs("doctor", "--json", check=1))["findings"]
    assert [one["level"] for one in findings if one["check"] == "on_finish"] == ["problem"]
    job = wait_ended(manager, manager.submit("steps", "a", count=1))
    assert job.exit_code == 0
    wait_until(lambda: "on_finish cannot be started" in home.log_file(job.id, 1).read_text())
    wait_until(lambda: all_closed(home))
    assert manager.get_daemon().running


def test_one_that_takes_too_long_is_killed_with_all_its_children(
    manager: JobManager, configure: Configure, runs: Path, home: Home
) -> None:
    configure(
        'sleep 600 & echo $! >>"$TOLD"; setsid sleep 601 & echo $! >>"$TOLD"; echo $$ >>"$TOLD"; sleep 602', seconds=1
    )
    job = manager.submit("steps", "a", count=1)
    pids = [int(line) for line in lines(runs, 3)]
    assert is_alive(pids[2])
    wait_until(lambda: not any(map(is_alive, pids)), 10)
    wait_until(lambda: "was killed: it ran longer than on_finish_seconds (1)" in home.log_file(job, 1).read_text())
    wait_until(lambda: all_closed(home))


def test_what_it_leaves_in_the_background_ends_with_it(
    manager: JobManager, configure: Configure, runs: Path, home: Home
) -> None:
    # In its group, but without its mark; the command ends once that runs.
    unmarked = r"""env -i sh -c "echo \$\$ >>'$TOLD'; exec sleep 600" &"""
    configure(f'{unmarked}\nwhile [ ! -s "$TOLD" ]; do sleep 0.02; done')
    manager.submit("steps", "a", count=1)
    [pid] = [int(line) for line in lines(runs, 1)]
    wait_until(lambda: not is_alive(pid))
    wait_until(lambda: all_closed(home))


def test_many_ends_at_once_do_not_hold_up_the_queue(
    manager: JobManager, configure: Configure, runs: Path, home: Home, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    configure(
        f'echo begins >>"$TOLD"; while [ ! -e {shlex.quote(str(gate))} ]; do sleep 0.05; done; echo ends >>"$TOLD"'
    )
    for number in range(8):
        manager.submit("steps", "ab"[number % 2], count=0, number=number)
    wait_until(lambda: not manager.get_active_jobs())
    assert lines(runs, 4) == ["begins"] * 4  # so many at a time, and all of them hang
    began = time.monotonic()
    wait_ended(manager, manager.submit("steps", "a", count=0, number=99))
    assert time.monotonic() - began < 10
    assert runs.read_text().splitlines() == ["begins"] * 4
    gate.touch()
    assert sorted(lines(runs, 18)) == ["begins"] * 9 + ["ends"] * 9
    wait_until(lambda: all_closed(home))


def test_a_string_is_refused_with_what_to_write(home: Home, kbjobs: Kbjobs) -> None:
    home.config_file.write_text("on_finish = \"notify.sh --to 'the operator'\"\n")
    refused = kbjobs("config", "show", check=2)
    assert 'on_finish = ["notify.sh", "--to", "the operator"]' in refused.stderr
    [finding] = [
        one for one in read_json(kbjobs("doctor", "--json", check=1))["findings"] if one["check"] == "settings"
    ]
    assert finding["level"] == "problem" and 'on_finish = ["notify.sh"' in finding["remedy"]


@pytest.mark.parametrize("value", ["[1]", '[""]', "3", "true", '["a\\u0000b"]', '"it\'s"', '""'])
def test_what_is_no_list_of_words(home: Home, value: str) -> None:
    home.config_file.write_text(f"on_finish = {value}\n")
    with pytest.raises(UsageError, match="is not a list of words") as caught:
        Settings(home)
    assert "on_finish = [" in caught.value.hint


def test_the_environment_cannot_give_it(home: Home, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBJOBS_ON_FINISH", '["touch", "x"]')
    assert "config.toml alone" in kbjobs("config", "show", check=2).stderr


def test_a_daemon_that_stops_gives_it_the_grace(
    manager: JobManager, configure: Configure, runs: Path, home: Home
) -> None:
    configure('echo $$ >>"$TOLD"; sleep 1; echo ended >>"$TOLD"')
    manager.submit("steps", "a", count=0)
    lines(runs, 1)
    stop_daemon(home, now=False, seconds=30)
    assert runs.read_text().splitlines()[1:] == ["ended"]
    assert all_closed(home)
    configure('echo $$ >>"$TOLD"; sleep 600')
    job = manager.submit("steps", "b", count=0)
    pid = int(lines(runs, 3)[2])
    stop_daemon(home, now=True, seconds=30)
    assert not is_alive(pid)
    assert "on_finish was killed: the daemon stopped" in home.log_file(job, 1).read_text()


def test_an_end_without_a_daemon_is_told_by_the_next(
    manager: JobManager, configure: Configure, runs: Path, home: Home
) -> None:
    configure(SHOW)
    manager.pause()
    job = manager.submit("steps", "a")
    stop_daemon(home, now=False, seconds=30)
    manager.cancel(job)
    assert not runs.exists()
    ensure_daemon(home)
    assert lines(runs, 1)[0].startswith(f"{job}|steps|a|cancelled|")


def test_ends_are_not_kept_for_a_command_that_comes_later(
    manager: JobManager, configure: Configure, runs: Path, home: Home
) -> None:
    configure(SHOW)
    manager.pause()
    job = manager.submit("steps", "a")
    stop_daemon(home, now=False, seconds=30)
    manager.cancel(job)
    home.config_file.unlink()
    ensure_daemon(home)
    stop_daemon(home, now=False, seconds=30)
    configure(SHOW)
    manager.unpause()
    second = manager.submit("steps", "b", count=0)
    assert [line.split("|")[0] for line in lines(runs, 1)] == [str(second)]


def test_a_killed_daemon_leaves_its_command_to_the_next(
    manager: JobManager, configure: Configure, runs: Path, home: Home
) -> None:
    configure('echo $$ >>"$TOLD"; exec sleep 600', seconds=3)
    job = manager.submit("steps", "a", count=0)
    pid = int(lines(runs, 1)[0])
    [end] = list_taken_hooks(queue := Queue(home.state_file))
    queue.close()
    assert processes_of_run(end.token, variable=FINISH_VARIABLE) == [pid]
    os.kill(manager.get_daemon().pid or 0, signal.SIGKILL)
    wait_until(lambda: not is_running(home))
    assert is_alive(pid)
    ensure_daemon(home)
    wait_until(lambda: not is_alive(pid), 10)  # when its time is up
    wait_until(lambda: all_closed(home))
    assert runs.read_text().splitlines() == [str(pid)]
    wait_until(lambda: "it ran longer than on_finish_seconds (3)" in home.log_file(job, 1).read_text())


def test_a_daemon_that_it_starts_is_not_killed_with_it(
    manager: JobManager, configure: Configure, runs: Path, home: Home, tmp_path: Path
) -> None:
    """The daemon is killed while the command runs; the command submits a job, which starts the next daemon."""
    configure(
        f'[ "$KBJOBS_JOB_ID" = 1 ] || exit 0\nkill -9 $PPID; sleep 0.3\n'
        f'{shlex.quote(sys.executable)} -m kbjobs run steps b --count 0 --detach >>"$TOLD" 2>/dev/null'
    )
    manager.submit("steps", "a", count=0)
    second = int(lines(runs, 1)[0])
    assert wait_ended(manager, second).exit_code == 0
    wait_until(lambda: all_closed(home))
    daemon = manager.get_daemon()
    assert daemon.running
    assert FINISH_VARIABLE.encode() not in Path(f"/proc/{daemon.pid}/environ").read_bytes()
