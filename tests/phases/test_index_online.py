"""index_online with the real library against a server that has the API's limits and errors: nothing is bought twice."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.config.secrets import set_secret
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.openai_client import BadAnswerError
from kbjobs.embedding.openai_embedder import REQUEST_TEXTS
from kbjobs.embedding.rate_limits import FIRST_AT_ONCE
from kbjobs.errors import ExitCode, JobCancelled, KbjobsError, MissingRequirementError, TransientError
from kbjobs.phases import index_online
from kbjobs.phases.index_online import IndexOnlineParams
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.retrieval.hits import Query
from kbjobs.services.jobs import JobManager
from kbjobs.services.search import search_home
from kbjobs.services.sources import Rebuilt, describe, rebuild, register, verify
from kbjobs.store.jobs import Limits
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from tests.conftest import FACTOR, Kbjobs, copy_pages, read_json, some_full, wait_until, write_pages
from tests.phases.test_index_offline import Silent, ledger_vectors
from tests.servers.openai_server import (
    OpenAIServer,
    Reply,
    count_tokens,
    error_body,
    make_vector,
    no_money,
    rate_limit,
    server_error,
)

IN_FLIGHT = REQUEST_TEXTS * FIRST_AT_ONCE


def context(home: Home, is_stopping: Callable[[], bool] = lambda: False, job_id: int = 1) -> Context:
    folder = SourceFolder(home.sources, "docs")
    return Context(home, Settings(home), folder, job_id, Silent(), is_stopping, logging.getLogger("test"))


def index(home: Home, is_stopping: Callable[[], bool] = lambda: False, job_id: int = 1, **params: Any) -> PhaseResult:
    folder = SourceFolder(home.sources, "docs")
    plan = index_online.plan(PhaseRequest(home, Settings(home), IndexOnlineParams(**params), folder))
    return index_online.JOB_TYPE.run(context(home, is_stopping, job_id), plan.params)


def ledger_texts(home: Home) -> dict[str, str]:
    """Texts of all passages by hash."""
    ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
    texts = dict(ledger.connection.execute("SELECT text_hash, text FROM chunks").fetchall())
    ledger.close()
    return texts


@pytest.fixture
def docs(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source of 700 small pages: six requests, and never more of them at once than at the beginning."""
    monkeypatch.setenv("KBJOBS_ONLINE_REQUESTS", str(FIRST_AT_ONCE))
    pages = write_pages(tmp_path / "pages", 700)
    register(home, "docs", [pages])
    return pages


def test_an_edited_page_buys_exactly_its_new_passages(
    home: Home, tmp_path: Path, python_docs: Path, openai_api: OpenAIServer
) -> None:
    pages = copy_pages(python_docs, tmp_path / "pages", 12, "tutorial")
    register(home, "docs", [pages])
    first = index(home).counts
    assert first["embedded"] == len(openai_api.sold_texts) > 30
    assert first["embedded"] == len(set(openai_api.sold_texts))
    assert (first["model"], first["dimension"], first["engine"]) == ("text-embedding-3-small", 1536, "openai")
    assert first["tokens"] == openai_api.sold_tokens
    assert first["price_usd"] == pytest.approx(openai_api.sold_tokens * 0.02 / 1e6)
    assert max(count_tokens(text) for text in openai_api.sold_texts) <= 800
    again = index(home).counts
    assert (again["embedded"], again["tokens"], again["reused"]) == (0, 0, first["chunks"])
    assert len(openai_api.sold_texts) == first["embedded"]

    before = ledger_texts(home)
    page = sorted(pages.glob("*.html"))[3]
    page.write_text(page.read_text().replace("</h1>", "</h1><p>An axolotl regrows its limbs, a snake does not.</p>", 1))
    openai_api.sold_texts.clear()
    changed = index(home)
    new = {text for text_hash, text in ledger_texts(home).items() if text_hash not in before}
    assert changed.counts["changed"] == 1
    assert sorted(openai_api.sold_texts) == sorted(new)
    assert 1 <= len(new) < 5
    assert f"{changed.counts['tokens']:,} tokens bought" in changed.summary
    assert verify(home, "docs").ok


