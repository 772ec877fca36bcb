"""How long a server wants to be left alone."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime

MAX_REST = 3600.0
"""Seconds: no server is waited for longer, whatever it says."""


def read_retry_after(value: str, now: float | None = None) -> float:
    """The seconds that a Retry-After asks for, at most an hour; 0 for none or one that says nothing (RFC 9110, 10.2.3).

    Args:
        value: of the header, seconds or a date.
        now: seconds since 1970.
    """
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):
        return min(float(value), MAX_REST)
    try:
        until = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(until - (time.time() if now is None else now), 0.0), MAX_REST)
