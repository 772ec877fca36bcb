"""``kbjobs doctor``: everything a job will need, each finding with its remedy; nothing is changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.secrets import set_secret
from kbjobs.store.queue import Queue
from kbjobs.store.sources import SourceFolder
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, read_json
from tests.servers.pinecone_server import PineconeServer


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a unit of systemd."""
    monkeypatch.setenv("HOME", str(tmp_path))


def findings(kbjobs: Kbjobs, check: int | None = None) -> dict[str, Any]:
    """What was found, by the name of the check; of several findings of a check the last."""
    output = read_json(kbjobs("doctor", "--json", check=check))
    assert output["ok"] == (not any(one["level"] == "problem" for one in output["findings"]))
    return {finding["check"]: finding for finding in output["findings"]}


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "doctor")


def test_an_empty_home(home: Home, kbjobs: Kbjobs, minilm: None) -> None:
    before = set(home.path.rglob("*"))
    shown = kbjobs("doctor")
    rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert shown.stderr == ""
    assert {row[1] for row in rows if row[0] == "ok"} >= {"home", "disk", "settings", "databases", "sources", "daemon"}
    assert [row[1] for row in rows if row[0] == "note"] == ["reboot"]
    assert set(home.path.rglob("*")) - before <= {home.engines / "weights"}


def test_a_home_that_is_not_there(kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KBJOBS_HOME", str(tmp_path / "nowhere"))
    assert findings(kbjobs)["home"]["level"] == "note"
    assert not (tmp_path / "nowhere").exists()


def test_all_is_well_after_a_job(source: str, kbjobs: Kbjobs, minilm: None) -> None:
    kbjobs("run", "steps", source, "--count", "1", "--quiet")
    well = findings(kbjobs, check=0)
    assert {well[check]["level"] for check in ("home", "disk", "settings", "databases", "daemon", "model")} == {"ok"}
    assert well["databases"]["text"] == "1 file, whole"


def test_what_is_wrong_has_a_remedy(home: Home, past: Queue, kbjobs: Kbjobs) -> None:
    home.path.chmod(0o755)
    (home.daemon_lock.parent / "run-of-yesterday.lock").touch()
    found = findings(kbjobs, check=1)
    assert (found["home"]["level"], found["home"]["remedy"]) == ("problem", f"chmod go= {home.path}")
    assert found["daemon"]["text"] == "no daemon is running, and 1 job waits"
    assert found["daemon"]["remedy"] == "kbjobs daemon start"
    assert found["stale locks"]["level"] == "note"


def test_damage_is_found(home: Home, source: str, kbjobs: Kbjobs) -> None:
    SourceFolder(home.sources, source).manifest.write_text("{}")
    home.state_file.write_bytes(b"garbage " * 2000)
    home.config_file.write_text("workers = 0\n")
    found = findings(kbjobs, check=1)
    for check, words in (
        ("databases", "state.db is damaged: file is not a database"),
        ("sources", "a/manifest.json is damaged"),
        ("settings", "workers = 0 is out of range"),
        ("daemon", "state.db is damaged"),
    ):
        assert (found[check]["level"], words in found[check]["text"]) == ("problem", True), found[check]
        assert found[check]["remedy"]


def test_what_jobs_and_chains_will_need(home: Home, kbjobs: Kbjobs, minilm: None) -> None:
    assert findings(kbjobs)["secrets"]["level"] == "ok"
    home.chains.mkdir()
    (home.chains / "nightly.toml").write_text('[[phase]]\njob = "index_online"\n')
    (home.chains / "broken.toml").write_text("[[phase]")
    found = findings(kbjobs, check=1)["secrets"]
    assert "chain nightly needs it" in found["text"]
    assert found["remedy"] == "kbjobs config set-secret OPENAI_API_KEY"
    set_secret(home, "OPENAI_API_KEY", "sk-of-a-test")
    found = findings(kbjobs)["secrets"]
    assert (found["level"], "sk-of" in found["text"]) == ("ok", False)
    (home.chains / "nightly.toml").write_text('[[phase]]\njob = "index_offline"\nparams = { dimension = 1024 }\n')
    wrong = [one for one in read_json(kbjobs("doctor", "--json", check=1))["findings"] if one["level"] == "problem"]
    assert [one["check"] for one in wrong] == ["model"]
    assert "bge-large-en-v1.5" in wrong[0]["text"]
    assert "chain nightly needs it" in wrong[0]["text"]


def test_an_engine_that_cannot_run_the_model(
    home: Home, kbjobs: Kbjobs, minilm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_ENGINE", "onnxruntime")
    found = findings(kbjobs, check=1)["model"]
    assert "the engine onnxruntime cannot run all-MiniLM-L6-v2, which ships no onnx/model.onnx" in found["text"]
    assert "--engine auto" in found["remedy"]


def test_an_old_daemon(home: Home, kbjobs: Kbjobs) -> None:
    kbjobs("daemon", "start")
    queue = Queue(home.state_file)
    queue.connection.execute("UPDATE daemon SET version = '0.0.1'")
    queue.close()
    found = findings(kbjobs, check=1)["daemon"]
    assert "it still is that of kbjobs 0.0.1" in found["text"]
    assert found["remedy"] == "kbjobs daemon restart"
    kbjobs("daemon", "restart")
    assert findings(kbjobs)["daemon"]["level"] == "ok"


def test_a_left_over_process(home: Home, kbjobs: Kbjobs) -> None:
    stray = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)", str(home.path)],
        env={**os.environ, "KBJOBS_RUN_ID": "gone"},
    )
    try:
        found = findings(kbjobs, check=1)["left-over processes"]
        assert found["text"] == f"process {stray.pid} is of run gone, which has ended"
    finally:
        stray.kill()
        stray.wait()


def test_pinecone(home: Home, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pinecone" not in findings(kbjobs)
    with PineconeServer() as server:
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", server.url)
        monkeypatch.setenv("KBJOBS_PINECONE_INDEX", "kb")
        assert "PINECONE_API_KEY" in findings(kbjobs, check=1)["pinecone"]["text"]
        monkeypatch.setenv("PINECONE_API_KEY", server.key)
        missing = findings(kbjobs, check=1)["pinecone"]
        assert missing["level"] == "problem" and "--create-index" in missing["remedy"]
        server.make("kb", dimension=8)
        assert "8 and cosine" in findings(kbjobs, check=1)["pinecone"]["text"]
        server.make("kb")
        assert findings(kbjobs)["pinecone"]["level"] == "ok"
        assert server.writes == 0 and not home.pinecone_hosts.exists()
        monkeypatch.setenv("PINECONE_API_KEY", "pcsk-wrong")
        refused = findings(kbjobs, check=1)["pinecone"]
        assert "refuses" in refused["text"] and "pcsk-wrong" not in str(refused)
