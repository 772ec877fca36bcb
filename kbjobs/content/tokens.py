"""Count the tokens of a text with any tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TokenCounter(Protocol):
    """What the chunker needs of a tokenizer."""

    identity: str
    """Names the tokenizer and its vocabulary: chunks cut with another one are different chunks."""

    special: int
    """Tokens that the model adds to every text."""

    adds_up: bool
    """Whether the tokens of words separated by white space add up to those of the whole text."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the exact number of tokens of each text, without special ones."""
        ...

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Return first and last character (exclusive) of roughly each token, in order, as places for cuts.

        A piece cut at them is counted again.
        """
        ...


class HuggingFaceTokens:
    """The tokenizer of a local model."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        from tokenizers import Tokenizer as Tokenizers
        from tokenizers.pre_tokenizers import BertPreTokenizer

        description = tokenizer.to_str()
        self.identity = hashlib.sha256(description.encode()).hexdigest()[:12]
        # our own copy: truncation and padding are state of the tokenizer, and the embedder sets them
        self._tokenizer = Tokenizers.from_str(description)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.special = int(self._tokenizer.num_special_tokens_to_add(False))
        # BERT's tokenizer works word by word; others may join across a space or a line break.
        self.adds_up = isinstance(self._tokenizer.pre_tokenizer, BertPreTokenizer)

    def count(self, texts: Sequence[str]) -> list[int]:
        """See :meth:`TokenCounter.count`."""
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [len(encoding) for encoding in encodings]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """See :meth:`TokenCounter.offsets`; exact."""
        found: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return found


def counter_of(tokenizer: Tokenizer | TokenCounter) -> TokenCounter:
    """Return an embedder's tokenizer as a counter, wrapping it if needed."""
    from tokenizers import Tokenizer as Tokenizers

    return HuggingFaceTokens(tokenizer) if isinstance(tokenizer, Tokenizers) else tokenizer
