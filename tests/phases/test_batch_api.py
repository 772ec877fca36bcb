"""index_online by the Batch API, with the real library against a server with real files, batches, limits and faults."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.context import PhaseResult
from kbjobs.embedding.openai_client import BadAnswerError
from kbjobs.errors import ExitCode, JobCancelled, JobWaits, MissingRequirementError, TransientError
from kbjobs.phases import index_online
from kbjobs.phases.index_online import IndexOnlineParams
from kbjobs.services.sources import register, verify
from kbjobs.store.api_batches import list_batches
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import rest_full, some_full, write_pages
from tests.phases.test_index_offline import ledger_vectors
from tests.phases.test_index_online import context, index, ledger_texts
from tests.servers.openai_batches import Answer
from tests.servers.openai_server import OpenAIServer, make_vector

KEY = "text-embedding-3-small-1536"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBJOBS_BATCH_POLL_SECONDS", "0.05")


@pytest.fixture
def docs(home: Home, tmp_path: Path) -> Path:
    """A source of 60 small pages."""
    pages = write_pages(tmp_path / "pages", 60)
    register(home, "docs", [pages])
    return pages


def go_on(home: Home, times: int = 30, **params: Any) -> PhaseResult:
    """Run the phase as often as it says to wait; the pauses are nobody's business here."""
    for _ in range(times):
        try:
            return index(home, batch_api=True, **params)
        except JobWaits:
            continue
    raise AssertionError(f"it still waits after {times} times")


def check(home: Home, openai_api: OpenAIServer, passages: int) -> None:
    """Every passage was bought once and has its own vector; nothing is left here or at the server."""
    assert len(openai_api.sold_texts) == len(set(openai_api.sold_texts)) == passages
    vectors, texts = ledger_vectors(home), ledger_texts(home)
    assert vectors.keys() == texts.keys()
    for text_hash, row in vectors.items():
        vector = np.frombuffer(row, "<f4")
        assert float(vector @ np.array(make_vector(texts[text_hash]))) == pytest.approx(1.0, abs=1e-5)
    check_tidy(home, openai_api)
    assert verify(home, "docs").ok


def check_tidy(home: Home, openai_api: OpenAIServer) -> None:
    ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
    assert list_batches(ledger, KEY) == []
    assert ledger.connection.execute("SELECT count(*) FROM batch_texts").fetchone()[0] == 0
    assert [row[0] for row in ledger.connection.execute("SELECT name FROM facts WHERE name LIKE 'batches %'")] == []
    ledger.close()
    assert list(SourceFolder(home.sources, "docs").batches.glob("*")) == []
    assert openai_api.desk.files == {}


