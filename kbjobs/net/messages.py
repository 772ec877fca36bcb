"""Making a server's message safe to show: one line, short, without secrets."""

from __future__ import annotations

from collections.abc import Iterable

MAX_MESSAGE = 300
"""Most characters of a server's message that are shown."""


def clean_message(text: str, secrets: Iterable[str] = (), limit: int = MAX_MESSAGE) -> str:
    """Put a message on one line, without control characters and secrets.

    Args:
        text: the server's message.
        secrets: the values that must not be shown; empty ones are ignored.
        limit: the most characters that are kept.
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    for secret in secrets:
        if secret:
            line = line.replace(secret, "…")
    return line[:limit]
