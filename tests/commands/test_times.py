"""Moments and durations as people write them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from kbjobs.commands._times import parse_duration, parse_moment
from kbjobs.errors import UsageError

NOW = datetime(2026, 3, 28, 21, 0).astimezone()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("3h", 10800), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_moment("+" + text, NOW) == NOW.timestamp() + seconds


@pytest.mark.parametrize("text", ["", "3", "h", "3 h", "-3h", "3x", "0s", "9999d", "nan", "1e3s", "3h3"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


def test_a_time_of_day_is_the_next_one() -> None:
    assert parse_moment("22:00", NOW) == (NOW + timedelta(hours=1)).timestamp()
    assert parse_moment("6:30", NOW) == datetime(2026, 3, 29, 6, 30).timestamp()
    assert parse_moment("21:00", NOW) == datetime(2026, 3, 29, 21, 0).timestamp()


def test_full_moments() -> None:
    assert parse_moment("2026-04-01 08:00", NOW) == datetime(2026, 4, 1, 8).timestamp()
    assert parse_moment("2026-04-01T08:00:00+00:00", NOW) == 1775030400.0


@pytest.mark.parametrize("text", ["", "24:00", "12:60", "noon", "2026-13-01", "+", "+3", "99999-01-01"])
def test_bad_moments(text: str) -> None:
    with pytest.raises(UsageError):
        parse_moment(text, NOW)
