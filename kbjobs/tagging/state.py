"""What suggestions depend on, and whether a source's were made for the state it is in. Light."""

from __future__ import annotations

from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.store.tagging import content_state
from kbjobs.tagging.preparedness import CATEGORIES_VERSION


def current_state(ledger: Ledger, model: str) -> str:
    """What suggestions depend on: the contents, whether the model's vectors are here, and the rules themselves."""
    has_vectors = any(row.name == model and ledger.count_vectors(row.id) for row in ledger.models())
    return f"{CATEGORIES_VERSION} {content_state(ledger)} {'vectors' if has_vectors else 'titles'}"


def is_current(source: SourceFolder, state: str, model: str) -> bool:
    """Whether the source's suggestions were made for that state with that model."""
    made = source.read().suggested_tags
    return made is not None and (made.get("state"), made.get("model")) == (state, model)
