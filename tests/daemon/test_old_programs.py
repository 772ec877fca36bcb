"""Upgrades in place from the programs of earlier versions: with their daemon alive, and after the machine went down."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.version import VERSION
from tests.conftest import ROOT, copy_pages, is_alive, wait_until
from tests.tools.old_homes import COMMITS, OldProgram, build, go_down

pytestmark = [pytest.mark.full, pytest.mark.slow, pytest.mark.usefixtures("minilm")]


@pytest.fixture(params=COMMITS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OldProgram]:
    """The program of an earlier version, with a home of its own. Its daemon is gone when the test has ended."""
    commit = COMMITS[request.param]
    if subprocess.run(["git", "cat-file", "-e", commit], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip(f"this clone lacks {commit}, which is kbjobs {request.param}")
    if request.param == "0.1.0" and importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("0.1.0 prepares a model with sentence-transformers, which is not installed")
    program = OldProgram(commit, tmp_path / "installed", tmp_path / "own-home")
    yield program
    program.run("daemon", "stop", "--now")


def upgrade(old: OldProgram) -> None:
    """Put this program in the place of the old one."""
    shutil.rmtree(old.folder / "kbjobs")
    shutil.copytree(ROOT / "kbjobs", old.folder / "kbjobs", ignore=shutil.ignore_patterns("__pycache__"))


def check_others(old: OldProgram) -> None:
    """The jobs beside the chain are as they were, and go on."""
    jobs = {job["id"]: job for job in json.loads(old.run("history", "--json").stdout)}
    assert [jobs[number]["status"] for number in (1, 2, 3)] == ["completed", "interrupted", "pending"]
    assert jobs[3]["not_before"].startswith("2100-01-01")
    resumed = old.run("resume", "2", "--timeout", "1h")
    assert resumed.returncode == 0, resumed.stderr
    if jobs[4]["source"] == "held":
        assert jobs[4]["status"] == "pending"
        assert old.run("unpause", "--source", "held").returncode == 0
        assert old.run("wait", "4").returncode == 0
    assert old.run("sources", "verify", "docs").returncode == 0


def test_a_home_whose_machine_went_down(old: OldProgram, tmp_path: Path) -> None:
    chain = go_down(old, build(old, tmp_path / "pages"))
    upgrade(old)
    shown = json.loads(old.run("status", str(chain), "--json").stdout)
    assert (shown["status"], shown["worker_is_dead"]) == ("running", True)
    resumed = old.run("resume", str(chain))
    assert resumed.returncode == 0, resumed.stderr
    index = json.loads(old.run("status", str(chain), "--json").stdout)["phases"][1]["result"]
    assert (index["documents"], index["embedded"], index["reused"]) == (8, 4, 4)
    check_others(old)


def test_a_home_whose_daemon_and_worker_run(old: OldProgram, tmp_path: Path, python_docs: Path) -> None:
    file = build(old, tmp_path / "pages")
    for page in copy_pages(python_docs, tmp_path / "more", 40).iterdir():
        shutil.move(page, tmp_path / "pages" / "docs")
    chain = old.submit("chain", file)
    wait_until(lambda: "embedding: " in old.run("status", str(chain)).stdout, 120)
    before = old.daemon
    upgrade(old)
    assert json.loads(old.run("status", str(chain), "--json").stdout)["status"] == "running"
    waited = old.run("wait", str(chain))
    assert waited.returncode == 0, waited.stderr
    daemon = json.loads(old.run("daemon", "status", "--json").stdout)
    wait_until(lambda: json.loads(old.run("daemon", "status", "--json").stdout)["version"] == VERSION)
    output = old.run("status", str(chain)).stdout
    assert "died" not in output
    if "does not know its newer format" in waited.stderr:  # 0.1.0 cannot hand over
        assert daemon["pid"] != before
        assert "requeue (daemon stopped)" in output
    check_others(old)
    assert is_alive(old.daemon)
