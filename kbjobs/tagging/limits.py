"""The limits of a request for tags to an API. Light to import, since a submit derives the price from them."""

from __future__ import annotations

SAMPLE = 80
"""Most documents of a sample."""

DOCUMENT_TOKENS = 150
"""Most tokens of a document's text."""

OTHER_TOKENS = 60
"""Most tokens of a document's number and path, and of the JSON around them."""

TASK_TOKENS = 1_000
CATEGORY_TOKENS = 150
"""Most tokens of a category: its description (at most 500 characters), and its name in the answer's schema."""

ANSWER_TOKENS = 4_000
"""Most tokens of an answer; a longer one is cut."""

TRIES = 2
"""Most answers that are paid for before tags are suggested without the API."""


def max_tokens(categories: int, documents: int = SAMPLE) -> tuple[int, int]:
    """The most tokens that are sent and answered, over all tries."""
    sent = TASK_TOKENS + categories * CATEGORY_TOKENS + documents * (DOCUMENT_TOKENS + OTHER_TOKENS)
    return TRIES * sent, TRIES * ANSWER_TOKENS
