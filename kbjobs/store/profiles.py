"""The tokenizer, window and chunker version that passages are cut for, and passages cut by an older version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from kbjobs.store.connection import transaction
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import IndexedModel


@dataclass(frozen=True, slots=True)
class Profile:
    """What passages are cut for: a tokenizer's identity, a window in tokens, and the version of the chunker."""

    tokenizer: str
    window: int
    version: int

    @property
    def name(self) -> str:
        """Its name in the ledger."""
        return f"{self.tokenizer} {self.window} {self.version}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read a profile from its name; None if the name has another form."""
        tokenizer, *numbers = name.rsplit(" ", 2)
        if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
            return None
        return cls(tokenizer, int(numbers[0]), int(numbers[1]))

    def is_older_than(self, other: Profile) -> bool:
        """Whether it is the same tokenizer and window with an older chunker version."""
        return (self.tokenizer, self.window) == (other.tokenizer, other.window) and self.version < other.version


@dataclass(frozen=True, slots=True)
class OlderCut:
    """Passages cut by an older version: their profile, and the numbers of documents, distinct texts and tokens."""

    model: IndexedModel
    profile: Profile
    documents: int
    passages: int
    tokens: int


def profile_of(ledger: Ledger, key: str) -> Profile | None:
    """The profile of the model with that key; None if it has none."""
    row = ledger.connection.execute(
        "SELECT p.name FROM models m JOIN profiles p ON p.id = m.profile WHERE m.key = ?", (key,)
    ).fetchone()
    return None if row is None else Profile.parse(row[0])


def find_older_cut(ledger: Ledger, model: str, version: int) -> OlderCut | None:
    """Find the passages that an older version has cut for a model; None if there are none.

    Args:
        ledger: the source's ledger.
        model: the model's name.
        version: the current version of the chunker.
    """
    for row in reversed(ledger.models()):
        profile = profile_of(ledger, row.key)
        if row.name != model or profile is None:
            continue
        if profile.version >= version:
            return None
        documents = ledger.connection.execute(
            "SELECT count(*) FROM chunked WHERE profile = ?", (row.profile,)
        ).fetchone()[0]
        passages, tokens = ledger.connection.execute(
            "SELECT count(*), coalesce(sum(tokens), 0) FROM (SELECT min(tokens) AS tokens FROM chunks WHERE profile = ?"
            " GROUP BY text_hash)",
            (row.profile,),
        ).fetchone()
        return OlderCut(row, profile, documents, passages, tokens) if passages else None
    return None


def adopt(ledger: Ledger, model: int, profile: int) -> None:
    """Record the profile that the model's collection is published for, and delete passages that no model needs.

    Their vectors stay, because the same text may appear again.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        profile: the profile published.
    """
    with transaction(ledger.connection):
        (before,) = ledger.connection.execute("SELECT profile FROM models WHERE id = ?", (model,)).fetchone()
        if before == profile:
            return
        ledger.connection.execute("UPDATE models SET profile = ? WHERE id = ?", (profile, model))
        for table in ("chunks", "chunked"):
            ledger.connection.execute(
                f"DELETE FROM {table} WHERE profile = :old AND :old NOT IN (SELECT profile FROM models)",
                {"old": before},
            )
