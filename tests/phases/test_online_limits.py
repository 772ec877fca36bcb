"""index_online at the limit that the server allows: no refusal that could be forecast, every vector bought once."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import JobCancelled
from kbjobs.services.sources import register, verify
from tests.conftest import rest_full, write_pages
from tests.phases.test_index_offline import ledger_vectors
from tests.phases.test_index_online import index
from tests.servers.openai_server import OpenAIServer, Reply, Window, make_vector, rate_limit, server_error


@pytest.fixture
def pages(home: Home, tmp_path: Path) -> int:
    """A source of 2,000 small pages."""
    register(home, "docs", [write_pages(tmp_path / "pages", 2_000)])
    return 2_000


@pytest.mark.parametrize("is_fixed", rest_full([False, True], False))
@pytest.mark.parametrize("limits", [{"tokens": 20_000}, {"requests": 8}])
def test_a_limit_is_kept_without_being_hit(
    home: Home, pages: int, openai_api: OpenAIServer, limits: dict[str, int], is_fixed: bool
) -> None:
    """The windows are short here, so that several of them pass."""
    for name, limit in limits.items():
        openai_api.windows[name] = Window(limit, 1.5, is_fixed)
    assert index(home).counts["embedded"] == pages
    refused = [request for request in openai_api.requests if request["status"] == 429]
    assert len(refused) <= 4  # of the first ones, when nothing was known
    assert len(openai_api.sold_texts) == len(set(openai_api.sold_texts)) == pages


@pytest.mark.full
def test_requests_are_larger_where_a_minute_has_few_of_them(home: Home, pages: int, openai_api: OpenAIServer) -> None:
    openai_api.windows["requests"] = Window(10, 60)
    openai_api.windows["tokens"] = Window(5_000_000, 60)
    index(home)
    assert max(request["inputs"] for request in openai_api.requests) > 128
    assert len(openai_api.requests) < 2_000 / 128
    assert len(openai_api.sold_texts) == len(set(openai_api.sold_texts)) == pages


def test_requests_are_smaller_where_a_minute_has_few_tokens(home: Home, pages: int, openai_api: OpenAIServer) -> None:
    """The first are larger than a whole window: they are refused, and halved."""
    openai_api.windows["tokens"] = Window(1_500, 0.05)
    assert index(home).counts["embedded"] == pages
    assert max(request["tokens"] for request in openai_api.requests if request["status"] == 200) <= 1_500


def test_after_a_refusal_there_is_no_crowd(home: Home, pages: int, openai_api: OpenAIServer) -> None:
    openai_api.script = [Reply(), Reply(), Reply(), Reply(), Reply(), rate_limit(0.6)]
    openai_api.on_request = lambda request: request.setdefault("answered", time.monotonic())
    assert index(home).counts["embedded"] == pages
    refused_at = next(request["time"] for request in openai_api.requests if request["status"] == 429)
    later = sorted(request["time"] for request in openai_api.requests if request["time"] > refused_at + 0.5)
    assert later[0] >= refused_at + 0.6
    first = next(request for request in openai_api.requests if request["time"] == later[0])
    assert first["status"] == 200 and later[1] > first["answered"]


@pytest.mark.full
def test_a_fifth_of_all_answers_are_faults(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every passage is embedded, bought once but where the answer was lost on the wire, and has its own vector."""
    monkeypatch.setattr("kbjobs.embedding.openai_client.FIRST_WAIT", 0.01)
    monkeypatch.setattr("kbjobs.embedding.openai_client.RETRIES", 50)
    register(home, "docs", [write_pages(tmp_path / "pages", 5_000)])
    draw = random.Random(12)
    lost = 0
    answer = openai_api.answer

    def answer_badly(authorization: str, body: dict[str, Any], *more: Any) -> tuple[Reply, object]:
        nonlocal lost
        with openai_api.lock:
            fault = draw.random()
            if fault < 0.2:
                chosen = draw.choice([server_error(500), server_error(503), rate_limit(0.02), Reply(break_off=True)])
                openai_api.script.insert(0, chosen)
        reply, content = answer(authorization, body, *more)
        if reply.break_off and not reply.status:
            lost += len(body["input"])
        return reply, content

    monkeypatch.setattr(openai_api, "answer", answer_badly)
    monkeypatch.setenv("KBJOBS_ONLINE_REQUESTS", "8")
    counts = index(home).counts
    assert (counts["embedded"], counts["failed"]) == (5_000, 0)
    assert lost > 0
    assert len(set(openai_api.sold_texts)) == 5_000
    assert len(openai_api.sold_texts) == 5_000 + lost
    openai_api.script = []
    openai_api.answer = answer  # type: ignore[method-assign]
    import numpy as np

    from tests.phases.test_index_online import ledger_texts

    texts = ledger_texts(home)
    for text_hash, row in list(ledger_vectors(home).items())[::50]:
        vector = np.frombuffer(row, "<f4")
        assert float(vector @ np.array(make_vector(texts[text_hash]))) == pytest.approx(1.0, abs=1e-5)
    assert verify(home, "docs").ok


@pytest.mark.full
def test_the_summary_counts_what_all_attempts_bought(
    home: Home, pages: int, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_ONLINE_REQUESTS", "2")
    with pytest.raises(JobCancelled):
        index(home, lambda: len(openai_api.sold_texts) >= 300, job_id=4)
    assert 300 <= len(openai_api.sold_texts) < pages
    result = index(home, job_id=4)
    assert result.counts["embedded"] == pages == len(openai_api.sold_texts)
    assert result.counts["tokens"] == openai_api.sold_tokens
    assert f"{openai_api.sold_tokens:,} tokens bought" in result.summary
    assert index(home, job_id=4).counts["embedded"] == 0  # a job that has ended is not counted again
