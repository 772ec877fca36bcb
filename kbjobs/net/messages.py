"""What a server says, made safe to show: one line, short, without what it was sent in confidence."""

from __future__ import annotations

from collections.abc import Iterable

MAX_MESSAGE = 300
"""Characters of a server's message that are shown."""


def clean_message(text: str, secrets: Iterable[str] = (), limit: int = MAX_MESSAGE) -> str:
    """The text on one line, without control characters and secrets.

    Args:
        text: what the server said.
        secrets: what must not be shown; empty ones are ignored.
        limit: characters that are kept.
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    for secret in secrets:
        if secret:
            line = line.replace(secret, "…")
    return line[:limit]
