"""Whole jobs on a real Chroma server: the worker killed at each point, the server killed, away; every command."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import stop_daemon
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register, verify
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import FACTOR, Kbjobs, read_json, rest_full, wait_until, write_pages
from tests.faults.test_crash_points import finish
from tests.phases.test_index_offline import ledger_vectors
from tests.servers.chroma_process import ChromaProcess, free_port
from tests.servers.openai_server import OpenAIServer

NAME = "kbjobs-docs-text-embedding-3-small"


@pytest.fixture
def chroma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChromaProcess]:
    with ChromaProcess(tmp_path / "chroma" / "data") as process:
        monkeypatch.setenv("KBJOBS_VECTORS_CHROMA", process.url)
        yield process


def names(chroma: ChromaProcess) -> list[str]:
    return sorted(collection.name for collection in chroma.client().list_collections())


def count(chroma: ChromaProcess) -> int:
    (name,) = names(chroma)
    return int(chroma.client().get_collection(name, embedding_function=None).count())


POINTS = ("server.before_publish", "server.between_renames", "server.renamed", "server.deleted", "clear.marked")


@pytest.mark.parametrize(
    "point",
    rest_full(["collection.upserted", *POINTS[:3], "publish.before", "publish.done"], "server.between_renames"),
)
def test_a_kill_of_the_worker_at_each_point(
    home: Home,
    tmp_path: Path,
    openai_api: OpenAIServer,
    chroma: ChromaProcess,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    pages = write_pages(tmp_path / "pages", 60)
    register(home, "docs", [pages])
    manager = JobManager(home)
    if point == "server.between_renames":  # there is a live collection then
        assert finish(manager, manager.submit("index_online", "docs")).exit_code == 0
        write_pages(pages / "more", 30)
        stop_daemon(home, now=True, seconds=20)
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    job = finish(manager, manager.submit("index_online", "docs"))
    assert marker.exists(), "the point was never reached"
    assert (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, 0, 2), job
    assert len(openai_api.sold_texts) == len(set(openai_api.sold_texts)) == len(ledger_vectors(home, "docs"))
    found = verify(home, "docs")
    assert found.ok and count(chroma) == found.checked


@pytest.mark.parametrize("point", rest_full(["server.deleted", "clear.marked", "clear.removed"], "server.deleted"))
def test_a_kill_while_clearing(
    home: Home,
    tmp_path: Path,
    openai_api: OpenAIServer,
    chroma: ChromaProcess,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 20)])
    manager = JobManager(home)
    assert finish(manager, manager.submit("index_online", "docs")).exit_code == 0
    stop_daemon(home, now=True, seconds=20)
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    job = finish(manager, manager.submit("clear_vectors", "docs", all=True))
    assert marker.exists() and (job.exit_code, job.attempt) == (0, 2), job
    assert names(chroma) == []
    job = finish(manager, manager.submit("index_online", "docs"))
    assert job.result is not None and (job.result["embedded"], job.result["reused"]) == (0, 20)
    assert count(chroma) == 20


@pytest.mark.parametrize(
    "point", rest_full([None, "server.deleted", "delete.renamed", "delete.removed_file"], "delete.renamed")
)
def test_a_deletion_takes_the_collection_too(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, chroma: ChromaProcess, monkeypatch: pytest.MonkeyPatch,
    point: str | None,
) -> None:  # fmt: skip
    register(home, "docs", [write_pages(tmp_path / "pages", 20)])
    manager = JobManager(home)
    assert finish(manager, manager.submit("index_online", "docs")).exit_code == 0
    theirs = chroma.client().create_collection("theirs")
    stop_daemon(home, now=True, seconds=20)
    marker = tmp_path / "killed"
    if point:
        monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    job = finish(manager, manager.submit("delete_source", "docs", confirm="docs"))
    assert (job.exit_code, job.attempt) == (0, 2 if point else 1), job
    assert names(chroma) == [theirs.name]
    assert f" on {chroma.url} deleted" in str(job.message), job.message
    assert not (home.sources / "docs").exists()


def test_a_deletion_where_the_server_is_gone_for_good(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, chroma: ChromaProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 5)])
    manager = JobManager(home)
    assert finish(manager, manager.submit("index_online", "docs")).exit_code == 0
    stop_daemon(home, now=True, seconds=20)
    chroma.kill()
    monkeypatch.setenv("KBJOBS_VECTORS_CHROMA_WAIT", "0.5")
    job = finish(manager, manager.submit("delete_source", "docs", confirm="docs"))
    assert (job.status, job.exit_code) == (Status.FAILED, 7)
    assert (home.sources / "docs" / "source.db").exists()
    stop_daemon(home, now=True, seconds=20)
    monkeypatch.delenv("KBJOBS_VECTORS_CHROMA")
    job = finish(manager, manager.submit("delete_source", "docs", confirm="docs"))
    assert job.exit_code == 0 and not (home.sources / "docs").exists()
    assert "not touched" in str(job.message) and chroma.url in str(job.message)


@pytest.mark.full
def test_the_server_is_killed_again_and_again(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, chroma: ChromaProcess
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1_500)])
    manager = JobManager(home)
    job_id = manager.submit("index_online", "docs")
    drawn = random.Random(7)
    kills = 0
    while not manager.get_status(job_id).has_ended:
        time.sleep(drawn.uniform(0.2, 0.6))
        if kills < 4 * FACTOR:
            chroma.kill()
            time.sleep(drawn.uniform(0.0, 0.4))
            chroma.start()
            kills += 1
    job = manager.get_status(job_id)
    assert (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, 0, 1), job
    assert kills
    assert len(openai_api.sold_texts) == len(set(openai_api.sold_texts)) == 1_500
    assert verify(home, "docs").ok and count(chroma) == 1_500


def test_a_server_that_is_away_for_long_ends_the_job_and_keeps_what_was_bought(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, chroma: ChromaProcess, kbjobs: Kbjobs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("KBJOBS_VECTORS_CHROMA_WAIT", "1")
    register(home, "docs", [write_pages(tmp_path / "pages", 40)])
    chroma.kill()
    ended = kbjobs("run", "index-online", "docs", check=7)
    assert "cannot be reached" in ended.stderr and "Traceback" not in ended.stderr
    assert len(openai_api.sold_texts) == 40
    ended = kbjobs("sources", "verify", "docs", check=7)
    assert "cannot be reached" in ended.stderr and "Traceback" not in ended.stderr
    ended = kbjobs("search", "page 7", "--json")  # by its words
    chroma.start()
    kbjobs("resume", "--all")
    ended = kbjobs("run", "index-online", "docs", check=None)
    assert len(openai_api.sold_texts) == 40
    wait_until(lambda: not JobManager(home).get_active_jobs(), 30)
    assert verify(home, "docs").ok and count(chroma) == 40


def test_a_job_that_waits_for_the_server_says_so_and_can_be_cancelled(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, chroma: ChromaProcess
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 5)])
    chroma.kill()
    manager = JobManager(home)
    job_id = manager.submit("index_online", "docs")
    wait_until(lambda: "waiting for the Chroma server" in str(manager.get_status(job_id).message), 30)
    manager.cancel(job_id)
    assert finish(manager, job_id).status is Status.CANCELLED


def test_every_command_of_a_source_on_a_server(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, chroma: ChromaProcess, kbjobs: Kbjobs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pages = write_pages(tmp_path / "pages", 30)
    kbjobs("sources", "add", "docs", pages)
    kbjobs("run", "index-online", "docs")
    assert read_json(kbjobs("sources", "verify", "docs", "--json"))["ok"]
    shown = read_json(kbjobs("sources", "show", "docs", "--json"))
    assert [model["store"] for model in shown["models"]] == [chroma.url]
    exact = read_json(kbjobs("search", "docs", "page 7", "--json"))
    chroma.client().delete_collection(names(chroma)[0])
    drift = read_json(kbjobs("sources", "verify", "docs", "--json", check=1))
    assert [one["problem"] for one in drift["drift"]] == ["absent"]
    kbjobs("sources", "rebuild", "docs")
    assert read_json(kbjobs("sources", "verify", "docs", "--json"))["ok"]
    kbjobs("sources", "compact", "docs")
    kbjobs("run", "index-online", "docs", "--json")
    again = read_json(kbjobs("history", "--json"))[0]
    assert again["result"]["embedded"] == 0
    # Without a matrix the server answers.
    monkeypatch.setenv("KBJOBS_MATRIX_MAX_MB", "0")
    kbjobs("sources", "rebuild", "docs")
    assert not (SourceFolder(home.sources, "docs").vectors / NAME / "matrix.f32").exists()
    found = read_json(kbjobs("search", "docs", "page 7", "--mode", "vectors", "--json"))
    assert found[0]["doc_id"] == exact[0]["doc_id"]
    chroma.kill()
    ended = kbjobs("search", "docs", "page 7", "--mode", "vectors", check=7)
    assert "cannot be reached" in ended.stderr
    chroma.start()
    kbjobs("run", "clear-vectors", "docs", "--all")
    assert names(chroma) == []
    kbjobs("run", "index-online", "docs")
    kbjobs("sources", "remove", "docs", "--confirm", "docs")
    assert names(chroma) == []


@pytest.mark.full
def test_a_source_moves_to_a_server_and_back(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, chroma: ChromaProcess, kbjobs: Kbjobs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("KBJOBS_VECTORS_CHROMA")
    register(home, "docs", [write_pages(tmp_path / "pages", 30)])
    kbjobs("run", "index-online", "docs")
    home.config_file.write_text(f'vectors.chroma = "{chroma.url}"\n')
    kbjobs("daemon", "restart")
    kbjobs("run", "index-online", "docs")
    live = next(SourceFolder(home.sources, "docs").vectors.iterdir())
    assert count(chroma) == 30 and sorted(path.name for path in live.iterdir()) == ["matrix.f32", "passages.db"]
    home.config_file.unlink()
    kbjobs("daemon", "restart")
    kbjobs("run", "index-online", "docs")
    assert (live / "chroma.sqlite3").exists() and verify(home, "docs").ok
    assert len(openai_api.sold_texts) == 30
    assert count(chroma) == 30  # left there, and told in the log
    assert "is left there" in kbjobs("logs", "3").stdout


def test_doctor_looks_at_the_server(home: Home, chroma: ChromaProcess, kbjobs: Kbjobs) -> None:
    found = {one["check"]: one for one in read_json(kbjobs("doctor", "--json", check=None))["findings"]}
    assert found["chroma"]["level"] == "ok" and chroma.url in found["chroma"]["text"]
    chroma.kill()
    found = {one["check"]: one for one in read_json(kbjobs("doctor", "--json", check=None))["findings"]}
    assert found["chroma"]["level"] == "problem" and "cannot be reached" in found["chroma"]["text"]


def test_a_foreign_collection_ends_the_job_with_a_clear_error(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, chroma: ChromaProcess, kbjobs: Kbjobs
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 5)])
    kbjobs("run", "index-online", "docs")
    (name,) = names(chroma)
    client = chroma.client()
    client.delete_collection(name)
    client.create_collection(name)
    write_pages(tmp_path / "pages" / "more", 3)
    ended = kbjobs("run", "index-online", "docs", check=5)
    assert "was not made by this source" in ended.stderr and "vectors.chroma_prefix" in ended.stderr
    assert count(chroma) == 0


def test_an_address_where_nobody_is_does_not_stop_a_submit(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may be back when the job runs at night; what no address is refused at once."""
    monkeypatch.setenv("KBJOBS_VECTORS_CHROMA", f"http://127.0.0.1:{free_port()}")
    register(home, "docs", [write_pages(tmp_path / "pages", 5)])
    manager = JobManager(home)
    job_id = manager.submit("index_online", "docs")
    manager.cancel(job_id)
    finish(manager, job_id)
