"""The tags of a source: its own, and those that were suggested."""

from __future__ import annotations

from collections.abc import Sequence

from kbjobs.config.home import Home
from kbjobs.store.locks import lock_registered
from kbjobs.store.sources import SourceFolder
from kbjobs.tagging.review import Review, list_suggestions, review

__all__ = ["list_suggestions", "review_tags"]

LOCK_SECONDS = 1.0


def review_tags(
    home: Home, source_id: str, accept: Sequence[str] = (), reject: Sequence[str] = (), accept_all: bool = False
) -> Review:
    """The tags of a source, after some that were suggested are taken over or rejected; with none named only the tags.

    Raises ConflictError while a job works on the source, and what :func:`kbjobs.tagging.review.review` raises; the
    manifest is then as it was.
    """
    folder = SourceFolder(home.sources, source_id)
    source = folder.read()
    if not (accept or reject or accept_all):
        return Review(source)
    with lock_registered(folder, LOCK_SECONDS):
        source = folder.read()
        reviewed = review(source, accept, reject, accept_all)
        if reviewed.source != source:
            folder.write_decided_tags(reviewed.source)
    return reviewed
