"""How an index job is to go about a source: what it reads and cuts anew, and for which profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kbjobs.content.document import CUTTING_VERSION
from kbjobs.content.tokens import TokenCounter
from kbjobs.formatting import agreeing, counted
from kbjobs.scanning.changes import ScanScope
from kbjobs.store.ledger import Ledger
from kbjobs.store.profiles import OlderCut, Profile, find_older_cut, profile_of


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """``force`` embeds everything again; ``recut`` reads and cuts everything again, and embeds what comes out new.

    ``keeps_cut``: passages that an older version has cut stay as they are, unless ``recut`` asks for others.
    """

    force: bool = False
    recut: bool = False
    limit: int | None = None
    allow_delete: bool = False
    keeps_cut: bool = False

    @property
    def scope(self) -> ScanScope:
        """How much of the source the scan of the job takes up."""
        return ScanScope(self.force or self.recut, self.limit, self.allow_delete)


def choose_profile(
    ledger: Ledger, model_key: str, tokens: TokenCounter, max_tokens: int, options: IndexOptions
) -> Profile:
    """For what the passages of a model are cut: as they were by an older version where they are to stay so."""
    newest = Profile(tokens.identity, max_tokens, CUTTING_VERSION)
    current = profile_of(ledger, model_key)
    if options.keeps_cut and not options.recut and current is not None and current.is_older_than(newest):
        return current
    return newest


def describe_recut(ledger: Ledger, model: str) -> str:
    """Why a job embeds more than was left to do: the passages are cut anew. '' where no older version has cut them."""
    older = find_older_cut(ledger, model, CUTTING_VERSION)
    if older is None:
        return ""
    return (
        f"the passages were cut by an older version: {agreeing(older.documents, 'document', 'is', 'are')} cut anew,"
        f" and about {counted(older.passages, 'passage')} ({counted(older.tokens, 'token')}) embedded"
    )


def find_kept(ledger: Ledger, model: str) -> OlderCut | None:
    """The passages of a model, by its name, that an older version has cut; None also where that was told before."""
    older = find_older_cut(ledger, model, CUTTING_VERSION)
    return None if older is None or ledger.fact(_told(older)) else older


def find_kept_cut(path: Path, model: str) -> OlderCut | None:
    """As :func:`find_kept`, of the ledger at a path; from now on it counts as told."""
    ledger = Ledger(path)
    try:
        older = find_kept(ledger, model)
        if older is not None:
            ledger.set_fact(_told(older), "yes")
        return older
    finally:
        ledger.close()


def _told(older: OlderCut) -> str:
    return f"told that {older.model.key} keeps the cut {older.profile.version}"
