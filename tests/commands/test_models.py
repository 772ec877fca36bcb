"""``kbjobs models``: what is here, what it is, who needs it, and taking one away."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.embedding.model_catalogue import KNOWN_MODELS
from kbjobs.errors import ExitCode
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from tests.conftest import Kbjobs, read_json, wait_until, write_pages
from tests.servers.hub_server import HubServer

SMALL = "acme/small"


@pytest.fixture
def indexed(home: Home, hub: HubServer, tmp_path: Path, kbjobs: Kbjobs) -> None:
    """A source that is indexed with a model from the hub."""
    register(home, "wiki", [write_pages(tmp_path / "pages", 2)])
    kbjobs("run", "index-offline", "wiki", "--model", SMALL, "--download")


@pytest.mark.usefixtures("indexed", "minilm")
def test_what_is_here_and_what_is_known(home: Home, kbjobs: Kbjobs) -> None:
    listed = {model["name"]: model for model in read_json(kbjobs("models", "list", "--json"))}
    assert set(listed) == {SMALL, *(model.name for model in KNOWN_MODELS)}
    small, packaged, missing = listed[SMALL], listed["all-MiniLM-L6-v2"], listed["bge-m3"]
    assert (small["here"], small["place"], small["sources"]) == (True, "home", ["wiki"])
    assert (small["dimension"], small["window"], small["licence"]) == (32, 48, "apache-2.0")
    assert small["revision"] == "main" and len(small["commit"]) == 40 and small["size"] > 100_000
    assert (packaged["place"], packaged["licence"], packaged["revision"]) == ("package", "Apache-2.0", "")
    assert (missing["here"], missing["command"]) == (False, "kbjobs models download bge-m3")
    rows = [line.split("\t") for line in kbjobs("models", "list").stdout.splitlines()]
    assert {(SMALL, "home"), ("bge-m3", "not here")} <= {(row[0], row[5]) for row in rows}


@pytest.mark.usefixtures("indexed")
def test_everything_about_one(home: Home, kbjobs: Kbjobs) -> None:
    shown = read_json(kbjobs("models", "show", SMALL, "--json"))
    assert shown["key"].startswith("acme--small-") and shown["engine"]
    assert shown["path"] == kbjobs("models", "path", SMALL).stdout.strip() == str(home.models / SMALL)
    assert f"main ({shown['commit']})" in kbjobs("models", "show", SMALL).stdout
    output = kbjobs("models", "show", "multilingual-e5-small").stdout
    assert (
        "'query: '" in output and "'passage: '" in output and "kbjobs models download multilingual-e5-small" in output
    )


def test_what_nobody_knows(hub: HubServer, kbjobs: Kbjobs) -> None:
    for command in ("show", "path", "remove"):
        assert "did you mean bge-m3?" in kbjobs("models", command, "bgem3", check=4).stderr
    kbjobs("models", "path", "bge-m3", check=ExitCode.MISSING_REQUIREMENT)
    for name in ("../x", "/etc", "a/../../b", "."):
        assert kbjobs("models", "remove", name, check=None).returncode in (2, 4)


@pytest.mark.usefixtures("indexed")
def test_a_model_that_an_index_needs_stays(home: Home, kbjobs: Kbjobs) -> None:
    key = read_json(kbjobs("models", "show", SMALL, "--json"))["key"]
    ended = kbjobs("models", "remove", SMALL, check=ExitCode.CONFLICT)
    assert f"{SMALL} is needed to search wiki" in ended.stderr
    assert (home.models / SMALL).is_dir() and (home.engines / key).is_dir()
    removed = read_json(kbjobs("models", "remove", SMALL, "--force", "--json"))
    assert removed["name"] == SMALL and removed["bytes"] > 100_000
    assert not (home.models / "acme").exists() and not (home.engines / key).exists()
    # The vectors are still there: with the model, everything is.
    kbjobs("run", "model-download", SMALL)
    assert "0 embedded, 2 reused" in kbjobs("run", "index-offline", "wiki", "--model", SMALL).stdout


@pytest.mark.usefixtures("indexed")
def test_a_model_that_no_index_needs_goes(kbjobs: Kbjobs) -> None:
    kbjobs("run", "clear-vectors", "wiki", "--all")
    assert "is removed" in kbjobs("models", "remove", SMALL).stderr


def test_a_model_that_a_job_needs_stays(home: Home, hub: HubServer, kbjobs: Kbjobs) -> None:
    hub.rate = 100_000.0
    manager = JobManager(home)
    job_id = manager.submit("model_download", None, model=SMALL)
    wait_until(lambda: manager.get_status(job_id).pid)
    ended = kbjobs("models", "remove", SMALL, "--force", check=ExitCode.CONFLICT)
    assert f"job {job_id} (model-download) needs the model {SMALL}" in ended.stderr


def test_what_is_left_of_a_download_goes(home: Home, hub: HubServer, kbjobs: Kbjobs) -> None:
    hub.rate = 400_000.0
    manager = JobManager(home)
    job_id = manager.submit("model_download", None, model=SMALL)
    staging = home.downloads / "models" / "acme--small"
    wait_until(lambda: (staging / "onnx" / "model.onnx.part").exists())
    kbjobs("cancel", str(job_id))
    wait_until(lambda: manager.get_status(job_id).has_ended)
    assert (staging / "onnx" / "model.onnx.part").stat().st_size > 0
    kbjobs("models", "remove", SMALL)
    assert not staging.exists()


@pytest.mark.usefixtures("minilm")
def test_a_model_that_kbjobs_has_not_fetched_is_not_its_to_remove(hub: HubServer, kbjobs: Kbjobs) -> None:
    assert "a Python package" in kbjobs("models", "remove", "all-MiniLM-L6-v2", check=2).stderr


def test_a_damaged_model_is_told(home: Home, hub: HubServer, kbjobs: Kbjobs) -> None:
    kbjobs("run", "model-download", SMALL)
    (home.models / SMALL / "tokenizer.json").unlink()
    (row,) = [row for row in read_json(kbjobs("models", "list", "--json")) if row["name"] == SMALL]
    assert not row["here"] and "has no tokenizer.json" in row["problem"]
    assert row["command"] == f"kbjobs models download {SMALL}"
    kbjobs("run", "model-download", SMALL)
    assert "home" in kbjobs("models", "show", SMALL).stdout
