"""``kbjobs unpause``: what was paused goes on, with a daemon or without one."""

from __future__ import annotations

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.services.jobs import JobManager
from kbjobs.store.queue import Queue
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, read_json, wait_ended


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "unpause")


def test_what_is_not_paused(home: Home, kbjobs: Kbjobs) -> None:
    assert kbjobs("unpause").stderr == "The queue was not paused.\n"
    assert read_json(kbjobs("unpause", "--json")) == {"ended": None, "pauses": []}
    assert "there is no source 'b'" in kbjobs("unpause", "--source", "b", check=4).stderr
    assert not home.state_file.exists()


def test_a_source_that_was_paused_by_itself_stays_so(past: Queue, kbjobs: Kbjobs) -> None:
    kbjobs("pause", "--source", "later")
    output = kbjobs("unpause").stderr
    assert "The queue was not paused." in output and "; kbjobs unpause --source later ends that." in output
    kbjobs("pause")
    output = kbjobs("unpause", "--source", "later").stderr
    assert "Source later is released; it was paused since 20" in output and "; kbjobs unpause ends that." in output
    assert read_json(kbjobs("unpause", "--json"))["ended"]["source"] is None
    assert read_json(kbjobs("status", "--json"))["pauses"] == []


def test_it_starts_the_daemon_that_what_waits_needs(home: Home, source: str, kbjobs: Kbjobs) -> None:
    kbjobs("pause")
    kbjobs("run", "steps", source, "--count", "1", "--detach")
    kbjobs("daemon", "stop")
    kbjobs("unpause")
    assert is_running(home)
    assert wait_ended(JobManager(home), 1).exit_code == 0


def test_it_starts_no_daemon_where_nothing_waits(home: Home, kbjobs: Kbjobs) -> None:
    kbjobs("pause")
    kbjobs("unpause")
    assert not is_running(home)
