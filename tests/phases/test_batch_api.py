"""index_online by the Batch API, with the real library against a server with real files, batches, limits and faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.context import PhaseResult
from kbjobs.errors import JobWaits
from kbjobs.settings import Home
from kbjobs.sources import register, verify
from kbjobs.store.batches import list_batches
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import write_pages
from tests.phases.test_index_offline import ledger_vectors
from tests.phases.test_index_online import index, ledger_texts
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