def test_vectors_have_length_one_and_belong_to_their_texts(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    """The answers come with their vectors in any order, and not normalised."""

    def alter(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for entry in data:
            entry["embedding"] = [3 * value for value in entry["embedding"]]
        return data[::-1]

    openai_api.alter = alter
    index(home)
    found = search_home(home, Query("Page 37", ("docs",), 1), [])
    assert found[0].model == "text-embedding-3-small"
    (text_hash,) = [name for name, text in ledger_texts(home).items() if text.endswith("number 37.")]
    vector = np.frombuffer(ledger_vectors(home)[text_hash], "<f4")
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-6)
    assert float(vector @ np.array(make_vector(ledger_texts(home)[text_hash]))) == pytest.approx(1.0, abs=1e-5)


def open_when_all_wait(server: OpenAIServer) -> None:
    """Open the gate once as many requests are there as are sent at first."""
    wait_until(lambda: server.waiting == FIRST_AT_ONCE)
    server.gate.set()


def test_requests_are_in_flight_together_and_within_the_limits(
    home: Home, docs: Path, openai_api: OpenAIServer
) -> None:
    openai_api.gate.clear()
    released = threading.Thread(target=open_when_all_wait, args=[openai_api])
    released.start()
    index(home)
    released.join()
    assert openai_api.most_at_once == FIRST_AT_ONCE
    assert max(request["inputs"] for request in openai_api.requests) <= REQUEST_TEXTS
    assert max(request["tokens"] for request in openai_api.requests) <= 300_000
    assert {request["status"] for request in openai_api.requests} == {200}
    assert len(openai_api.sold_texts) == 700


def test_a_rate_limit_is_waited_for_as_long_as_the_server_says(
    home: Home, tmp_path: Path, openai_api: OpenAIServer
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 3)])
    openai_api.script = [rate_limit(0.7)]
    assert index(home).counts["embedded"] == 3
    first, second = openai_api.requests
    assert (first["status"], second["status"], second["retry"]) == (429, 200, 1)
    assert second["time"] - first["time"] >= 0.7


@pytest.mark.parametrize("reply", some_full([server_error(500), server_error(503), Reply(break_off=True)], 2))
def test_a_passing_error_is_tried_again(home: Home, tmp_path: Path, openai_api: OpenAIServer, reply: Reply) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 3)])
    openai_api.script = [reply]
    assert index(home).counts["embedded"] == 3
    assert [request["retry"] for request in openai_api.requests] == [0, 1]


def test_a_server_that_stays_down_is_a_passing_error(home: Home, tmp_path: Path, openai_api: OpenAIServer) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 3)])
    stopped = Reply(503, error_body("down", "server_error"), {"x-should-retry": "false"})
    openai_api.always = stopped
    with pytest.raises(TransientError, match="503"):
        index(home)
    assert len(openai_api.requests) == 1  # the server said not to try again
    openai_api.always = None
    assert index(home).counts["embedded"] == 3


