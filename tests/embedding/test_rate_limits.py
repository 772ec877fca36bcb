"""When a request may go out: by what headers tell, by answers and by refusals."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from kbjobs.embedding.rate_limits import (
    FIRST_AT_ONCE,
    Budget,
    InterruptedTurn,
    RateLimits,
    read_duration,
    read_wait,
)
from tests.conftest import wait_until


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("20ms", 0.02), ("1s", 1), ("6m0s", 360), ("1m30.5s", 90.5), ("1h2m", 3720), ("2d", 172800), ("7", 7), ("", None),
     ("soon", None), ("1s later", None), ("-1s", None), ("9" * 400, None), ("15us", 15e-6)],
)  # fmt: skip
def test_durations(value: str, seconds: float | None) -> None:
    assert read_duration(value) == (None if seconds is None else pytest.approx(seconds))


def test_what_a_refusal_asks_for() -> None:
    assert read_wait({"retry-after-ms": "250", "retry-after": "1"}) == 0.25
    assert read_wait({"retry-after": "3"}) == 3
    assert read_wait({}) is None
    assert read_wait({"retry-after": "99999999"}) == 3600


def headers(limit: float, remaining: float, reset: str, name: str = "tokens") -> dict[str, str]:
    return {f"x-ratelimit-limit-{name}": str(limit), f"x-ratelimit-remaining-{name}": str(remaining),
            f"x-ratelimit-reset-{name}": reset}  # fmt: skip


def test_a_budget_that_fills_steadily() -> None:
    budget = Budget()
    assert budget.wait_for(10**9, 0) == 0  # nothing is known
    budget.read(headers(60_000, 30_000, "30s"), "tokens", 100)
    assert budget.left(100) == 30_000 and budget.left(110) == pytest.approx(40_000) and budget.left(500) == 60_000
    assert budget.wait_for(35_000, 100) == pytest.approx(5)
    assert budget.wait_for(10**9, 100) == pytest.approx(30)  # never more than a window holds


def test_a_budget_that_starts_anew_is_not_taken_for_one_that_fills() -> None:
    """Told early in its window how slowly it would fill, it is not trusted to do so faster later."""
    budget = Budget()
    budget.read(headers(60_000, 59_000, "60s"), "tokens", 0)
    budget.read(headers(60_000, 1_000, "10s"), "tokens", 50)
    assert budget.left(58) < 2_000
    assert budget.left(60.1) == 60_000


@pytest.mark.parametrize(
    "malformed", [{}, headers(0, 0, "1s"), headers(10, 11, "1s"), headers(10, -1, "1s"), headers(1e300, 5, "1s"),
             {"x-ratelimit-limit-tokens": "many", "x-ratelimit-remaining-tokens": "1"}, headers(float("nan"), 1, "1s")],
)  # fmt: skip
def test_headers_that_say_nothing_change_nothing(malformed: dict[str, str]) -> None:
    budget = Budget()
    budget.read(malformed, "tokens", 0)
    assert budget.limit is None and budget.wait_for(10**9, 0) == 0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def run(limits: RateLimits, tokens: int = 10) -> threading.Thread:
    def work() -> None:
        with limits.turn(tokens):
            pass

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_more_at_once_with_each_answer_and_half_after_a_refusal() -> None:
    limits = RateLimits(16)
    assert limits.at_once == FIRST_AT_ONCE
    with limits.turn(1) as first:
        pass
    for _ in range(20):
        limits.succeeded(first)
    assert limits.at_once == 16
    limits.refused(first, 0)
    assert limits.at_once == 8
    limits.refused(first, 0)  # it was under way at the same time: the same event
    assert limits.at_once == 8
    limits.succeeded(first)
    assert limits.at_once == 8  # and grows slowly from here
    for _ in range(9):
        limits.succeeded(first)
    assert limits.at_once == 9


def test_after_a_refusal_one_goes_first() -> None:
    clock = Clock()
    limits = RateLimits(16, clock)
    with limits.turn(1) as turn:
        pass
    limits.refused(turn, 5)
    started: list[int] = []
    release = threading.Event()

    def work(number: int) -> None:
        with limits.turn(1) as granted:
            started.append(number)
            release.wait(10)
            limits.succeeded(granted)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    assert started == []
    limits.succeeded(turn)  # it was under way before the refusal
    clock.now += 5.1
    limits.read({})  # wakes those who wait
    wait_until(lambda: len(started) == 1)
    limits.read({})
    assert len(started) == 1
    release.set()
    for thread in threads:
        thread.join(10)
    assert len(started) == 8


def test_requests_under_way_count_until_they_are_told_of() -> None:
    clock = Clock()
    limits = RateLimits(16, clock)
    with limits.turn(100):
        limits.read(headers(1_000, 250, "45s") | headers(100, 99, "1s", "requests"))
        waiting = run(limits, 200)
        waiting.join(0.1)
        assert waiting.is_alive()  # 100 may or may not be in the 250
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_request_without_an_answer_is_taken_off() -> None:
    limits = RateLimits(16, Clock())
    with limits.turn(1):
        limits.read(headers(1_000, 500, "30s") | headers(100, 50, "30s", "requests"))
    with limits.turn(400):
        pass
    assert limits.tokens.left(1000) == 100 and limits.requests.left(1000) == 49


def test_who_waits_can_be_interrupted() -> None:
    limits = RateLimits(1)
    errors: list[Any] = []

    def work() -> None:
        try:
            with limits.turn(1):
                pass
        except InterruptedTurn as error:
            errors.append(error)

    with limits.turn(1):
        thread = threading.Thread(target=work)
        thread.start()
        limits.interrupt()
        thread.join(10)
    assert len(errors) == 1
