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
_COMMENT_LENGTH = 25  # characters


def choose_main(outline: Outline, facts: PageFacts, *, keeps_comments: bool = False) -> list[Block]:
    """The blocks of the main text, in their order; all where none is.

    Args:
        outline: the blocks of the page, one or more.
        facts: what else is known of it.
        keeps_comments: whether readers' comments belong to it.
    """
    kept = keep(judge(outline, facts), measure_blocks(outline))
    if keeps_comments:
        kept |= find_comments(outline)
    return [block for block, is_kept in zip(outline.blocks, kept, strict=True) if is_kept] or outline.blocks


def judge(outline: Outline, facts: PageFacts) -> NDArray[np.float64]:
    """How probable it is of each block that it is of the main text."""
    return load_forest().predict(describe_blocks(outline, facts))


def keep(probabilities: NDArray[np.float64], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which blocks are kept, by their probabilities and their lengths in characters."""
    kept = probabilities > THRESHOLD
    if lengths[kept].sum() < _LEAST_SHARE * lengths.sum():
        kept = probabilities > _DOUBTFUL
    return kept


def find_comments(outline: Outline) -> NDArray[np.bool_]:
    """Which blocks lie in an element that is named after comments, and say more than a button does."""
    is_comment: list[bool] = []
    for parent, holder in zip(outline.parents, outline.holders, strict=True):
        is_comment.append(any(name in names_of(holder) for name in _COMMENTS) or (parent >= 0 and is_comment[parent]))
    return np.array([is_comment[place] for place in outline.places]) & (measure_blocks(outline) >= _COMMENT_LENGTH)


def measure_blocks(outline: Outline) -> NDArray[np.int64]:
    """The characters of each block."""
    return np.array([len(block.text) for block in outline.blocks])
