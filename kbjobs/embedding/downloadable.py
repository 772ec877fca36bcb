"""Decide which names can be fetched from the hub. Cheap to import, since a submit does."""

from __future__ import annotations

import difflib
import re

from kbjobs.embedding.model_catalogue import KNOWN_MODELS, find_known, is_safe_name
from kbjobs.embedding.online_models import find_online
from kbjobs.embedding.variants import INT8, split_variant
from kbjobs.errors import NotFoundError, UsageError

# Names that git forbids for branches and tags would only be refused later (git-check-ref-format(1)).
_REVISION = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock$))[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}(?<![./])")


def check_downloadable(name: str) -> tuple[str, int | None]:
    """Find the name under which a model is fetched, and its dimension if known. The name of a variant keeps its end.

    Args:
        name: a name of the catalogue, or ``organisation/name``.
    Raises:
        NotFoundError: it is neither.
    """
    name, is_int8 = split_variant(name)
    variant = INT8 if is_int8 else ""
    if known := find_known(name):
        return known.name + variant, known.dimension
    if online := find_online(name):
        raise NotFoundError(f"{online.name} is not a local model", "To index with it: kbjobs run index-online SOURCE.")
    if name.count("/") == 1 and is_safe_name(name):
        return name + variant, None
    names = {model.name.casefold(): model.name for model in KNOWN_MODELS}
    near = difflib.get_close_matches(name.rpartition("/")[2].casefold(), names, n=1, cutoff=0.6)
    guess = f"; did you mean {names[near[0]]}?" if near else ""
    raise NotFoundError(
        f"there is no known model {name!r}{guess}",
        f"Known: {', '.join(names.values())}. Give any other model its name on the hub: ORGANISATION/NAME.",
    )


def check_revision(revision: str) -> None:
    """Raise UsageError if the text cannot name a branch, a tag or a commit."""
    if not _REVISION.fullmatch(revision):
        raise UsageError(
            f"{revision!r} is not a revision",
            "Name a branch, a tag, or a commit by its 40 digits, as the hub shows them.",
        )
