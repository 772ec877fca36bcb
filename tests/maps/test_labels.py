"""A cluster is called by what stands out in it."""

from __future__ import annotations

from kbjobs.maps.labels import label_clusters


def test_the_words_that_tell_clusters_apart() -> None:
    water = [(0, f"Boiling water for safety {number}: a kettle and fuel") for number in range(30)]
    radio = [(1, f"Radio antenna for safety {number}: batteries and water") for number in range(20)]
    first, second = label_clusters([*water, *radio], 2)
    assert {"boiling", "kettle", "fuel"} == set(first.split(", "))
    assert {"radio", "antenna", "batteries"} == set(second.split(", "))


def test_a_word_and_its_plural_are_one() -> None:
    texts = [(0, "shelter shelters roof"), (0, "shelters shelter roof"), (1, "bread oven"), (1, "bread oven")]
    assert "shelter" in label_clusters(texts, 2)[0] and "shelters" not in label_clusters(texts, 2)[0].split(", ")[1:]


def test_a_cluster_without_words_has_a_number() -> None:
    assert label_clusters([(0, "water water"), (1, "!!!"), (1, "")], 2) == ["water", "cluster 2"]


def test_scripts_without_spaces_have_labels() -> None:
    words = ("日本語の地図", "water kettle")
    texts = [(cluster, f"{text} {number}") for number in range(6) for cluster, text in enumerate(words)]
    assert label_clusters(texts, 2)[0] != "cluster 1"
