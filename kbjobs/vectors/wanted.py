"""The records that a collection and its exact index should hold, as read once from a ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from kbjobs.store import publication as store
from kbjobs.store.ledger import Ledger

WITHOUT_MATRIX = " without a matrix"
"""The suffix of the state of an exact index that has no matrix on purpose."""


@dataclass(frozen=True, slots=True)
class LedgerRecords:
    """The searchable passages of a ledger at one moment: the language of each, by its record's id.

    ``firsts`` are the first records of each text, which are all that a collection without a matrix holds; None if there
    is a matrix. ``state`` names the content of an exact index: it is equal as long as its passages, their languages and
    their vectors are.
    """

    languages: dict[str, str | None]
    firsts: frozenset[str] | None
    state: str

    @property
    def ids(self) -> AbstractSet[str]:
        """The ids of the records that the collection should have."""
        return self.languages.keys() if self.firsts is None else self.firsts

    @property
    def has_matrix(self) -> bool:
        """Whether the vectors are also published as a matrix."""
        return self.firsts is None


def read_wanted(ledger: Ledger, model: int, profile: int, has_matrix: bool) -> LedgerRecords:
    """Read what a collection should hold; valid while the source's lock is held and nothing is written.

    Args:
        ledger: the source's ledger.
        model: the model's row in it.
        profile: the row of its cutting profile.
        has_matrix: whether the vectors are also published as a matrix.
    """
    languages: dict[str, str | None] = {}
    newest = 0
    firsts: set[str] = set()
    for name, language, vector, is_first in store.searched_records(ledger, model, profile, with_first=not has_matrix):
        languages[name] = language
        newest = max(newest, vector)
        if is_first:
            firsts.add(name)
    digest = hashlib.sha256()
    for name in sorted(languages):
        digest.update(f"{name} {languages[name]}\n".encode())
    # The newest vector of these passages, not of the model: an unfinished job may have added vectors for others.
    state = f"{digest.hexdigest()[:32]} {newest}"
    if has_matrix:
        return LedgerRecords(languages, None, state)
    return LedgerRecords(languages, frozenset(firsts), state + WITHOUT_MATRIX)


def newest_vector(state: str) -> int:
    """The id of the newest vector of the passages that a state names."""
    return int(state.removesuffix(WITHOUT_MATRIX).rpartition(" ")[2])
