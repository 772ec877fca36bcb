"""The tags of a source: its own and the suggested ones."""

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
    """Accept or reject suggested tags of a source.

    Args:
        home: the source's home.
        source_id: the source's id.
        accept: tags that become the source's own.
        reject: tags not to suggest again.
        accept_all: whether to accept every suggestion that is not rejected here.

    Returns:
        The tags after the review; if nothing is accepted or rejected, the unchanged tags.

    Raises:
        ConflictError: a job is working on the source.
        NotFoundError, UsageError: see :func:`kbjobs.tagging.review.review`; the manifest is unchanged.
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
