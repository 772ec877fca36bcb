"""model_download as a job: fetched, prepared, shown; killed, doubled, refused; and as the first step of an index."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.errors import ExitCode, NotFoundError, UsageError
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.phases.model_download import JOB_TYPE, ModelDownloadParams, plan
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import FACTOR, MODEL, ROOT, Kbjobs, read_json, wait_until, write_pages
from tests.faults.points import POINTS
from tests.faults.test_crash_points import finish
from tests.servers.hub_server import Fault, HubServer

SMALL = "acme/small"
ONNX = "onnx/model.onnx"


def test_a_model_is_fetched_and_prepared(home: Home, hub: HubServer, kbjobs: Kbjobs) -> None:
    ended = kbjobs("run", "model-download", SMALL)
    assert f"{SMALL}: " in ended.stdout
    assert "dimension 32, window 48 tokens, licence apache-2.0, runs with " in ended.stdout
    job = JobManager(home).get_job_history(1)[0]
    assert (job.type, job.source, job.exit_code) == ("model_download", None, 0)
    assert job.result is not None
    folder = find_model(SMALL, home.models)
    assert folder.note is not None
    assert (job.result["commit"], job.result["path"]) == (folder.note.commit, str(folder.path))
    assert json.loads((home.engines / job.result["key"] / "engine.json").read_text())["chosen"] == job.result["engine"]
    assert "is here already" in kbjobs("run", "model-download", SMALL).stdout


PROGRAM = """
import sys, time
from pathlib import Path
from kbjobs.embedding.choose import load_embedder
start = time.perf_counter()
embedder = load_embedder(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
taken = time.perf_counter() - start
heavy = {"torch", "sentence_transformers", "transformers"} & set(sys.modules)
print(embedder.model_key, embedder.engine, taken, *heavy)
"""


def test_the_first_load_needs_no_torch(home: Home, hub: HubServer, kbjobs: Kbjobs, tmp_path: Path) -> None:
    """Also the process that converts: a torch that cannot be imported would end it."""
    kbjobs("run", "model-download", SMALL)
    broken = tmp_path / "broken"
    for package in ("torch", "sentence_transformers", "transformers"):
        (broken / package).mkdir(parents=True)
        (broken / package / "__init__.py").write_text("raise RuntimeError('torch is imported')")
    command = [sys.executable, "-c", PROGRAM, SMALL, str(home.models), str(tmp_path / "engines")]
    environment = {**os.environ, "PYTHONPATH": f"{broken}{os.pathsep}{ROOT}"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    key, engine, _, *heavy = ended.stdout.split()
    assert key.startswith("acme--small-") and engine.startswith(("openvino", "onnxruntime")) and not heavy


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("download.")])
def test_a_kill_at_each_point(
    home: Home, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Also in the place of a model that was here before: it is whole, the old one or the new one."""
    manager = JobManager(home)
    first = manager.submit("model_download", None, model=SMALL)
    assert finish(manager, first).exit_code == 0
    restart(manager, monkeypatch, point, tmp_path / "killed")
    job = finish(manager, manager.submit("model_download", None, model=SMALL, force=True))
    assert (tmp_path / "killed").exists(), "the point was never reached"
    assert (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, 0, 2)
    assert find_model(SMALL, home.models).note is not None
    left = [path.name for path in (home.downloads / "models").iterdir() if path.is_dir()]
    assert left == []


def restart(manager: JobManager, monkeypatch: pytest.MonkeyPatch, point: str, marker: Path) -> None:
    """Have the next daemon's workers killed at a point, once."""
    from kbjobs.daemon.launching import ensure_daemon, stop_daemon

    stop_daemon(manager.home, now=True, seconds=30)
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    ensure_daemon(manager.home)


@pytest.mark.full
@pytest.mark.processes
@pytest.mark.long
def test_workers_killed_at_any_byte(home: Home, hub: HubServer, small_model: Path) -> None:
    """What was not on its way is not fetched again, and the model is right in the end."""
    kills = 3 * FACTOR
    chance = random.Random(4)
    files: dict[str, bytes | Path] = {
        path.relative_to(small_model).as_posix(): path for path in small_model.rglob("*") if path.is_file()
    }
    files[f"{ONNX}_data"] = chance.randbytes(6_000_000 * kills)  # comes along, and nothing reads it
    hub.add(SMALL, files)
    hub.rate = 10_000_000.0
    manager = JobManager(home)
    job_id = manager.submit("model_download", None, model=SMALL)
    part = home.downloads / "models" / "acme--small" / "onnx" / "model.onnx_data.part"
    size = len(files[f"{ONNX}_data"])  # type: ignore[arg-type]
    for number in range(kills):
        wish = int((number + chance.random()) / (kills + 1) * size)
        wait_until(lambda wish=wish: part.exists() and part.stat().st_size > wish, 60, 0.002)
        pid = wait_until(lambda: manager.get_status(job_id).pid)
        os.kill(pid, 9)
        wait_until(lambda pid=pid: manager.get_status(job_id).pid not in (None, pid))
    hub.rate = None
    assert finish(manager, job_id).exit_code == 0
    assert (home.models / SMALL / f"{ONNX}_data").read_bytes() == files[f"{ONNX}_data"]
    assert hub.sent[f"{ONNX}_data"] - size <= 1_000_000 * kills
    starts = hub.starts(f"{ONNX}_data")
    assert starts == sorted(set(starts)) and len(starts) == kills + 1


def test_of_two_downloads_at_once_the_second_waits(home: Home, hub: HubServer) -> None:
    hub.rate = 2_000_000.0
    manager = JobManager(home)
    jobs = [
        manager.submit("model_download", None, model=SMALL),
        manager.submit("model_download", None, model=SMALL, revision="main"),
    ]
    assert [finish(manager, job).exit_code for job in jobs] == [0, 0]
    assert hub.starts(ONNX) == [0]


def test_a_failed_download_says_why(home: Home, hub: HubServer, kbjobs: Kbjobs) -> None:
    assert "did you mean bge-m3?" in kbjobs("run", "model-download", "BAAI/bge-m33", check=4).stderr
    hub.gated.add(SMALL)
    assert f"Accept its licence at {hub.url}/{SMALL}" in kbjobs("run", "model-download", SMALL, check=6).stderr
    hub.gated.clear()
    hub.faults[ONNX] = [Fault(alter=True, lasting=True)]
    assert "is not the expected file: its sha256 is" in kbjobs("run", "model-download", SMALL, check=1).stderr
    assert not (home.models / SMALL).exists()


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("bgem3", NotFoundError, "did you mean bge-m3?"),
        ("../../etc", NotFoundError, "there is no known model"),
        ("text-embedding-3-small", NotFoundError, "is not a local model"),
    ],
)
def test_a_name_that_cannot_be_one(home: Home, name: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says.replace("?", r"\?")):
        plan(
            PhaseRequest(
                home, Settings(home), ModelDownloadParams(model=name, revision=None, force=False), is_general=True
            )
        )


