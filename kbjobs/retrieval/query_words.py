"""The words of a query: its quoted phrases, its misspelt words, and how rare they are in a source."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from kbjobs.content.search_words import fold_query, fold_words, is_unspaced, split_words
from kbjobs.retrieval.fusion import LONG_QUERY, WordStatistics
from kbjobs.store.word_frequencies import WordFrequencies

MAX_WORDS = 200  # different words of a query that are searched
MAX_MISSPELT = 3  # of a query; more unknown words are those of another language
MANY_PASSAGES = 1_000  # in a smaller source, a word in one passage alone is not rare
RARE_CODE = 100  # a code is in at most one of so many passages
_PHRASE = re.compile(r'"([^"]*)"')

Forms = list[tuple[str, ...]]  # for each word of a query


@dataclass(frozen=True, slots=True)
class SourceWords:
    """What the words of a query are compared with: a source's words, and the languages whose stems they have."""

    frequencies: WordFrequencies
    languages: tuple[str, ...]


def fold(words: str, languages: Iterable[str]) -> Forms:
    """Return the forms of each different word of a query, of the first MAX_WORDS."""
    return fold_query(words, languages)[:MAX_WORDS]


def match_phrases(words: str, languages: Sequence[str]) -> str | None:
    """Write the FTS5 expression that passages with all quoted phrases of a query match; None if it has none.

    The quotes of a longer text, such as one that was copied, are its own.
    """
    if len(split_words(words)) > LONG_QUERY:
        return None
    found = []
    for phrase in _PHRASE.findall(words):
        folded = dict.fromkeys(" ".join(fold_words(phrase, language)) for language in (None, *languages))
        if variants := [f'"{one}"' for one in folded if one]:
            found.append(f"({' OR '.join(variants)})")
    return " AND ".join(found) or None


def correct(words: str, sources: Sequence[SourceWords]) -> tuple[str, dict[str, str]]:
    """Replace words that no source has by the words of the sources that resemble them most.

    Args:
        words: the query.
        sources: the sources to search.

    Returns:
        The query with the replacements, and the replacements by the words as they were written.
    """
    spans = [span for span in split_words(words) if not is_unspaced(words[slice(*span)])]
    unknown = {word for span in spans if not _is_known(word := words[slice(*span)], sources)}
    if len({word.casefold() for word in unknown}) > MAX_MISSPELT:
        return words, {}
    replaced = {word: best for word in unknown if (best := _resembling(word, sources))}
    for start, end in reversed(spans):
        words = words[:start] + replaced.get(words[start:end], words[start:end]) + words[end:]
    return words, replaced


def count_words(forms: Forms, frequencies: WordFrequencies) -> WordStatistics:
    """Tell how the words of a query occur in a source."""
    total = frequencies.count
    counts = [max(map(frequencies.frequency, group), default=0) for group in forms]
    selective = [count for count in counts if 0 < 2 * count <= total]
    scale = math.log(max(total, MANY_PASSAGES))
    return WordStatistics(
        len(forms),
        sum(count > 0 for count in counts),
        fmean(math.log(total / count) / scale for count in selective) if selective else 0.0,
        any(
            0 < count <= max(1, total / RARE_CODE) and any(map(str.isdigit, group[0]))
            for group, count in zip(forms, counts, strict=True)
        ),
    )


def _forms_of(word: str, source: SourceWords) -> list[str]:
    return [form for group in fold(word, source.languages) for form in group]


def _is_known(word: str, sources: Sequence[SourceWords]) -> bool:
    return any(one.frequencies.frequency(form) for one in sources for form in _forms_of(word, one))


def _resembling(word: str, sources: Sequence[SourceWords]) -> str | None:
    found = [best for one in sources if (best := one.frequencies.resembling(_forms_of(word, one)))]
    return max(found, key=lambda best: best[1])[0] if found else None