@pytest.mark.parametrize(
    "reply",
    some_full([no_money(), no_money("credit_balance_exhausted"), no_money("billing_hard_limit_reached", 400)], 1),
)
def test_an_exhausted_quota_stops_at_once_and_keeps_what_was_bought(
    home: Home, docs: Path, openai_api: OpenAIServer, reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    openai_api.budget = 3 * REQUEST_TEXTS
    sold = openai_api._sell

    def sell(*arguments: Any) -> Any:
        answer = sold(*arguments)
        return (reply, reply.error) if answer[0].status == 429 else answer

    monkeypatch.setattr(openai_api, "_sell", sell)
    with pytest.raises(MissingRequirementError, match="has no money left") as caught:
        index(home)
    assert caught.value.exit_code == ExitCode.MISSING_REQUIREMENT
    assert "billing" in caught.value.hint
    assert all(request["retry"] == 0 for request in openai_api.requests)
    # One that was not sent yet when the first was refused is given up.
    assert len(ledger_vectors(home)) == len(openai_api.sold_texts) <= 3 * REQUEST_TEXTS
    openai_api.budget = None
    index(home)
    assert len(openai_api.sold_texts) == len(set(openai_api.sold_texts)) == 700


def test_a_refused_key_is_told_and_not_shown(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-0123456789")
    with pytest.raises(MissingRequirementError, match="refuses OPENAI_API_KEY with status 401") as caught:
        index(home)
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert "set-secret" in caught.value.hint
    assert "sk-wrong" not in caught.value.message + caught.value.hint + caplog.text
    assert openai_api.sold_texts == []
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(MissingRequirementError, match="not set"):
        index(home)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wröng")
    with pytest.raises(MissingRequirementError, match="keys do not have"):
        index(home)


def test_a_refused_text_is_found_by_halving_and_the_others_are_bought_once(
    home: Home, tmp_path: Path, openai_api: OpenAIServer
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 40)])
    openai_api.refuse = lambda text: "number 17." in text
    result = index(home)
    assert (result.failed, result.counts["failed"], result.counts["embedded"]) == (1, 1, 39)
    assert len(openai_api.sold_texts) == len(set(openai_api.sold_texts)) == 39
    openai_api.refuse = lambda text: False
    assert index(home).counts["embedded"] == 1


def test_a_server_that_refuses_everything_is_not_asked_for_each_passage(
    home: Home, docs: Path, openai_api: OpenAIServer
) -> None:
    openai_api.refuse = lambda text: True
    with pytest.raises(BadAnswerError, match="25 passages in a row"):
        index(home)
    assert len(openai_api.requests) < 200


@pytest.mark.parametrize("vector", some_full([[0.0] * 1536, [float("nan")] * 1536, [3e38] * 1535 + [float("inf")]], 1))
def test_a_vector_that_is_none_is_never_stored(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, vector: list[float]
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 10)])

    def alter(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        data[4]["embedding"] = vector
        return data

    openai_api.alter = alter
    result = index(home)
    assert (result.failed, result.counts["embedded"]) == (1, 9)
    assert len(openai_api.sold_texts) == 10  # the others were not bought again
    vectors = [np.frombuffer(row, "<f4") for row in ledger_vectors(home).values()]
    assert len(vectors) == 9
    assert all(abs(float(np.linalg.norm(row)) - 1) < 1e-5 for row in vectors)


def drop_one(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return data[1:]


def shorten(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry | {"embedding": entry["embedding"][:512]} for entry in data]


def repeat_an_index(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry | {"index": 0} for entry in data]


def garble(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry | {"embedding": "not base64!"} for entry in data]


@pytest.mark.parametrize("alter", some_full([drop_one, shorten, repeat_an_index, garble, lambda data: []], 2))
def test_an_answer_that_does_not_fit_is_refused(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, alter: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 5)])
    openai_api.alter = alter
    with pytest.raises(BadAnswerError):
        index(home)
    assert ledger_vectors(home) == {}
    assert len(openai_api.requests) == 1  # and not bought again in the hope of a better one


