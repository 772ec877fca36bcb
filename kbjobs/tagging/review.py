"""Reviewing suggested tags: the user accepts some, and rejects others for good. Light."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from kbjobs.errors import NotFoundError, UsageError
from kbjobs.store.sources import Source
from kbjobs.tagging.tag_names import fold_tag


@dataclass(frozen=True, slots=True)
class Review:
    """A source after a review, and the tags that were accepted and rejected."""

    source: Source
    accepted: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The review as the JSON that ``--json`` prints."""
        return {
            "source": self.source.id,
            "tags": list(self.source.tags),
            "suggested_tags": list(list_suggestions(self.source)),
            "rejected_tags": list(self.source.rejected_tags),
            "accepted": list(self.accepted),
            "rejected": list(self.rejected),
        }


def list_suggestions(source: Source) -> Iterator[dict[str, Any]]:
    """Yield the suggested tags of a source, ignoring malformed ones: the manifest may have been edited by hand."""
    tags = (source.suggested_tags or {}).get("tags")
    for tag in tags if isinstance(tags, list) else []:
        if isinstance(tag, dict) and isinstance(tag.get("tag"), str):
            yield tag


def review(source: Source, accept: Sequence[str], reject: Sequence[str], accept_all: bool) -> Review:
    """Accept or reject tags of a source, all or none; each decision can be reversed later.

    Args:
        source: the source's manifest.
        accept: tags that become the user's own.
        reject: tags not to suggest again.
        accept_all: whether to accept every suggestion that is not rejected here.

    Raises:
        NotFoundError: a tag is neither suggested nor decided on.
        UsageError: a tag would be both accepted and rejected.
    """
    suggested = [tag["tag"] for tag in list_suggestions(source)]
    known = {fold_tag(name): name for name in (*source.rejected_tags, *source.tags, *suggested)}
    accepted, rejected = _find(source, known, accept), _find(source, known, reject)
    if both := accepted.keys() & rejected.keys():
        raise UsageError(f"{accepted[both.pop()]!r} is both accepted and rejected", "Choose one of the two.")
    if accept_all:
        accepted |= {fold_tag(name): name for name in suggested if fold_tag(name) not in rejected}
    own, refused = _without(source.tags, rejected), _without(source.rejected_tags, accepted)
    decided = {**accepted, **rejected}
    left = source.suggested_tags
    if left is not None and isinstance(left.get("tags"), list):
        names = {name for name in suggested if fold_tag(name) in decided}
        left = {
            **left,
            "tags": [tag for tag in left["tags"] if not (isinstance(tag, dict) and tag.get("tag") in names)],
        }
    changed = replace(
        source,
        tags=(*own, *_without(accepted.values(), map(fold_tag, own))),
        rejected_tags=(*refused, *_without(rejected.values(), map(fold_tag, refused))),
        suggested_tags=left,
    )
    return Review(changed, tuple(accepted.values()), tuple(rejected.values()))


def _find(source: Source, known: dict[str, str], wanted: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in wanted:
        folded = fold_tag(name)
        if folded not in known:
            near = get_close_matches(folded, known, 1)
            hint = f"Did you mean {known[near[0]]!r}? " if near else ""
            raise NotFoundError(
                f"{name!r} is not suggested for {source.id!r}",
                hint + f"kbjobs sources tags {source.id} lists the suggestions.",
            )
        found[folded] = known[folded]
    return found


def _without(names: Iterable[str], folded: Iterable[str]) -> tuple[str, ...]:
    left_out = set(folded)
    return tuple(name for name in names if fold_tag(name) not in left_out)
