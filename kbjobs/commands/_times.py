"""Reading moments and durations as people write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from kbjobs.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
MAX_SECONDS = 366 * 86400


def parse_duration(text: str) -> float:
    """Seconds of ``90s``, ``45m``, ``3h``, ``1h30m``, ``2d``; raises UsageError."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"{text!r} is not a duration", "Write it like 90s, 45m, 3h, 1h30m or 2d.")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0 < seconds <= MAX_SECONDS:
        raise UsageError(f"{text!r} is too short or too long", "Give more than 0 and at most 366 days.")
    return seconds


def read_moments(
    not_before: str | None, until: str | None, now: datetime | None = None, begins: float | None = None
) -> tuple[float | None, float | None]:
    """Read the moments between which a job may run.

    Args:
        not_before: the moment before which the job may not begin, as typed.
        until: the moment at which it must stop, as typed: the first such time after the job may begin.
        now: the current time, with a time zone (default: the clock's).
        begins: the moment before which the job cannot begin anyway, in seconds since 1970.

    Returns:
        Both moments in seconds since 1970; None if not given.

    Raises:
        UsageError: a moment cannot be read, ``until`` has passed, or it is before the other.
    """
    now = now or datetime.now().astimezone()
    start = parse_moment(not_before, now) if not_before else None
    first = begins if start is None else start
    after = now if first is None else max(now, datetime.fromtimestamp(first).astimezone())
    end = parse_moment(until, after) if until else None
    if end is not None and end <= after.timestamp():
        problem = (
            "has passed" if end <= now.timestamp() else f"is before --not-before {not_before or show_moment(first)}"
        )
        raise UsageError(f"--until {until} {problem}", "Give a later time. Nothing was queued.")
    return start, end


def show_moment(moment: float | None) -> str:
    """Seconds since 1970 as local time, "none" for no moment."""
    return "none" if moment is None else datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M")


def parse_moment(text: str, now: datetime | None = None) -> float:
    """Seconds since 1970 of ``22:00`` (the next one), ``+2h``, ``2026-01-31 22:00``; raises UsageError.

    Without a zone it is local time.
    """
    now = now or datetime.now().astimezone()
    if text.startswith("+"):
        return now.timestamp() + parse_duration(text[1:])
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}", text):
            hour, minute = map(int, text.split(":"))
            # Built from the calendar, not by adding 24 h: a day on which the clocks change has 23 or 25.
            moment = now.replace(hour=hour, minute=minute, second=0, microsecond=0, tzinfo=None)
            if moment.astimezone() <= now:
                moment += timedelta(days=1)
            return moment.astimezone().timestamp()
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.astimezone()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{text!r} is not a time", "Write it like 22:00, +2h, '2026-01-31 22:00' or 2026-01-31T22:00:00+01:00."
        ) from None


def show_moment_briefly(moment: float, now: datetime | None = None) -> str:
    """A moment to come in few characters, in local time.

    Args:
        moment: in seconds since 1970.
        now: the moment to count from (default: the current time).

    Returns:
        ``22:00`` within the next 24 hours from then, ``31 Jan 22:00`` within half a year, else ``2099-01-31``.
    """
    now = now or datetime.now().astimezone()
    then = datetime.fromtimestamp(moment).astimezone()
    ahead = then - now
    if ahead < timedelta(days=1):
        return then.strftime("%H:%M")
    return then.strftime("%d %b %H:%M" if ahead < timedelta(days=182) else "%Y-%m-%d").lstrip("0")


def show_age_briefly(moment: str | None, now: datetime | None = None) -> str:
    """How long ago a time of the state was, in its largest unit: 40s, 12m, 3h, 9d; "–" for no time.

    Args:
        moment: as ISO 8601.
        now: the current time, with a time zone (default: the clock's).
    """
    if moment is None:
        return "–"
    seconds = int(max(0.0, ((now or datetime.now().astimezone()) - datetime.fromisoformat(moment)).total_seconds()))
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS[unit]:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
