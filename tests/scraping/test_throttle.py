"""Turns, by a clock that only the waiting moves, so that every gap is exact."""

from __future__ import annotations

import asyncio
import itertools
import time
from email.utils import formatdate

import pytest

from kbjobs.net.retry_after import read_retry_after
from kbjobs.scraping.throttle import MAX_BACKOFF, HostThrottle

HOST = "example.org"


class Clock:
    """A time that goes on only when somebody waits for it, and then a little further, as on a busy machine."""

    def __init__(self, late: float = 0.0) -> None:
        self.now = 1000.0
        self.late = late

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds + self.late
        await asyncio.sleep(0)
        self.now = max(self.now, until)


def pace_with(clock: Clock, delay: float, connections: int = 16) -> HostThrottle:
    return HostThrottle(delay, clock, connections, clock.sleep)


async def take_turns(
    pace: HostThrottle, clock: Clock, count: int, host: str = HOST, connecting: float = 0.0
) -> list[float]:
    """When each of many callers, all there at once, was let go."""
    starts: list[float] = []

    async def ask() -> None:
        async with pace.turn(host) as turn:
            clock.now += connecting
            turn.mark_start()
            starts.append(clock.now)
            await asyncio.sleep(0)

    await asyncio.gather(*(ask() for _ in range(count)))
    return starts


def gaps(starts: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(starts)]


@pytest.mark.parametrize("late", [0.0, 0.03])
@pytest.mark.parametrize("connecting", [0.0, 0.2])
def test_the_gap_is_never_smaller(late: float, connecting: float) -> None:
    clock = Clock(late)
    starts = asyncio.run(take_turns(pace_with(clock, 0.5), clock, 20, connecting=connecting))
    assert min(gaps(starts)) >= 0.5 - 1e-9
    assert max(gaps(starts)) <= 0.5 + late + connecting + 1e-9


@pytest.mark.parametrize("order", [[0.7, 0.0, 0.0], [0.0, 0.7, 0.2], [1.3, 0.6, 0.0]])
def test_a_request_that_connects_slowly_holds_the_next_one_back(order: list[float]) -> None:
    """Else the next one would leave in the meantime, and both come to the host together."""
    clock = Clock()
    pace = pace_with(clock, 0.5)
    starts: list[float] = []

    async def ask(connecting: float) -> None:
        async with pace.turn(HOST) as turn:
            until = clock.now + connecting
            while clock.now < until:
                await clock.sleep(0.1)
            turn.mark_start()
            starts.append(clock.now)
            await asyncio.sleep(0)

    async def ask_all() -> None:
        await asyncio.gather(*(ask(connecting) for connecting in order))

    asyncio.run(ask_all())
    assert min(gaps(starts)) >= 0.5 - 1e-9


def test_real_time() -> None:
    """With the clock and the sleep of the event loop: the gaps hold there too."""

    async def ask() -> list[float]:
        pace = HostThrottle(0.05)
        starts = []
        for _ in range(5):
            async with pace.turn(HOST):
                starts.append(time.monotonic())
        return starts

    assert min(gaps(asyncio.run(ask()))) >= 0.05


def test_the_larger_of_both_delays_counts() -> None:
    clock = Clock()
    for own, asked in ((2.0, 0.5), (0.5, 2.0), (0.0, 2.0)):
        pace = pace_with(clock, own)
        pace.set_crawl_delay(HOST, asked)
        assert gaps(asyncio.run(take_turns(pace, clock, 3))) == pytest.approx([2.0, 2.0])


def test_hosts_do_not_wait_for_each_other() -> None:
    clock = Clock()
    pace = pace_with(clock, 10)
    assert asyncio.run(take_turns(pace, clock, 1)) == [1000.0]
    assert asyncio.run(take_turns(pace, clock, 1, "example.net")) == [1000.0]
    assert pace.wait_for(HOST) == 10


def test_without_a_delay_only_so_many_at_once() -> None:
    clock = Clock()
    at_once = most = 0

    async def ask(pace: HostThrottle) -> None:
        nonlocal at_once, most
        async with pace.turn(HOST):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            at_once -= 1

    async def ask_all() -> None:
        pace = pace_with(clock, 0, connections=4)
        await asyncio.gather(*(ask(pace) for _ in range(50)))

    asyncio.run(ask_all())
    assert (most, clock.now) == (4, 1000.0)


def test_who_gives_up_waiting_takes_no_turn() -> None:
    clock = Clock()

    async def give_up() -> list[float]:
        pace = HostThrottle(1000, clock, 1, asyncio.sleep)
        async with pace.turn(HOST):
            pass
        waiting = [asyncio.create_task(take_turns(pace, clock, 1)) for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        clock.now += 1000
        return await take_turns(pace, clock, 1)

    assert asyncio.run(give_up()) == [2000.0]


def test_refusals_double_the_rest() -> None:
    clock = Clock()
    pace = pace_with(clock, 0)
    rests = []
    for _ in range(12):
        rests.append(pace.slow_down(HOST))
        clock.now += rests[-1]
    for number, rest in enumerate(rests):
        usual = min(2**number, MAX_BACKOFF)
        assert usual * 0.75 <= rest <= usual * 1.25
    pace.recovered(HOST)
    assert pace.slow_down(HOST) <= 1.25


def test_refusals_at_the_same_time_are_one() -> None:
    clock = Clock()
    pace = pace_with(clock, 0)
    assert len({pace.slow_down(HOST) for _ in range(16)}) == 1
    assert pace.slow_down(HOST, "90") == 90
    assert asyncio.run(take_turns(pace, clock, 1)) == [1090.0]
    assert 1.5 <= pace.slow_down(HOST) <= 2.5


def test_a_longer_rest_is_not_shortened() -> None:
    clock = Clock()
    pace = pace_with(clock, 0)
    pace.slow_down(HOST, "600")
    assert pace.slow_down(HOST, "5") == 600
    pace.recovered(HOST)
    assert pace.wait_for(HOST) == 600


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120), (" 5 ", 5), ("1.5", 1.5), ("0", 0), ("", 0), ("-5", 0), ("soon", 0), ("²", 0), ("nan", 0),
        ("86400", 3600), ("9" * 5000, 3600),
        (formatdate(1030, usegmt=True), 30), (formatdate(900, usegmt=True), 0), (formatdate(9e9, usegmt=True), 3600),
        ("Fri, 31 Dec 99999 23:59:59 GMT", 0), ("Sunday, 06-Nov-94 08:49:37 GMT", 3600),
    ],
)  # fmt: skip
def test_retry_after(value: str, seconds: float) -> None:
    assert read_retry_after(value, 1000) == seconds
