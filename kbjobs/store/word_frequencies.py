"""The words of a published index: how many passages each is in, and which of them resembles a word that is in none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

MIN_LETTERS = 5  # of a word that is taken for a misspelt one; shorter ones resemble too many others
MAX_DIFFERENCE = 2  # letters that a misspelt word has more or fewer
LETTERS_OF_SLIP = 4  # a word has at most one wrong, missing, additional or swapped letter for each four
MIN_LIKENESS = 0.3  # share of the three-letter parts that both have; "Einstien" and "Einstein" have 0.38


class WordFrequencies:
    """The words of an FTS5 table named ``words``, in a file that never changes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._frequencies: dict[str, int] = {}  # a cache
        self._count = -1
        connection.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, words, row)")

    @property
    def count(self) -> int:
        """The number of passages."""
        if self._count < 0:
            self._count = self._connection.execute("SELECT count(*) FROM passages").fetchone()[0]
        return self._count

    def frequency(self, word: str) -> int:
        """How many passages have the folded word."""
        known = self._frequencies.get(word)
        if known is None:
            found = self._connection.execute("SELECT doc FROM temp.terms WHERE term = ?", (word,)).fetchone()
            known = self._frequencies[word] = found[0] if found is not None else 0
        return known

    def resembling(self, words: Iterable[str]) -> tuple[str, float] | None:
        """Find the word that resembles one of the given ones most, and how much; None if none resembles any.

        It begins with the same letter: few people mistype the first, and the others need not be looked at.

        A word with a digit resembles none: E1048 is not a misspelt E1047.
        """
        best: tuple[float, int, str] = (0.0, 0, "")
        for word in words:
            if len(word) < MIN_LETTERS or not word.isalpha():
                continue
            parts = _parts(word)
            rows = self._connection.execute(
                "SELECT term, doc FROM temp.terms WHERE term >= ? AND term < ? AND length(term) BETWEEN ? AND ?",
                (word[0], chr(ord(word[0]) + 1), len(word) - MAX_DIFFERENCE, len(word) + MAX_DIFFERENCE),
            )
            for term, frequency in rows:
                found = _parts(term)
                likeness = len(parts & found) / len(parts | found)
                if (
                    likeness >= MIN_LIKENESS
                    and term.isalpha()
                    and _count_slips(word, term) <= len(word) // LETTERS_OF_SLIP
                ):
                    best = max(best, (likeness, frequency, term))
        return (best[2], best[0]) if best[2] else None


def _count_slips(word: str, term: str) -> int:
    """How many letters were mistyped, left out, added, or swapped with the next (Damerau, 1964)."""
    rows = [list(range(len(term) + 1))]
    for i, letter in enumerate(word, start=1):
        row = [i]
        for j, other in enumerate(term, start=1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == term[j - 2] and word[i - 2] == other:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


def _parts(word: str) -> set[str]:
    """The overlapping parts of three letters, with two blanks before the word and one after it."""
    padded = f"  {word} "
    return {padded[start : start + 3] for start in range(len(padded) - 2)}
