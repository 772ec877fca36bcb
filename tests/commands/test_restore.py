"""``kbjobs restore``: what it says and refuses. What is in an archive, and hostile ones: tests/store/test_backup.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import ensure_daemon
from kbjobs.services.sources import register
from kbjobs.store.backup import create_backup
from kbjobs.store.queue import Queue
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, read_json, write_pages


@pytest.fixture
def archive(home: Home, past: Queue, tmp_path: Path) -> Path:
    """A backup of five jobs and a source whose pages are not in it."""
    register(home, "wiki", [write_pages(tmp_path / "pages", 2)], copy=True)
    create_backup(home, tmp_path / "b.tar", with_pages=False)
    return tmp_path / "b.tar"


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "restore")


def test_into_another_home(archive: Path, tmp_path: Path, kbjobs: Kbjobs) -> None:
    other = Home(tmp_path / "other")
    environment = {**os.environ, "KBJOBS_HOME": str(other.path)}
    restored = kbjobs("restore", archive, env=environment)
    assert restored.stdout == ""
    assert restored.stderr.splitlines() == [
        f"2 files are restored into {other.path}.",
        f"Source wiki: its copied files were not in the backup. Put them back: {other.sources}/wiki/pages/1/pages",
        "Next: kbjobs sources rebuild ID for each source; kbjobs sources list shows them.",
    ]
    assert read_json(kbjobs("history", "--json", env=environment)) == read_json(kbjobs("history", "--json"))


def test_what_is_there_is_replaced_only_when_told(archive: Path, home: Home, past: Queue, kbjobs: Kbjobs) -> None:
    refused = kbjobs("restore", archive, check=5)
    assert "--replace" in refused.stderr
    past.close()
    kbjobs("cancel", "5")
    assert "2 files are restored" in kbjobs("restore", archive, "--replace").stderr
    assert read_json(kbjobs("status", "5", "--json"))["status"] == "pending"
    [aside] = home.path.glob("replaced-*")
    assert (aside / "state.db").exists()


def test_a_home_with_a_daemon_is_refused(archive: Path, home: Home, kbjobs: Kbjobs) -> None:
    ensure_daemon(home)
    assert "daemon stop" in kbjobs("restore", archive, "--replace", check=5).stderr


def test_what_is_no_backup_is_refused(tmp_path: Path, home: Home, kbjobs: Kbjobs) -> None:
    refused = kbjobs("restore", tmp_path / "nowhere.tar", check=4)
    assert f"there is no file {tmp_path}/nowhere.tar" in refused.stderr
    (tmp_path / "text.tar").write_text("no archive")
    refused = kbjobs("restore", tmp_path / "text.tar", check=None)
    assert (refused.returncode, refused.stdout) == (7, "")
    assert "text.tar" in refused.stderr
    assert not home.state_file.exists()


def test_a_command_that_it_would_run_is_named(home: Home, past: Queue, tmp_path: Path, kbjobs: Kbjobs) -> None:
    home.config_file.write_text('on_finish = ["sh", "-c", "rm -rf /"]\n')
    create_backup(home, tmp_path / "theirs.tar", with_pages=False)
    other = Home(tmp_path / "other")
    ended = kbjobs("restore", tmp_path / "theirs.tar", env={**os.environ, "KBJOBS_HOME": str(other.path)})
    assert "has a command run after each job: sh -c 'rm -rf /'. If it is not yours" in ended.stderr
