"""The passages of one document, as they were cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kbjobs.store.ledger import Ledger


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """One passage.

    Args:
        profile: the tokenizer and window that the passage was cut for.
        number: its place in the document, from 1.
        page: its page in a PDF, from 1; 0 if the document has no pages.
        tokens: the number of its tokens.
        text: its text, with the document's title.
    """

    profile: str
    number: int
    page: int
    tokens: int
    text: str


def list_passages(ledger: Ledger, doc_id: str) -> Iterator[StoredPassage]:
    """The passages of a document, profile by profile, in their order."""
    rows = ledger.connection.execute(
        "SELECT p.name, c.ordinal + 1, c.page, c.tokens, c.text FROM chunks c JOIN profiles p ON p.id = c.profile"
        " WHERE c.doc_id = ? ORDER BY c.profile, c.ordinal",
        (doc_id,),
    )
    for row in rows:
        yield StoredPassage(*row)
