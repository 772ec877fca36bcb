"""The state that suggestions depend on, and whether a source's suggestions are up to date with it. Light."""

from __future__ import annotations

from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.store.tag_rows import content_state
from kbjobs.tagging.vocabulary import Vocabulary


def current_state(ledger: Ledger, vocabulary: Vocabulary, model: str) -> str:
    """Name the state that suggestions depend on: vocabulary, contents, and whether the model has vectors.

    A model of an API has no vectors here, so indexing a source does not make its suggestions outdated.

    Args:
        ledger: the source's ledger.
        vocabulary: the tags to choose from.
        model: the name of the model that suggests.
    """
    has_vectors = any(row.name == model and ledger.count_vectors(row.id) for row in ledger.models())
    return f"{vocabulary.version} {content_state(ledger)} {'vectors' if has_vectors else 'titles'}"


def is_current(source: SourceFolder, state: str, model: str) -> bool:
    """Whether the source already has the suggestions of a model for a state.

    Args:
        source: the source.
        state: the state as :func:`current_state` names it.
        model: the name of the model that suggests.
    """
    made = source.read().suggested_tags
    return made is not None and (made.get("state"), made.get("model")) == (state, model)
