"""What suggestions depend on, and whether a source's were made for the state it is in. Light."""

from __future__ import annotations

from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.store.tag_rows import content_state
from kbjobs.tagging.vocabulary import Vocabulary


def current_state(ledger: Ledger, vocabulary: Vocabulary, model: str) -> str:
    """What suggestions depend on: the vocabulary, the contents, and whether the model's vectors are here.

    A model of an API that is shown texts has none: it is not paid again because a source was indexed.
    """
    has_vectors = any(row.name == model and ledger.count_vectors(row.id) for row in ledger.models())
    return f"{vocabulary.version} {content_state(ledger)} {'vectors' if has_vectors else 'titles'}"


def is_current(source: SourceFolder, state: str, model: str) -> bool:
    """Whether the source's suggestions were made for that state with that model."""
    made = source.read().suggested_tags
    return made is not None and (made.get("state"), made.get("model")) == (state, model)