def test_all_passages_are_bought_by_a_batch_at_half_the_price(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    with pytest.raises(JobWaits, match="waiting for 1 batch, next look at"):
        index(home, batch_api=True)
    assert openai_api.sold_texts == []
    result = go_on(home)
    check(home, openai_api, 60)
    assert openai_api.requests == []  # nothing was asked for outside of the batch
    assert (result.counts["embedded"], result.counts["reused"], result.failed) == (60, 0, 0)
    tokens = result.counts["tokens"]
    assert tokens == result.counts["batch_tokens"] == openai_api.sold_tokens
    assert result.counts["price_usd"] == pytest.approx(tokens * 0.01 / 1e6)
    assert f"{tokens:,} tokens bought" in result.summary
    assert f"{tokens:,} of them by the Batch API for 50% of it" in result.summary
    again = index(home, batch_api=True)
    assert (again.counts["embedded"], again.counts["reused"], again.counts["tokens"]) == (0, 60, 0)
    assert openai_api.desk.log.count("POST", "/batches") == 1


def small_batches(monkeypatch: pytest.MonkeyPatch, passages: int) -> None:
    """Batches of so many of the pages of write_pages."""
    monkeypatch.setattr("kbjobs.indexing.batch_sending.MAX_REQUESTS", passages)


def test_what_is_much_goes_out_in_several_batches(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_batches(monkeypatch, 25)
    monkeypatch.setattr("kbjobs.indexing.batch_jobs.MAX_OPEN", 2)
    openai_api.desk.is_slow = True
    with pytest.raises(JobWaits, match="waiting for 2 batches"):
        index(home, batch_api=True)
    _, second = openai_api.desk.batches
    openai_api.desk.end(second)  # not in the order in which they were sent
    with pytest.raises(JobWaits, match="waiting for 2 batches"):
        index(home, batch_api=True)
    assert len(ledger_vectors(home)) == 25
    assert len(openai_api.desk.batches) == 3
    openai_api.desk.is_slow = False
    assert go_on(home).counts["embedded"] == 60
    check(home, openai_api, 60)
    assert [batch["request_counts"]["total"] for batch in openai_api.desk.batches.values()] == [25, 25, 10]


@pytest.mark.parametrize(("limit", "value"), [("MAX_BYTES", 3_000), ("MAX_REQUESTS", 11)])
def test_a_file_keeps_to_the_limits(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(f"kbjobs.indexing.batch_sending.{limit}", value)
    sizes: list[int] = []
    openai_api.desk.after = lambda method, path: sizes.extend(
        len(file.content) for file in openai_api.desk.files.values() if (method, path) == ("POST", "/files")
    )
    go_on(home)
    check(home, openai_api, 60)
    assert len(openai_api.desk.batches) >= 5
    assert max(sizes) <= max(value, 3_000)


def test_the_vectors_may_come_in_any_order_and_any_length(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    openai_api.desk.alter = lambda lines: lines[::-1]
    openai_api.alter = lambda data: [
        entry | {"embedding": [3 * value for value in entry["embedding"]]} for entry in data
    ]
    go_on(home)
    check(home, openai_api, 60)


def test_strange_lines_cost_nothing(
    home: Home, docs: Path, openai_api: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    """One twice, one of an unknown text, and lines that are no answer at all."""

    def alter(lines: list[dict[str, Any]]) -> list[Any]:
        unknown = lines[0] | {"custom_id": "f" * 32}
        strange = [b"\n", b"[]\n", b"null\n", b'{"custom_id": 5}\n', b"\xff\xfe\n", b"[" * 60_000 + b"\n"]
        strange.append(b"x" * 200_000 + b"\n")
        return [*strange, *lines[:30], lines[3], unknown, *lines[30:]]

    openai_api.desk.alter = alter
    assert go_on(home).failed == 0
    check(home, openai_api, 60)
    assert "2 belong to no passage that is awaited" in caplog.text


def test_a_line_that_was_cut_is_asked_for_again(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    cut: list[str] = []

    def alter(lines: list[dict[str, Any]]) -> list[Any]:
        if cut:
            return lines
        cut.append(lines[-1]["custom_id"])
        return [*lines[:-1], json.dumps(lines[-1]).encode()[:4000]]

    openai_api.desk.alter = alter
    assert go_on(home).counts["embedded"] == 60
    assert len(openai_api.sold_texts) == 61
    assert openai_api.sold_texts.count(ledger_texts(home)[cut[0]]) == 2
    check_tidy(home, openai_api)


@pytest.mark.parametrize(
    "vector",
    some_full([[0.0] * 1536, [float("nan")] * 1536, [3e38] * 1535 + [float("inf")], [0.1] * 512, "not base64!", []], 2),
)
def test_a_vector_that_is_none_is_never_stored(home: Home, docs: Path, openai_api: OpenAIServer, vector: Any) -> None:
    def alter(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [entry | {"embedding": vector} for entry in data] if len(openai_api.sold_texts) == 7 else data

    openai_api.alter = alter
    result = go_on(home)
    assert (result.failed, result.counts["failed"], result.counts["embedded"]) == (1, 1, 59)
    assert len(openai_api.sold_texts) == 60  # it is not asked for again in the hope of a better one
    vectors = [np.frombuffer(row, "<f4") for row in ledger_vectors(home).values()]
    assert len(vectors) == 59
    assert all(abs(float(np.linalg.norm(row)) - 1) < 1e-5 for row in vectors)
    openai_api.alter = lambda data: data
    assert go_on(home).counts["embedded"] == 1
    check_tidy(home, openai_api)


@pytest.mark.parametrize(
    "alter",
    some_full(
        [
            lambda data: [entry | {"index": 1} for entry in data],
            lambda data: [],
            lambda data: [*data, *data],
            lambda data: [entry | {"embedding": entry["embedding"][:100]} for entry in data],
        ],
        2,
    ),
)
def test_a_batch_of_nothing_but_unfit_answers_ends_the_job(
    home: Home, docs: Path, openai_api: OpenAIServer, alter: Any
) -> None:
    openai_api.alter = alter
    with pytest.raises(BadAnswerError, match="refused all 60 passages"):
        go_on(home)
    assert ledger_vectors(home) == {}
    openai_api.alter = lambda data: data
    assert go_on(home).counts["embedded"] == 60


def test_a_stop_while_results_are_taken_loses_none(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read again then, and is larger than what is still awaited of it."""
    monkeypatch.setattr("kbjobs.indexing.batch_taking.COMMIT", 20)
    monkeypatch.setattr("kbjobs.indexing.batch_taking.SPARE_LINES", 0)
    monkeypatch.setattr("kbjobs.indexing.batch_taking.LINE_BYTES", 9_000)
    with pytest.raises(JobWaits):
        index(home, batch_api=True)
    with pytest.raises(JobCancelled):
        index(home, lambda: len(ledger_vectors(home)) >= 40, batch_api=True)
    assert len(ledger_vectors(home)) == 40
    assert go_on(home).counts["embedded"] == 60
    check(home, openai_api, 60)
    assert len(openai_api.desk.batches) == 1


# -- requests that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", some_full([429, 500, 503], 1))
def test_a_request_that_failed_in_passing_is_sent_again(
    home: Home, docs: Path, openai_api: OpenAIServer, status: int
) -> None:
    failing = ["number 7.", "number 41."]
    error = {"message": "busy", "type": "server_error", "code": None}

    def fail_once(text: str) -> tuple[int, dict[str, Any]] | None:
        for name in failing:
            if text.endswith(name):
                failing.remove(name)
                return status, error
        return None

    openai_api.desk.fail = fail_once
    assert go_on(home).counts["embedded"] == 60
    check(home, openai_api, 60)
    assert [batch["request_counts"]["total"] for batch in openai_api.desk.batches.values()] == [60, 2]


def test_a_request_that_always_fails_is_given_up(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    error = {"message": "busy", "type": "server_error", "code": None}
    openai_api.desk.fail = lambda text: (500, error) if text.endswith("number 7.") else None
    result = go_on(home)
    assert (result.failed, result.counts["embedded"]) == (1, 59)
    assert len(openai_api.desk.batches) == 5
    openai_api.desk.fail = lambda text: None
    assert go_on(home).counts["embedded"] == 1
    check(home, openai_api, 60)


def test_an_outage_is_no_fault_of_the_passages(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    error = {"message": "busy", "type": "server_error", "code": None}
    openai_api.desk.fail = lambda text: (500, error)
    with pytest.raises(TransientError, match="3 batches in a row brought no vectors"):
        go_on(home)
    openai_api.desk.fail = lambda text: None
    assert go_on(home).counts["embedded"] == 60
    check(home, openai_api, 60)


def test_a_refused_request_counts_as_a_failed_document(
    home: Home, docs: Path, openai_api: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    error = {"message": "this text is not accepted", "type": "invalid_request_error", "code": None}
    openai_api.desk.fail = lambda text: (400, error) if text.endswith("number 7.") else None
    result = go_on(home)
    assert (result.failed, result.counts["embedded"]) == (1, 59)
    assert len(openai_api.desk.batches) == 1
    assert "this text is not accepted" in caplog.text
    assert verify(home, "docs").ok
    openai_api.desk.fail = lambda text: None
    assert go_on(home).counts["embedded"] == 1
    check(home, openai_api, 60)


def test_a_batch_in_which_everything_is_refused_ends_the_job(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    error = {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}
    openai_api.desk.fail = lambda text: (404, error)
    with pytest.raises(BadAnswerError, match="refused all 60 passages of a batch: no such model"):
        go_on(home)
    openai_api.desk.fail = lambda text: None
    assert go_on(home).failed == 0
    check(home, openai_api, 60)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [(429, "insufficient_quota", "has no money left"), (401, "invalid_api_key", "refuses the requests of batch")],
)
def test_requests_without_money_or_access_end_the_job_and_what_came_is_kept(
    home: Home, docs: Path, openai_api: OpenAIServer, status: int, code: str, message: str
) -> None:
    error = {"message": "You exceeded your current quota.", "type": code, "code": code}
    openai_api.desk.fail = lambda text: (status, error) if len(openai_api.sold_texts) >= 20 else None
    with pytest.raises(MissingRequirementError, match=message):
        go_on(home)
    assert len(ledger_vectors(home)) == 20
    openai_api.desk.fail = lambda text: None
    assert go_on(home).counts["embedded"] == 60
    check(home, openai_api, 60)


# -- batches that fail ----------------------------------------------------------------------------


@pytest.mark.parametrize("done", [0, 17])
def test_an_expired_batch_is_paid_for_what_it_did(home: Home, docs: Path, openai_api: OpenAIServer, done: int) -> None:
    openai_api.desk.expire_after = [done, 3]
    assert go_on(home).counts["embedded"] == 60
    check(home, openai_api, 60)
    totals = [batch["request_counts"]["total"] for batch in openai_api.desk.batches.values()]
    assert totals == [60, 60 - done, 60 - done - 3]


def test_a_batch_that_somebody_cancelled_is_taken_and_the_rest_sent_again(
    home: Home, docs: Path, openai_api: OpenAIServer
) -> None:
    openai_api.desk.is_slow = True
    with pytest.raises(JobWaits):
        index(home, batch_api=True)
    openai_api.desk.end(status="cancelled", done=22)
    openai_api.desk.is_slow = False
    assert go_on(home).counts["embedded"] == 60
    check(home, openai_api, 60)


def test_a_batch_that_fails_is_sent_again_a_few_times(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    openai_api.desk.refuse_batch = [("invalid_json_line", "Line 3 is no JSON.")] * 2
    assert go_on(home).counts["embedded"] == 60
    check(home, openai_api, 60)
    openai_api.desk.refuse_batch = [("mismatched", "The model is not there.")] * 3
    with pytest.raises(
        TransientError, match=r"3 batches in a row brought no vectors.*mismatched.*: The model is not there"
    ):
        go_on(home, force=True)
    assert openai_api.desk.files == {}


def test_a_batch_that_fails_for_want_of_money_ends_the_job(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    openai_api.desk.refuse_batch = [("billing_hard_limit_reached", "Billing hard limit has been reached.")]
    with pytest.raises(MissingRequirementError, match="has no money left: Billing hard limit"):
        go_on(home)
    assert go_on(home).counts["embedded"] == 60
    check(home, openai_api, 60)


def test_a_full_queue_is_waited_for(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three batches are sent, and the account has room for one: the others go out one after the other."""
    small_batches(monkeypatch, 20)
    openai_api.desk.is_slow = True
    openai_api.desk.token_limit = 450
    for _ in range(200):
        try:
            result = index(home, batch_api=True)
            break
        except JobWaits:
            working = [one["id"] for one in openai_api.desk.batches.values() if one["status"] == "in_progress"]
            assert len(working) <= 1
            openai_api.desk.end(working[0] if working else "")
    assert result.counts["embedded"] == 60
    check(home, openai_api, 60)
    # What the refusal named is kept to: it does not go on sending what finds no room.
    assert sum(one["status"] == "failed" for one in openai_api.desk.batches.values()) <= 3


def test_a_batch_larger_than_the_queue_is_made_smaller(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    openai_api.desk.token_limit = 300
    for _ in range(200):
        try:
            result = index(home, batch_api=True)
            break
        except JobWaits:
            continue
    assert result.counts["embedded"] == 60
    check(home, openai_api, 60)
    assert [one["status"] for one in openai_api.desk.batches.values()].count("failed") == 1


# -- answers that are lost ------------------------------------------------------------------------


@pytest.mark.parametrize("status", rest_full([0, 500, 429], 0))
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/files"),
        ("POST", "/batches"),
        ("GET", "/batches"),
        ("GET", "/batches/"),
        ("GET", "/files"),
        ("GET", "/files/"),
        ("DELETE", "/files/"),
    ],
)
def test_an_answer_that_is_lost_makes_nothing_twice(
    home: Home, docs: Path, openai_api: OpenAIServer, method: str, path: str, status: int
) -> None:
    """Other people's batches and files fill pages of the lists before ours."""
    desk = openai_api.desk
    desk.page = 2
    desk.faults = [(method, path, status), ("POST", "/batches", 0)]
    line = {"custom_id": "x", "method": "POST", "url": "/v1/embeddings", "body": {"input": ["strange"]}}
    content = json.dumps(line).encode() + b"\n"

    def interfere(method: str, path: str) -> None:
        if method == "POST":
            for number in range(3):
                stranger = desk._store(f"other{number}.jsonl", "batch", content)
                desk._create({"input_file_id": stranger.id, "endpoint": "/v1/embeddings", "completion_window": "24h"})

    desk.before = interfere
    assert go_on(home).counts["embedded"] == 60
    own = [one for one in desk.batches.values() if one["metadata"]]
    assert len(own) == 1
    desk.files = {name: file for name, file in desk.files.items() if not file.filename.startswith("other")}
    if (method, path) == ("DELETE", "/files/"):
        desk.files.clear()
    check(home, openai_api, 60)


def test_a_file_that_cannot_be_deleted_is_only_logged(
    home: Home, docs: Path, openai_api: OpenAIServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kbjobs.embedding.openai_client.RETRIES", 0)
    openai_api.desk.faults = [("DELETE", "/files/", 500)]
    assert go_on(home).counts["embedded"] == 60
    assert "stays at the server" in caplog.text
    assert len(openai_api.desk.files) == 1


def test_a_server_that_stays_down_is_a_passing_error(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kbjobs.embedding.openai_client.RETRIES", 0)
    openai_api.desk.faults = [("POST", "/batches", 503)] * 5
    with pytest.raises(TransientError, match="503"):
        index(home, batch_api=True)
    assert go_on(home).counts["embedded"] == 60
    check(home, openai_api, 60)
    assert len(openai_api.desk.batches) == 1


def test_a_server_without_batches_is_told(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    openai_api.desk.is_there = False
    with pytest.raises(MissingRequirementError, match="has no Batch API") as caught:
        index(home, batch_api=True)
    assert caught.value.exit_code == ExitCode.MISSING_REQUIREMENT
    assert "without --batch-api" in caught.value.hint
    assert index(home).counts["embedded"] == 60  # as it says
    check(home, openai_api, 60)


def test_a_refused_key_is_told_and_not_shown(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-0123456789")
    with pytest.raises(MissingRequirementError, match="refuses OPENAI_API_KEY with status 401") as caught:
        index(home, batch_api=True)
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert "sk-wrong" not in caught.value.message + caught.value.hint + caplog.text
    monkeypatch.setenv("OPENAI_API_KEY", openai_api.key)
    go_on(home)
    check(home, openai_api, 60)


# -- what others do meanwhile ---------------------------------------------------------------------


def test_an_ordinary_run_buys_nothing_that_is_out(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes what has ended, buys what is in no batch, and waits for the rest; another job than the one that sent."""
    small_batches(monkeypatch, 30)
    openai_api.desk.is_slow = True
    with pytest.raises(JobWaits):
        index(home, batch_api=True)
    write_pages(docs, 64)
    openai_api.desk.end(next(iter(openai_api.desk.batches)))
    with pytest.raises(JobWaits, match="waiting for 1 batch"):
        index(home, job_id=2)
    assert len(openai_api.sold_texts) == 34
    assert len(ledger_vectors(home)) == 34
    openai_api.desk.end()
    result = index(home, job_id=2)
    check_price(result, openai_api)
    assert (result.counts["embedded"], len(openai_api.requests)) == (64, 1)
    assert index(home, batch_api=True, job_id=1).counts["embedded"] == 0
    check(home, openai_api, 64)


def check_price(result: PhaseResult, openai_api: OpenAIServer) -> None:
    asked = sum(request["tokens"] for request in openai_api.requests)
    assert result.counts["tokens"] == openai_api.sold_tokens
    assert result.counts["batch_tokens"] == openai_api.sold_tokens - asked > 0
    assert result.counts["price_usd"] == pytest.approx((0.02 * asked + 0.01 * (openai_api.sold_tokens - asked)) / 1e6)


def test_texts_that_nobody_wants_any_more_are_kept_and_not_waited_for(
    home: Home, docs: Path, openai_api: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    openai_api.desk.is_slow = True
    with pytest.raises(JobWaits):
        index(home, batch_api=True)
    kept = (docs / "page3.html").read_text()
    for page in docs.glob("*.html"):
        page.unlink()
    write_pages(docs, 5, "The snow falls and the stove is warm")
    assert index(home, job_id=2, allow_delete=True).counts["embedded"] == 5  # it does not wait for the others
    assert verify(home, "docs").ok
    openai_api.desk.end()
    (docs / "page3.html").write_text(kept)
    result = index(home, batch_api=True)
    assert "lost records" not in caplog.text  # the index is added to, and not built anew
    assert len(openai_api.sold_texts) == 65
    assert result.counts["documents"] == 5
    assert verify(home, "docs").ok
    check_tidy(home, openai_api)


def test_a_retry_and_force_pay_once(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    openai_api.desk.is_slow = True
    for job_id in (1, 1, 2):
        with pytest.raises(JobWaits):
            index(home, batch_api=True, job_id=job_id)
    assert len(openai_api.desk.batches) == 1
    openai_api.desk.is_slow = False
    go_on(home)
    openai_api.sold_texts.clear()
    openai_api.desk.is_slow = True
    for _ in range(3):
        with pytest.raises(JobWaits):
            index(home, batch_api=True, job_id=9, force=True)
    openai_api.desk.is_slow = False
    assert go_on(home, job_id=9, force=True).counts["embedded"] == 60
    assert go_on(home, job_id=2).counts["embedded"] == 0
    check(home, openai_api, 60)
    assert len(openai_api.desk.batches) == 2


def test_a_dry_run_tells_half_the_price_and_what_is_out(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    full, half = index(home, dry_run=True), index(home, dry_run=True, batch_api=True)
    assert half.counts["price_usd"] == pytest.approx(full.counts["price_usd"] / 2, rel=1e-3)
    assert "July 2026, 50% of it by the Batch API (0.01 USD per million tokens)" in half.summary
    assert openai_api.desk.log.requests == []
    openai_api.desk.is_slow = True
    with pytest.raises(JobWaits):
        index(home, batch_api=True)
    write_pages(docs, 63)
    dry = index(home, dry_run=True)
    assert (dry.counts["would_embed"], dry.counts["in_batches"], dry.counts["reused"]) == (3, 60, 0)
    assert "60 more are out in batches and not bought again" in dry.summary
    openai_api.desk.is_slow = False
    assert go_on(home).counts["tokens"] == half.counts["tokens"] + dry.counts["tokens"]


def test_a_file_of_results_that_is_gone_is_not_waited_for(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    openai_api.desk.is_slow = True
    with pytest.raises(JobWaits):
        index(home, batch_api=True)
    openai_api.desk.end()
    openai_api.desk.files = {name: one for name, one in openai_api.desk.files.items() if one.purpose == "batch"}
    openai_api.desk.is_slow = False
    assert go_on(home).counts["embedded"] == 60
    check_tidy(home, openai_api)


def test_a_batch_that_the_server_does_not_know_is_not_bought_again_at_once(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent with the key of another project, most likely; after two days it is given up."""
    openai_api.desk.is_slow = True
    with pytest.raises(JobWaits):
        index(home, batch_api=True)
    batches, openai_api.desk.batches = openai_api.desk.batches, {}
    for batch_api in (False, True):
        with pytest.raises(MissingRequirementError, match="does not know batch batch_") as caught:
            index(home, batch_api=batch_api)
        assert "OPENAI_BASE_URL" in caught.value.hint
    assert openai_api.sold_texts == []
    monkeypatch.setattr("kbjobs.indexing.batch_jobs.FORGET_SECONDS", 0.0)
    assert index(home).counts["embedded"] == 60
    assert len(batches) == 1
    assert len(openai_api.sold_texts) == 60


def test_who_goes_on_waiting_does_not_read_the_source(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    openai_api.desk.is_slow = True
    kept: list[Any] = []
    first = replace(context(home), keep=kept.append)
    with pytest.raises(JobWaits):
        index_online.run(first, IndexOnlineParams(batch_api=True))
    docs.rename(docs.with_name("away"))
    again = replace(first, checkpoint=kept[-1])
    for _ in range(2):
        with pytest.raises(JobWaits, match="waiting for 1 batch"):
            index_online.run(again, IndexOnlineParams(batch_api=True))
    docs.with_name("away").rename(docs)
    openai_api.desk.end()
    assert index_online.run(again, IndexOnlineParams(batch_api=True)).counts["embedded"] == 60
    check(home, openai_api, 60)


def test_a_stop_does_not_wait_for_a_server_that_is_down(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    """The next repetition would be in seconds; the request to stop ends the wait for it, and is no failure."""
    openai_api.desk.faults = [("GET", "/batches/", 503)] * 20
    with pytest.raises(JobWaits):
        index(home, batch_api=True)
    stop = threading.Event()
    openai_api.desk.after = lambda method, path: stop.set() if len(openai_api.desk.faults) == 17 else None
    began = time.monotonic()
    with pytest.raises(JobCancelled):
        index(home, stop.is_set, batch_api=True)
    assert time.monotonic() - began < 6
    assert len(openai_api.desk.faults) == 17
    openai_api.desk.faults.clear()
    go_on(home)
    check(home, openai_api, 60)


def test_a_list_without_an_end_is_left(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kbjobs.embedding.openai_batches.MAX_PAGES", 5)
    openai_api.desk.faults = [("POST", "/batches", 500)]

    def lie(rows: list[dict[str, Any]], query: dict[str, str]) -> Answer:
        row = {"id": f"batch_{time.monotonic_ns()}", "status": "completed", "input_file_id": "x", "created_at": 9e9}
        return Answer(200, {"object": "list", "data": [row], "has_more": True})

    usual = openai_api.desk._list
    openai_api.desk._list = lie  # type: ignore[method-assign]
    with pytest.raises(BadAnswerError, match="list of batches does not end"):
        index(home, batch_api=True)
    openai_api.desk._list = usual  # type: ignore[method-assign]
    go_on(home)
    check(home, openai_api, 60)


def test_the_pauses_grow(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    openai_api.desk.is_slow = True
    pauses = []
    for _ in range(8):
        with pytest.raises(JobWaits) as caught:
            index(home, batch_api=True)
        pauses.append(round(caught.value.seconds / 0.05))
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