def test_a_stop_keeps_what_is_in_flight(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    """The wish to stop comes while all requests wait at the server: they are awaited, and nothing is begun."""
    openai_api.gate.clear()
    stop = threading.Event()

    def is_stopping() -> bool:
        if openai_api.waiting == FIRST_AT_ONCE and not stop.is_set():
            stop.set()
            threading.Timer(0.3, openai_api.gate.set).start()
        return stop.is_set()

    with pytest.raises(JobCancelled):
        index(home, is_stopping)
    assert len(openai_api.requests) == FIRST_AT_ONCE
    assert len(ledger_vectors(home)) == len(openai_api.sold_texts) == IN_FLIGHT
    index(home)
    assert len(openai_api.sold_texts) == 700
    assert verify(home, "docs").ok


def test_a_failure_keeps_what_is_in_flight(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    openai_api.script = [Reply(401, error_body("no", "invalid_request_error", "invalid_api_key"))] + [
        Reply(delay=0.5)
    ] * (FIRST_AT_ONCE - 1)
    # None is answered before all have come: one that has not been sent yet is given up, and buys nothing.
    openai_api.gate.clear()
    opener = threading.Thread(target=open_when_all_wait, args=[openai_api])
    opener.start()
    with pytest.raises(MissingRequirementError):
        index(home)
    opener.join()
    kept = len(ledger_vectors(home))
    assert kept == len(openai_api.sold_texts) == IN_FLIGHT - REQUEST_TEXTS


def test_force_buys_again_and_goes_on_after_a_stop(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    index(home)
    openai_api.sold_texts.clear()
    with pytest.raises(JobCancelled):
        index(home, lambda: len(openai_api.sold_texts) >= 256, job_id=7, force=True)
    assert 256 <= len(openai_api.sold_texts) < 700
    index(home, job_id=7, force=True)
    assert len(openai_api.sold_texts) == len(set(openai_api.sold_texts)) == 700
    assert verify(home, "docs").ok


def test_a_dry_run_tells_the_price_changes_nothing_and_needs_no_key(
    home: Home, tmp_path: Path, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    dry = index(home, dry_run=True)
    folder = SourceFolder(home.sources, "docs")
    assert not folder.ledger.exists()
    assert not folder.vectors.exists()
    assert openai_api.requests == []
    monkeypatch.setenv("OPENAI_API_KEY", openai_api.key)
    real = index(home).counts
    assert (dry.counts["would_embed"], dry.counts["tokens"]) == (real["embedded"], real["tokens"])
    assert (dry.counts["documents"], dry.counts["chunks"]) == (real["documents"], real["chunks"])
    assert "list price of July 2026 (0.02 USD per million tokens)" in dry.summary

    (docs / "page3.html").write_text("<title>New</title><p>Quokkas smile and eat leaves at dusk.</p>")
    (docs / "page4.html").unlink()
    written = folder.ledger.read_bytes()
    dry = index(home, dry_run=True)
    assert folder.ledger.read_bytes() == written
    assert (dry.counts["would_embed"], dry.counts["changed"], dry.counts["vanished"]) == (1, 1, 1)
    assert index(home, dry_run=True, force=True).counts["would_embed"] == 700
    real = index(home).counts
    assert (real["embedded"], real["tokens"]) == (1, dry.counts["tokens"])


def test_a_dry_run_of_the_command_needs_no_key(
    kbjobs: Kbjobs, home: Home, tmp_path: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    register(home, "docs", [write_pages(tmp_path / "pages", 3)])
    refused = kbjobs("run", "index-online", "docs", check=ExitCode.MISSING_REQUIREMENT)
    assert "OPENAI_API_KEY" in refused.stderr
    assert "set-secret" in refused.stderr
    assert JobManager(home).get_active_jobs() == []
    shown = kbjobs("run", "index-online", "docs", "--dry-run")
    assert "3 would be embedded" in shown.stdout
    assert openai_api.requests == []


def test_a_search_of_an_online_index(
    kbjobs: Kbjobs, home: Home, tmp_path: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = write_pages(tmp_path / "pages", 20)
    (pages / "quokka.html").write_text("<title>Quokka</title><p>Quokkas smile and eat leaves at dusk.</p>")
    register(home, "docs", [pages])
    index(home)
    found = read_json(kbjobs("search", "docs", "Quokkas eat leaves", "-k", "1", "--json"))
    assert [hit["title"] for hit in found] == ["Quokka"]
    named = read_json(kbjobs("search", "Quokkas eat leaves", "-k", "1", "--model", "text-embedding-3-small", "--json"))
    assert named == found
    assert openai_api.sold_texts[-1] == "Quokkas eat leaves"
    long = kbjobs("search", "docs", "quokka " * 9000, "-k", "1")  # longer than the model reads
    assert "Quokka" in long.stdout

    monkeypatch.delenv("OPENAI_API_KEY")
    by_words = kbjobs("search", "docs", "leaves")
    assert "Quokka" in by_words.stdout
    assert "OPENAI_API_KEY is not set: searched by words alone." in by_words.stderr
    for asked in (["--model", "text-embedding-3-small"], ["--mode", "vectors"]):
        refused = kbjobs("search", "docs", "leaves", *asked, check=ExitCode.MISSING_REQUIREMENT)
        assert "set-secret" in refused.stderr
    set_secret(home, "OPENAI_API_KEY", openai_api.key)
    assert kbjobs("search", "docs", "Quokkas eat leaves", "-k", "1").stdout.startswith(" 1.")


def test_a_search_without_an_online_index_says_how_to_make_one(
    kbjobs: Kbjobs, home: Home, tmp_path: Path, openai_api: OpenAIServer
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 2)])
    refused = kbjobs("search", "docs", "x", "--model", "text-embedding-3-small", check=ExitCode.NOT_FOUND)
    assert "kbjobs run index-online docs" in refused.stderr
    assert openai_api.requests == []


def test_a_source_is_shown_verified_and_rebuilt_without_the_api(
    home: Home, docs: Path, openai_api: OpenAIServer
) -> None:
    index(home)
    openai_api.close()
    (model,) = describe(home, "docs").models
    assert (model.key, model.dimension, model.chunks, model.vectors) == (
        "text-embedding-3-small-1536",
        1536,
        700,
        700,
    )
    assert verify(home, "docs").ok
    assert rebuild(home, "docs") == [Rebuilt("text-embedding-3-small", 1536, 700)]


@pytest.mark.usefixtures("minilm")
def test_online_and_local_vectors_live_side_by_side(home: Home, tmp_path: Path, openai_api: OpenAIServer) -> None:
    from tests.phases.test_index_offline import index as index_offline

    register(home, "docs", [write_pages(tmp_path / "pages", 4)])
    index_offline(home)
    index(home)
    assert index_offline(home).counts["embedded"] == 0
    assert index(home).counts["embedded"] == 0
    assert {model.dimension for model in describe(home, "docs").models} == {384, 1536}
    asked = len(openai_api.requests)
    assert search_home(home, Query("kettle", ("docs",), 1), [])[0].model == "all-MiniLM-L6-v2"
    assert len(openai_api.requests) == asked
    [found] = search_home(home, Query("kettle", ("docs",), 1, "text-embedding-3-small"), [])
    assert (found.model, len(openai_api.requests)) == ("text-embedding-3-small", asked + 1)
    assert verify(home, "docs").ok


def test_the_key_is_in_nothing_that_is_kept(
    kbjobs: Kbjobs, home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's errors quote the key, and the library may log what it likes."""
    wrong = "sk-wrong-5Jd8Kf3Ls9"
    openai_api.always = Reply(400, error_body(f"the key {wrong} is strange", "invalid_request_error"))
    monkeypatch.setenv("OPENAI_API_KEY", wrong)
    monkeypatch.setenv("OPENAI_BASE_URL", openai_api.url.replace("127.0.0.1", "user:hidden-password@127.0.0.1"))
    outputs = []
    for code in (ExitCode.FAILED, ExitCode.MISSING_REQUIREMENT):
        ended = kbjobs("run", "index-online", "docs", "--json", check=code)
        outputs.append(ended.stdout + ended.stderr)
        openai_api.always = None  # now it refuses the key, and says which
    assert "the key … is strange" in outputs[0]
    kept = "".join(outputs) + kbjobs("history", "--json").stdout + kbjobs("status", "1").stdout
    files = [path.read_bytes() for path in home.path.rglob("*") if path.is_file()]
    assert len(files) > 5
    for secret in (wrong, "hidden-password"):
        assert secret not in kept
        assert not [content for content in files if secret.encode() in content]


def test_retries_of_the_job_take_over_where_those_of_the_library_end(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_RETRY_SECONDS", "0")
    register(home, "docs", [write_pages(tmp_path / "pages", 3)])
    openai_api.script = [Reply(503, error_body("down", "server_error"), {"x-should-retry": "false"})] * 2
    manager = JobManager(home)
    job_id = manager.submit_job("index_online", "docs", {}, limits=Limits(None, None, None, 3)).id
    for _ in manager.follow([job_id], revive=True):
        pass
    job = manager.get_status(job_id)
    assert (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, ExitCode.DONE, 3)
    assert len(openai_api.sold_texts) == 3


def kill_while_it_buys(home: Home, openai_api: OpenAIServer, targets: list[int], passages: int) -> None:
    """Kill the worker each time so many requests were answered: sold, and in no ledger. Then compare."""
    manager, watcher = JobManager(home), JobManager(home)
    deaths, killed = len(targets), list[int]()
    lock = threading.Lock()
    openai_api.gate.clear()
    job_id = manager.submit("index_online", "docs")

    def kill(request: dict[str, Any]) -> None:
        with lock:
            answered = sum("status" in one for one in openai_api.requests)
            pid = watcher.get_status(job_id).pid
            if targets and answered >= targets[0] and pid and pid not in killed:
                targets.pop(0)
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

    openai_api.on_request = kill
    openai_api.gate.set()
    for _ in manager.follow([job_id], revive=True):
        pass
    job = manager.get_status(job_id)
    assert (job.status, job.exit_code) == (Status.COMPLETED, ExitCode.DONE)
    watcher.close()
    assert (targets, job.attempt) == ([], 1 + deaths)
    assert len(set(openai_api.sold_texts)) == passages
    assert len(openai_api.sold_texts) <= passages + deaths * IN_FLIGHT
    assert job.result is not None and job.result["embedded"] == passages
    assert len(ledger_vectors(home)) == passages
    assert verify(home, "docs").ok
    ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
    written = ledger.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'vectors'").fetchone()[0]
    ledger.close()
    assert written == passages  # no vector was written twice


@pytest.mark.processes
def test_a_killed_worker_buys_again_no_more_than_was_on_its_way(
    home: Home, docs: Path, openai_api: OpenAIServer
) -> None:
    kill_while_it_buys(home, openai_api, [3, 9], 700)


@pytest.mark.full
@pytest.mark.processes
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(70, 70 + FACTOR))
def test_random_kills_buy_again_no_more_than_was_on_its_way(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("KBJOBS_ONLINE_REQUESTS", str(FIRST_AT_ONCE))
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1000")
    register(home, "docs", [write_pages(tmp_path / "pages", 3_000)])
    kill_while_it_buys(home, openai_api, sorted(random.Random(seed).sample(range(1, 23), 5)), 3_000)


def test_a_cancelled_job_keeps_what_was_on_its_way(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    openai_api.gate.clear()
    manager = JobManager(home)
    job_id = manager.submit("index_online", "docs")
    wait_until(lambda: openai_api.waiting == FIRST_AT_ONCE)
    manager.cancel(job_id)
    wait_until(lambda: manager.get_status(job_id).cancel_requested)
    threading.Timer(1.0, openai_api.gate.set).start()
    job = wait_until(lambda: (job := manager.get_status(job_id)).has_ended and job)
    assert (job.status, job.exit_code) == (Status.CANCELLED, ExitCode.CANCELLED)
    assert len(ledger_vectors(home)) == len(openai_api.sold_texts) >= IN_FLIGHT
    assert len(openai_api.requests) == FIRST_AT_ONCE


def test_a_base_url_that_is_none_is_told(home: Home, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:8000")
    with pytest.raises(KbjobsError, match="OPENAI_BASE_URL is not a URL"):
        index(home)


def test_the_result_is_json(home: Home, tmp_path: Path, openai_api: OpenAIServer) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 2)])
    for dry_run in (True, False):
        counts = index(home, dry_run=dry_run).counts
        assert json.loads(json.dumps(counts)) == counts
