"""How much an API is sent and asked for, at most. Light: a submit tells the price by it."""

from __future__ import annotations

SAMPLE = 80
"""Documents of a sample."""

DOCUMENT_TOKENS = 150
"""Tokens of the text of one of them."""

OTHER_TOKENS = 60
"""Tokens of its number and path, and what they are written with."""

TASK_TOKENS = 1_000
CATEGORY_TOKENS = 150
"""Tokens of a category: its description (at most 500 characters), and its name in the form of the answer."""

ANSWER_TOKENS = 4_000
"""Tokens of an answer; one that is longer is cut."""

TRIES = 2
"""Answers that are paid for before tags are suggested without the API."""


def max_tokens(categories: int, documents: int = SAMPLE) -> tuple[int, int]:
    """Tokens that are sent and answered at most, all tries together."""
    sent = TASK_TOKENS + categories * CATEGORY_TOKENS + documents * (DOCUMENT_TOKENS + OTHER_TOKENS)
    return TRIES * sent, TRIES * ANSWER_TOKENS
