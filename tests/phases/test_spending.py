"""Limits on spending: kept before each request, by all jobs of a home together, and whatever is killed."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.prices import Price
from kbjobs.config.settings import Settings
from kbjobs.daemon.launching import stop_daemon
from kbjobs.embedding.spending import SpendingLimitError, SpendingWatch
from kbjobs.errors import ExitCode, JobWaits
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register, verify
from kbjobs.store.spending_book import SpendingBook, Spent
from kbjobs.store.transitions import Status
from tests.conftest import FACTOR, Kbjobs, wait_until, write_pages
from tests.phases.test_index_offline import ledger_vectors
from tests.phases.test_index_online import docs, index
from tests.servers.openai_server import OpenAIServer, Reply, count_tokens, error_body, server_error

__all__ = ["docs"]

DOLLARS = 0.02 / 1e6  # a token


def spent(home: Home, job: int = 1) -> Spent:
    book = SpendingBook(home.spending_file)
    found = book.spent(job)
    book.close()
    return found


def test_a_job_stops_before_the_request_that_would_exceed(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    index(home, job_id=9)
    whole = openai_api.sold_tokens * DOLLARS
    openai_api.sold_texts.clear()
    openai_api.sold_tokens = 0
    limit = whole * 0.6
    with pytest.raises(SpendingLimitError, match=r"the limit of .* for this job is reached") as raised:
        index(home, max_cost=limit, force=True)
    assert 0 < openai_api.sold_tokens * DOLLARS <= limit
    assert spent(home).job == pytest.approx(openai_api.sold_tokens * DOLLARS)
    assert raised.value.exit_code == ExitCode.TIME_LIMIT
    assert "passages are left, about 0.0" in raised.value.message and "--max-cost" in raised.value.hint
    # Another attempt of the same job buys no more; a job with a larger limit buys the rest, and nothing twice.
    sold = len(openai_api.sold_texts)
    with pytest.raises(SpendingLimitError):
        index(home, max_cost=limit, force=True)
    assert len(openai_api.sold_texts) == sold
    index(home, job_id=1, max_cost=whole * 1.01, force=True)
    assert len(openai_api.sold_texts) == len(set(openai_api.sold_texts)) == 700
    assert verify(home, "docs").ok


def test_the_jobs_of_a_day_share_a_limit(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = SpendingBook(home.spending_file)
    book.reserve(77, 0.0099, Spent(1, 1))
    book.close()
    monkeypatch.setenv("KBJOBS_ONLINE_MAX_COST_PER_DAY", "0.01")
    told = r"a day \(online_max_cost_per_day\) is reached: .* by all jobs"
    with pytest.raises(SpendingLimitError, match=told) as raised:
        index(home)
    assert "kbjobs resume 1 goes on tomorrow" in raised.value.hint
    assert spent(home).day <= 0.01 and openai_api.sold_tokens * DOLLARS <= 0.0001
    monkeypatch.setenv("KBJOBS_ONLINE_MAX_COST_PER_DAY", "0")
    index(home)
    assert len(openai_api.sold_texts) == len(set(openai_api.sold_texts)) == 700


def test_a_limit_that_suffices_changes_nothing(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    result = index(home, max_cost=1.0)
    assert result.counts["embedded"] == 700
    assert spent(home).job == pytest.approx(result.counts["price_usd"])


def test_what_is_refused_costs_nothing_and_what_may_be_paid_counts(
    home: Home, tmp_path: Path, openai_api: OpenAIServer
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 3)])
    openai_api.refuse = lambda text: True
    index(home, job_id=1)
    assert spent(home, 1).job == 0
    openai_api.refuse = lambda text: False
    openai_api.always = Reply(503, error_body("down", "server_error"), {"x-should-retry": "false"})
    with pytest.raises(Exception, match="503"):
        index(home, job_id=2)
    assert spent(home, 2).job > 0  # nobody knows whether it was paid for
    openai_api.always = None
    openai_api.script = [server_error(500)]
    assert index(home, job_id=3).counts["embedded"] == 3
    assert spent(home, 3).job == pytest.approx(openai_api.sold_tokens * DOLLARS)


def test_batches_are_bought_within_the_limit(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_BATCH_POLL_SECONDS", "0.05")
    limit = 0.00004
    error: Exception | None = None
    for _ in range(30):
        try:
            index(home, batch_api=True, max_cost=limit)
        except JobWaits:
            continue
        except SpendingLimitError as reached:
            error = reached
            break
    assert error is not None and "passages are left" in str(error)
    assert 0 < spent(home).job <= limit
    for _ in range(60):
        try:
            index(home, batch_api=True, job_id=2)
        except JobWaits:
            continue
        break
    assert len(openai_api.sold_texts) == len(set(openai_api.sold_texts)) == 700
    sold = sum(map(count_tokens, openai_api.sold_texts)) * DOLLARS / 2
    assert spent(home, 1).job + spent(home, 2).job == pytest.approx(sold)


def test_a_limit_below_the_forecast_is_told_at_the_submit(
    home: Home, docs: Path, openai_api: OpenAIServer, kbjobs: Kbjobs
) -> None:
    ended = kbjobs("run", "index-online", "docs", "--max-cost", "0.00002", check=ExitCode.TIME_LIMIT)
    assert "USD are forecast: the job stops at --max-cost, 0.00002 USD" in ended.stderr
    job = JobManager(home).get_status(1)
    assert (job.status, job.exit_code) == (Status.INTERRUPTED, 8)
    kbjobs("run", "index-online", "docs", "--max-cost", "0.5")
    assert len(openai_api.sold_texts) == len(set(openai_api.sold_texts)) == 700
    stop_daemon(home, now=True, seconds=20)


@pytest.mark.parametrize("cost", ["0", "-1", "nan", "much"])
def test_a_limit_is_a_positive_number(home: Home, docs: Path, kbjobs: Kbjobs, cost: str) -> None:
    ended = kbjobs("run", "index-online", "docs", "--max-cost", cost, check=2)
    assert "max-cost" in ended.stderr or "max_cost" in ended.stderr


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(FACTOR))
def test_kills_do_not_exceed_it_by_more_than_was_in_flight(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """What was in flight is counted as paid, so the limit holds for what is really sold."""
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "10")
    manager = JobManager(home)
    limit = 0.0006
    openai_api.gate.clear()
    job_id = manager.submit_job("index_online", "docs", {"max_cost": limit}).id
    for _ in range(2):
        assert wait_until(lambda: openai_api.waiting > 0)
        pid = manager.get_status(job_id).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda killed=pid: manager.get_status(job_id).pid not in (None, killed))
    openai_api.gate.set()
    assert wait_until(lambda: manager.get_status(job_id).has_ended)
    assert openai_api.sold_tokens * DOLLARS <= limit and spent(home, job_id).job <= limit
    assert len(ledger_vectors(home)) > 0
    stop_daemon(home, now=True, seconds=20)


def test_threads_and_processes_cannot_spend_the_same_money(home: Home) -> None:
    """Each of 8 spends as much as it gets; together it is the limit, to the last cent."""
    home.prepare()
    got: list[int] = []

    def spend(job: int) -> None:
        price = Price(1.0, 0.0, "now")
        settings = Settings(home)
        with SpendingWatch(home, settings, job, price, None) as spending:
            while True:
                try:
                    with spending.buying(10_000) as purchase:
                        purchase.finalize(10_000)
                except SpendingLimitError:
                    return
                got.append(job)

    os.environ["KBJOBS_ONLINE_MAX_COST_PER_DAY"] = "0.5"
    try:
        threads = [threading.Thread(target=spend, args=[job]) for job in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        del os.environ["KBJOBS_ONLINE_MAX_COST_PER_DAY"]
    assert len(got) == 50 and spent(home).day == pytest.approx(0.5)
