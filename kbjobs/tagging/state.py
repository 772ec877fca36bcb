"""What suggestions depend on, and whether a source's were made for the state it is in. Light."""

from __future__ import annotations

from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.store.tagging import content_state
from kbjobs.tagging.vocabulary import Vocabulary


def current_state(ledger: Ledger, vocabulary: Vocabulary, model: str, is_online: bool) -> str:
    """What suggestions depend on: the vocabulary, the contents, and whether a local model's vectors are here.

    An API is shown texts: it is not paid again because there are vectors now.
    """
    if is_online:
        return f"{vocabulary.version} {content_state(ledger)} shown"
    has_vectors = any(row.name == model and ledger.count_vectors(row.id) for row in ledger.models())
    return f"{vocabulary.version} {content_state(ledger)} {'vectors' if has_vectors else 'titles'}"


def is_current(source: SourceFolder, state: str, model: str) -> bool:
    """Whether the source's suggestions were made for that state with that model."""
    made = source.read().suggested_tags
    return made is not None and (made.get("state"), made.get("model")) == (state, model)
