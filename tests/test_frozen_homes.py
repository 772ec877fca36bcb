"""Homes that earlier versions have left in the middle of their work are taken up by this one."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.sources import verify
from tests.conftest import ROOT, Kbjobs, read_json

FOLDER = "/tmp/kbjobs-frozen"  # in which they were made


@pytest.fixture(params=["0.1.0", "0.2.0"])
def version(
    request: pytest.FixtureRequest, home: Home, tmp_path: Path, minilm: None, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The version by which the home was made: see tests/tools/old_homes.py. However old it is, no job is forgotten."""
    monkeypatch.setenv("KBJOBS_HISTORY_DAYS", "36500")
    with tarfile.open(ROOT / "tests" / "frozen" / f"home-{request.param}.tar.xz") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    shutil.move(tmp_path / "unpacked" / "pages", tmp_path / "pages")
    for path in (tmp_path / "unpacked" / "home").iterdir():
        shutil.move(path, home.path / path.name)
    for manifest in home.sources.glob("*/manifest.json"):
        manifest.write_text(manifest.read_text().replace(FOLDER, str(tmp_path)))
    version: str = request.param
    return version


def test_what_an_earlier_version_left_goes_on(version: str, home: Home, kbjobs: Kbjobs) -> None:
    can_pause = version != "0.1.0"
    chain = 5 if can_pause else 4
    # What ended more than a week ago is in the history alone, and the frozen homes grow older.
    listed = [
        *read_json(kbjobs("history", "--days", "36500", "--json")),
        *read_json(kbjobs("status", "--json"))["jobs"],
    ]
    jobs = {job["id"]: job for job in listed}
    assert {number: jobs[number]["status"] for number in (1, 2, 3, chain)} == {
        1: "completed", 2: "interrupted", 3: "pending", chain: "running"
    }  # fmt: skip
    assert jobs[chain]["worker_is_dead"]
    assert [job["id"] for job in read_json(kbjobs("interrupted", "--json"))] == [2, chain]
    resumed = kbjobs("resume", str(chain))
    assert ("cut by an older version" in resumed.stderr) == (version == "0.1.0")
    assert "completed" in resumed.stdout
    told = read_json(kbjobs("status", str(chain), "--json"))
    metadata, index = (phase["result"] for phase in told["phases"])
    assert (metadata["documents"], index["documents"], index["chunks"]) == (8, 8, 8)
    assert (index["embedded"], index["reused"]) == (4, 4)  # the vectors of the first job are still good
    assert "completed" in kbjobs("resume", "2", "--timeout", "1h").stdout
    assert verify(home, "docs").ok
    assert len(read_json(kbjobs("search", "docs", "kettles", "--json"))) == 8
    waiting = read_json(kbjobs("status", "3", "--json"))
    assert (waiting["status"], waiting["not_before"][:4]) == ("pending", "2100")
    if can_pause:
        assert "held has been paused" in kbjobs("status").stderr
        kbjobs("unpause", "--source", "held")
        assert "completed" in kbjobs("wait", "4").stdout
