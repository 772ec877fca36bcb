"""Count tokens like the OpenAI API, without the network.

The encoding of text-embedding-3-small is cl100k_base. tiktoken, which defines it, fetches its table from the network at
first use; toktok has the table compiled in and gives the same counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

ENCODING = "cl100k_base"
# A word with the space before it is roughly one unit of the encoding. A longer word is split, which at worst counts
# some tokens too many.
_UNIT = re.compile(r"\s{0,15}\S{1,48}|\s{1,16}")


class Cl100kTokens:
    """A :class:`~kbjobs.content.tokens.TokenCounter` for the models of the OpenAI API."""

    identity = ENCODING
    special = 0
    adds_up = False

    def count(self, texts: Sequence[str]) -> list[int]:
        """See :meth:`TokenCounter.count`. Text that looks like a special token counts as plain text."""
        import toktok

        counts: list[int] = toktok.batch_count(texts, ENCODING)
        return counts

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """See :meth:`TokenCounter.offsets`; a word's tokens are spread evenly over it."""
        spans = [found.span() for found in _UNIT.finditer(text)]
        offsets: list[tuple[int, int]] = []
        for (start, end), tokens in zip(spans, self.count([text[start:end] for start, end in spans]), strict=True):
            edges = [start + (end - start) * step // tokens for step in range(tokens + 1)]
            offsets.extend(pairwise(edges))
        return offsets

    def cut(self, text: str, tokens: int) -> str:
        """Return the longest beginning of a text with at most ``tokens`` tokens."""
        import toktok

        kept: str = toktok.truncate(text, tokens, ENCODING)[0]
        return kept
