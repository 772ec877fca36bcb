"""What a cluster is called: the words that stand out in the titles and snippets of its documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kbjobs.content.terms import class_weight, forms_of, split_words
from kbjobs.content.unspaced import grow, is_pair

WORDS = 3  # of a label
READ = 2_000  # documents of a cluster whose words are counted
FEWEST_SHARE = 0.01  # of them that must have a word: a rare one is the name of a single thing


def label_clusters(documents: Iterable[tuple[int, str]], count: int) -> list[str]:
    """A label for each of ``count`` clusters, from pairs of a cluster's number and a document's words."""
    texts: list[list[str]] = [[] for _ in range(count)]
    for cluster, text in documents:
        if len(texts[cluster]) < READ:
            texts[cluster].append(text.lower())
    words = [Counter[str]() for _ in range(count)]
    in_documents = [Counter[str]() for _ in range(count)]
    for cluster, found in enumerate(texts):
        for text in found:
            terms = split_words(text)
            words[cluster].update(terms)
            in_documents[cluster].update(set(terms))
    frequency = sum(words, Counter[str]())
    average = frequency.total() / max(1, count)
    labels = []
    for cluster in range(count):
        fewest = max(2 if len(texts[cluster]) > 2 else 1, FEWEST_SHARE * len(texts[cluster]))
        total = max(1, words[cluster].total())
        weights = {
            word: class_weight(number, total, average, frequency[word])
            for word, number in words[cluster].items()
            if in_documents[cluster][word] >= fewest
        }
        labels.append(", ".join(_choose(weights, texts[cluster])) or f"cluster {cluster + 1}")
    return labels


def _choose(weights: dict[str, float], texts: list[str]) -> list[str]:
    """The words of greatest weight, none of them a form or a part of another."""
    chosen: list[str] = []
    for word in sorted(weights, key=lambda word: (-weights[word], word)):
        if len(chosen) == WORDS:
            break
        if is_pair(word):
            if not any(word in other for other in chosen):
                chosen.append(grow(word, texts))
        elif not any(forms_of(word) & forms_of(other) for other in chosen):
            chosen.append(word)
    return chosen
