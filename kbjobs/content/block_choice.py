"""Choose the blocks of a web page that are its main text.

Decision trees judge each block by its text, its markup, its neighbours and its position.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kbjobs.content.block_features import describe_blocks, names_of
from kbjobs.content.block_trees import load_forest
from kbjobs.content.document import Block
from kbjobs.content.outline import Outline, PageFacts

THRESHOLD = 0.55
"""A block of higher probability is kept: the value with the largest F1, cross-validated by site."""

_LEAST_SHARE = 0.1  # of a page's characters: if fewer would be kept, more doubtful blocks are …
_DOUBTFUL = 0.25  # … down to this probability
_COMMENTS = ("comment", "kommentar", "comentario", "discussion", "respond")
# How forum software names the text of a post: phpBB, Discourse, vBulletin, XenForo, Stack Exchange.
_POSTS = ("postbody", "post-body", "post_content", "postcontent", "crawler-post", "bbwrapper", "message-body", "answer")
_POST_LENGTH = 25  # characters
_POST_LINKS = 0.5  # of its characters


def choose_main(outline: Outline, facts: PageFacts, *, keeps_comments: bool = False) -> list[Block]:
    """Choose the blocks of the main text, in order; all blocks if there is none.

    Args:
        outline: the blocks of the page, at least one.
        facts: what else is known about the page.
        keeps_comments: whether readers' comments belong to it.
    """
    kept = choose(judge(outline, facts), outline, facts, keeps_comments=keeps_comments)
    return [block for block, is_kept in zip(outline.blocks, kept, strict=True) if is_kept] or outline.blocks


def choose(
    probabilities: NDArray[np.float64], outline: Outline, facts: PageFacts, *, keeps_comments: bool
) -> NDArray[np.bool_]:
    """Choose which blocks are kept, by their probabilities; readers' posts are added if they belong to the text.

    Args:
        probabilities: from :func:`judge`, one for each block.
        outline: the blocks of the page.
        facts: what else is known about the page.
        keeps_comments: whether readers' comments belong to the text.

    Returns:
        Whether each block is kept.
    """
    kept = keep(probabilities, measure_blocks(outline))
    if facts.is_thread:
        return kept | find_within(outline, (*_COMMENTS, *_POSTS))
    return kept | find_within(outline, _COMMENTS) if keeps_comments else kept


def judge(outline: Outline, facts: PageFacts) -> NDArray[np.float64]:
    """Compute each block's probability of belonging to the main text."""
    return load_forest().predict(describe_blocks(outline, facts))


def keep(probabilities: NDArray[np.float64], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Choose which blocks are kept, by their probabilities and their lengths in characters."""
    kept = probabilities > THRESHOLD
    if lengths[kept].sum() < _LEAST_SHARE * lengths.sum():
        kept = probabilities > _DOUBTFUL
    return kept


def find_within(outline: Outline, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Find blocks inside an element whose names contain one of ``names``, with more text than a button has."""
    is_named: list[bool] = []
    for parent, holder in zip(outline.parents, outline.holders, strict=True):
        named = names_of(holder)
        is_named.append((parent >= 0 and is_named[parent]) or any(name in named for name in names))
    lengths = measure_blocks(outline)
    is_text = (lengths >= _POST_LENGTH) & (np.array(outline.linked) < _POST_LINKS * lengths)
    return np.array([is_named[place] for place in outline.places]) & is_text


def measure_blocks(outline: Outline) -> NDArray[np.int64]:
    """Count the characters of each block."""
    return np.array([len(block.text) for block in outline.blocks])
