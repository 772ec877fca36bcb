"""Label clusters with the words that stand out in the titles and snippets of their documents.

A word on most pages of a source, such as the site's name at the end of each title, never labels a cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kbjobs.content.terms import ENOUGH_DOCUMENTS, MAX_SHARE, class_weight, forms_of, split_words
from kbjobs.content.unspaced import grow, is_pair

WORDS = 3  # of a label
FEWEST_SHARE = 0.01  # of a cluster's documents that must have a word: a rarer word names a single thing
FEWEST_PART_SHARE = 0.08  # the same for a part, which has fewer documents
LIFT = 1.5  # how many times more frequent a word must be in a part than in its cluster


@dataclass(frozen=True, slots=True)
class TextSample:
    """A document whose words are counted: its source's number, its title and snippet in lower case, its words."""

    source: int
    text: str
    words: tuple[str, ...]


def read_sample(source: int, text: str) -> TextSample:
    """Split the title and snippet of a source's document into words."""
    lowered = text.lower()
    return TextSample(source, lowered, tuple(split_words(lowered)))


def drop_common_words(samples: Sequence[TextSample], clusters: Sequence[int]) -> list[TextSample]:
    """Remove the words that are common in a sample's source.

    A word is common if more than half of a source's documents have it, also on average over the source's clusters: a
    word of only one large cluster still names that cluster.

    Args:
        samples: documents of all clusters.
        clusters: the cluster number of each.
    """
    common = {
        source: _find_common(
            [(one, cluster) for one, cluster in zip(samples, clusters, strict=True) if one.source == source]
        )
        for source in {one.source for one in samples}
    }
    return [
        TextSample(one.source, one.text, tuple(word for word in one.words if word not in common[one.source]))
        for one in samples
    ]


def _find_common(members: Sequence[tuple[TextSample, int]]) -> set[str]:
    if len(members) < ENOUGH_DOCUMENTS:
        return set()
    sizes = Counter(cluster for _, cluster in members)
    documents = Counter(word for sample, _ in members for word in set(sample.words))
    most = {word for word, number in documents.items() if number > MAX_SHARE * len(members)}
    shares = dict.fromkeys(most, 0.0)
    for sample, cluster in members:
        for word in most.intersection(sample.words):
            shares[word] += 1 / sizes[cluster]
    return {word for word, share in shares.items() if share > MAX_SHARE * len(sizes)}


def label_clusters(samples: Sequence[TextSample], clusters: Sequence[int], count: int) -> list[str]:
    """Label each cluster with its words of greatest weight; "" if no word is fit to name it.

    Args:
        samples: documents of all clusters.
        clusters: the cluster number of each.
        count: the number of clusters.
    """
    return _label(_gather(samples, clusters, count), lambda cluster, word: FEWEST_SHARE)


def label_parts(samples: Sequence[TextSample], parts: Sequence[int], owners: Sequence[int]) -> list[str]:
    """Label each part of a cluster with the words that set it apart within the cluster; "" if there are none.

    Args:
        samples: documents of all parts.
        parts: the part number of each.
        owners: the cluster number of each part.
    """
    of_clusters = _gather(samples, [owners[part] for part in parts], max(owners, default=-1) + 1)

    def fewest_share(part: int, word: str) -> float:
        whole = of_clusters[owners[part]]
        return max(FEWEST_PART_SHARE, LIFT * whole.documents[word] / len(whole.texts))

    return _label(_gather(samples, parts, len(owners)), fewest_share)


@dataclass(slots=True)
class _Group:
    """The texts of a cluster, how often each word occurs in them, and in how many texts."""

    texts: list[str]
    words: Counter[str]
    documents: Counter[str]


def _gather(samples: Sequence[TextSample], numbers: Sequence[int], count: int) -> list[_Group]:
    groups = [_Group([], Counter(), Counter()) for _ in range(count)]
    for sample, number in zip(samples, numbers, strict=True):
        groups[number].texts.append(sample.text)
        groups[number].words.update(sample.words)
        groups[number].documents.update(set(sample.words))
    return groups


def _label(groups: Sequence[_Group], fewest_share: Callable[[int, str], float]) -> list[str]:
    frequency = sum((group.words for group in groups), Counter[str]())
    average = frequency.total() / max(1, len(groups))
    labels = []
    for number, group in enumerate(groups):
        size, total = len(group.texts), max(1, group.words.total())
        weights = {
            word: class_weight(found, total, average, frequency[word])
            for word, found in group.words.items()
            if group.documents[word] >= max(2 if size > 2 else 1, fewest_share(number, word) * size)
        }
        labels.append(", ".join(_choose(weights, group.texts)))
    return labels


def _choose(weights: dict[str, float], texts: list[str]) -> list[str]:
    """Choose the words of greatest weight, none of them a form or a part of another."""
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