@pytest.mark.parametrize("revision", ["", "../x", "a b", "-x", "a..b", "x/", "a\n"])
def test_a_revision_that_cannot_be_one(home: Home, revision: str) -> None:
    with pytest.raises(UsageError, match="is not a revision"):
        plan(
            PhaseRequest(
                home,
                Settings(home),
                ModelDownloadParams(model="bge-m3", revision=revision, force=False),
                is_general=True,
            )
        )


def test_the_name_that_is_known_is_filled_in(home: Home) -> None:
    params = ModelDownloadParams(model="baai/BGE-m3", revision="refs/pr/7", force=False)
    planned = plan(PhaseRequest(home, Settings(home), params, is_general=True))
    assert planned.params == params.model_copy(update={"model": "bge-m3"})
    assert planned.dimension == 1024
    assert JOB_TYPE.target.shown == "MODEL"


# -- as the first step of an index --------------------------------------------------------------------


@pytest.fixture
def wiki(home: Home, tmp_path: Path) -> SourceFolder:
    register(home, "wiki", [write_pages(tmp_path / "pages", 3)])
    return SourceFolder(home.sources, "wiki")


def test_a_missing_model_names_the_command(hub: HubServer, wiki: SourceFolder, kbjobs: Kbjobs) -> None:
    ended = kbjobs("run", "index-offline", "wiki", "--model", "bge-m3", check=ExitCode.MISSING_REQUIREMENT)
    assert "\nkbjobs models download bge-m3\n" in ended.stderr
    ended = kbjobs("run", "index-offline", "wiki", "--model", SMALL, check=ExitCode.NOT_FOUND)
    assert f"kbjobs models download {SMALL}" in ended.stderr


def test_an_index_fetches_its_model(home: Home, hub: HubServer, wiki: SourceFolder, kbjobs: Kbjobs) -> None:
    ended = kbjobs("run", "index-offline", "wiki", "--model", SMALL, "--download")
    assert "3 passages: 3 embedded" in ended.stdout
    with Ledger(wiki.ledger) as ledger:
        assert [model.name for model in ledger.models()] == [SMALL]
    hits = read_json(kbjobs("search", "wiki", "kettle", "--model", SMALL, "--json"))
    assert len(hits) == 3
    # Now that it is here, the wish changes nothing.
    assert "0 embedded, 3 reused" in kbjobs("run", "index-offline", "wiki", "--model", SMALL, "--download").stdout


def test_an_index_fails_with_the_error_of_its_download(hub: HubServer, wiki: SourceFolder, kbjobs: Kbjobs) -> None:
    ended = kbjobs("run", "index-offline", "wiki", "--model", "acme/none", "--download", check=4)
    assert "has no model 'acme/none'" in ended.stderr
    assert not wiki.ledger.exists()
    ended = kbjobs("run", "index-offline", "wiki", "--model", "nonsense", "--download", check=4)
    assert "there is no known model 'nonsense'" in ended.stderr
    ended = kbjobs("run", "index-offline", "wiki", "--model", "bge-m3", "--dimension", "384", "--download", check=2)
    assert "gives 1024 dimensions, not 384" in ended.stderr


def test_a_chain_fetches_its_model_and_indexes(
    home: Home, hub: HubServer, wiki: SourceFolder, kbjobs: Kbjobs, tmp_path: Path
) -> None:
    chain = tmp_path / "night.toml"
    chain.write_text(
        'name = "night"\nsource = "wiki"\n'
        f'[[phase]]\njob = "model_download"\nparams = {{ model = "{SMALL}" }}\n'
        f'[[phase]]\njob = "index_offline"\nparams = {{ model = "{SMALL}", download = true }}\n'
    )
    kbjobs("chain", str(chain))
    with Ledger(wiki.ledger) as ledger:
        assert [model.name for model in ledger.models()] == [SMALL]
    assert MODEL != SMALL
