"""Which blocks of a page of the open web are its main text.

Trees judge each block by what it says, how it is marked, what stands around it and where it lies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kbjobs.content.block_features import describe_blocks, names_of
from kbjobs.content.block_trees import load_forest
from kbjobs.content.document import Block
from kbjobs.content.outline import Outline, PageFacts

THRESHOLD = 0.55
"""A block that is more probable than this is kept: where F1 is largest, cross-validated by site."""

_LEAST_SHARE = 0.1  # of a page's characters: where fewer would be kept, more doubtful blocks are …
_DOUBTFUL = 0.25  # … down to this probability
_COMMENTS = ("comment", "kommentar", "comentario", "discussion", "respond")
# What the software of forums calls the text of a post: phpBB, Discourse, vBulletin, XenForo, Stack Exchange.
_POSTS = ("postbody", "post-body", "post_content", "postcontent", "crawler-post", "bbwrapper", "message-body", "answer")
_POST_LENGTH = 25  # characters
_POST_LINKS = 0.5  # of its characters


def choose_main(outline: Outline, facts: PageFacts, *, keeps_comments: bool = False) -> list[Block]:
    """The blocks of the main text, in their order; all where none is.

    Args:
        outline: the blocks of the page, one or more.
        facts: what else is known of it.
        keeps_comments: whether readers' comments belong to it.
    """
    kept = choose(judge(outline, facts), outline, facts, keeps_comments=keeps_comments)
    return [block for block, is_kept in zip(outline.blocks, kept, strict=True) if is_kept] or outline.blocks


def choose(
    probabilities: NDArray[np.float64], outline: Outline, facts: PageFacts, *, keeps_comments: bool
) -> NDArray[np.bool_]:
    """Which blocks are kept, by their probabilities; and what readers wrote where it belongs to the text."""
    kept = keep(probabilities, measure_blocks(outline))
    if facts.is_thread:
        return kept | find_within(outline, (*_COMMENTS, *_POSTS))
    return kept | find_within(outline, _COMMENTS) if keeps_comments else kept


def judge(outline: Outline, facts: PageFacts) -> NDArray[np.float64]:
    """How probable it is of each block that it is of the main text."""
    return load_forest().predict(describe_blocks(outline, facts))


def keep(probabilities: NDArray[np.float64], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which blocks are kept, by their probabilities and their lengths in characters."""
    kept = probabilities > THRESHOLD
    if lengths[kept].sum() < _LEAST_SHARE * lengths.sum():
        kept = probabilities > _DOUBTFUL
    return kept


def find_within(outline: Outline, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which blocks lie in an element that one of ``names`` is part of a name of, and say more than a button does."""
    is_named: list[bool] = []
    for parent, holder in zip(outline.parents, outline.holders, strict=True):
        named = names_of(holder)
        is_named.append((parent >= 0 and is_named[parent]) or any(name in named for name in names))
    lengths = measure_blocks(outline)
    is_text = (lengths >= _POST_LENGTH) & (np.array(outline.linked) < _POST_LINKS * lengths)
    return np.array([is_named[place] for place in outline.places]) & is_text


def measure_blocks(outline: Outline) -> NDArray[np.int64]:
    """The characters of each block."""
    return np.array([len(block.text) for block in outline.blocks])
