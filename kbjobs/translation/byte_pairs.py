"""Cutting words into the pieces of a ``bpe.model``: byte pair encoding as in subword-nmt.

Each line of the file is a pair to join, most frequent first. A word ends with ``</w>``, and a piece that is not the
last of its word with ``@@`` (https://github.com/rsennrich/subword-nmt).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from kbjobs.translation.moses_words import join_words, split_words

MAX_PAIRS = 500_000
MAX_WORD = 200
"""Longest word that is cut into pieces; in a longer one, each letter is a piece."""
_END, _GOES_ON = "</w>", "@@"


class BytePairs:
    """The tokenizer of packs with a ``bpe.model``. Raises ValueError for an invalid file, and OSError."""

    def __init__(self, file: Path, source: str, target: str) -> None:
        self._source, self._target = source, target
        self._ranks: dict[tuple[str, str], int] = {}
        with file.open(encoding="utf-8", newline="\n") as lines:
            first = lines.readline()
            # Before version 0.2, the end of a word was a separate piece.
            self._is_old = not first.startswith("#version: 0.2")
            for number, line in enumerate(lines if first.startswith("#version") else [first, *lines]):
                pair = line.rstrip("\r\n ").split(" ")
                if len(pair) != 2 or number >= MAX_PAIRS:
                    raise ValueError(f"{file.name} has no pair in line {number + 1}")
                self._ranks.setdefault((pair[0], pair[1]), number)
        self._pieces = lru_cache(maxsize=50_000)(self._cut)

    def encode(self, sentence: str) -> list[str]:
        """Cut a sentence into tokens."""
        return [piece for word in split_words(sentence, self._source) for piece in self._pieces(word)]

    def decode(self, tokens: list[str]) -> str:
        """Join tokens into a sentence."""
        return join_words(" ".join(tokens).replace(f"{_GOES_ON} ", "").split(), self._target)

    def _cut(self, word: str) -> tuple[str, ...]:
        pieces = [*word, _END] if self._is_old else [*word[:-1], word[-1] + _END]
        while 1 < len(pieces) <= MAX_WORD:
            pairs = set(pairwise(pieces))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, MAX_PAIRS))
            if best not in self._ranks:
                break
            pieces = _join(pieces, best)
        if pieces[-1] == _END:
            pieces.pop()
        else:
            pieces[-1] = pieces[-1].removesuffix(_END)
        return (*(piece + _GOES_ON for piece in pieces[:-1]), pieces[-1])


def _join(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    left = iter(range(len(pieces)))
    for number in left:
        if tuple(pieces[number : number + 2]) == pair:
            joined.append("".join(pair))
            next(left)
        else:
            joined.append(pieces[number])
    return joined
