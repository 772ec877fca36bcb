"""Choose how an index job treats a source: what it rereads and cuts again, and for which profile."""

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
    """Options of an index job.

    ``force`` embeds everything again; ``recut`` rereads and cuts everything, and embeds new passages. ``keeps_cut``:
    passages cut by an older version stay unchanged, unless ``recut`` is set.
    """

    force: bool = False
    recut: bool = False
    limit: int | None = None
    allow_delete: bool = False
    keeps_cut: bool = False

    @property
    def scope(self) -> ScanScope:
        """How much of the source the job's scan covers."""
        return ScanScope(self.force or self.recut, self.limit, self.allow_delete)


def choose_profile(
    ledger: Ledger, model_key: str, tokens: TokenCounter, max_tokens: int, options: IndexOptions
) -> Profile:
    """Choose the profile for cutting a model's passages: the older version's if its cut is kept, else the newest.

    Args:
        ledger: the source's ledger.
        model_key: the key of the model.
        tokens: the model's token counter.
        max_tokens: the window that passages are cut for.
        options: the job's options.
    """
    newest = Profile(tokens.identity, max_tokens, CUTTING_VERSION)
    current = profile_of(ledger, model_key)
    if options.keeps_cut and not options.recut and current is not None and current.is_older_than(newest):
        return current
    return newest


def describe_recut(ledger: Ledger, model: str) -> str:
    """Explain why a job embeds more than is missing: an older version cut the passages. '' if none did."""
    older = find_older_cut(ledger, model, CUTTING_VERSION)
    if older is None:
        return ""
    return (
        f"the passages were cut by an older version: {agreeing(older.documents, 'document', 'is', 'are')} cut anew,"
        f" and about {counted(older.passages, 'passage')} ({counted(older.tokens, 'token')}) embedded"
    )


def find_kept(ledger: Ledger, model: str) -> OlderCut | None:
    """Find the passages of a model, by its name, that an older version cut; None also if a person was told before."""
    older = find_older_cut(ledger, model, CUTTING_VERSION)
    return None if older is None or ledger.fact(_told(older)) else older


def find_kept_cut(path: Path, model: str) -> OlderCut | None:
    """Do the same as :func:`find_kept` with the ledger at a path, and record that a person was told."""
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
