"""A cluster is called by what stands out in it."""

from __future__ import annotations

from kbjobs.maps.labels import drop_common_words, label_clusters, label_parts, read_sample


def label(texts: list[tuple[int, str]], count: int, sources: list[int] | None = None) -> list[str]:
    """The labels of clusters of texts, which are of one source if nothing else is said."""
    clusters = [cluster for cluster, _ in texts]
    samples = [read_sample(source, text) for source, (_, text) in zip(sources or [0] * len(texts), texts, strict=True)]
    return label_clusters(drop_common_words(samples, clusters), clusters, count)


def test_the_words_that_tell_clusters_apart() -> None:
    water = [(0, f"Boiling water for safety {number}: a kettle and fuel") for number in range(30)]
    radio = [(1, f"Radio antenna for safety {number}: batteries and water") for number in range(20)]
    first, second = label([*water, *radio], 2)
    assert {"boiling", "kettle", "fuel"} == set(first.split(", "))
    assert {"radio", "antenna", "batteries"} == set(second.split(", "))


def test_a_word_and_its_plural_are_one() -> None:
    texts = [(0, "shelter shelters roof"), (0, "shelters shelter roof"), (1, "bread oven"), (1, "bread oven")]
    assert "shelter" in label(texts, 2)[0] and "shelters" not in label(texts, 2)[0].split(", ")[1:]


def test_a_cluster_without_words_has_no_label() -> None:
    assert label([(0, "water water"), (1, "!!!"), (1, "")], 2) == ["water", ""]


def test_scripts_without_spaces_have_labels() -> None:
    words = ("日本語の地図", "water kettle")
    texts = [(cluster, f"{text} {number}") for number in range(6) for cluster, text in enumerate(words)]
    assert label(texts, 2)[0] != ""


def test_words_common_to_most_pages_of_a_source_are_no_name() -> None:
    subjects = ("boiling kettle", "radio antenna", "bread oven")
    # Three of four pages of the first source end with its name, all of the second: it lies in one cluster.
    texts = [
        (number % 3, f"{subjects[number % 3]} {'' if number % 4 == 0 else 'Homestead Wiki'}") for number in range(60)
    ]
    texts += [(3, f"Guidebook wound dressing {'' if number % 3 else 'gauze'}") for number in range(20)]
    labels = label(texts, 4, [0] * 60 + [1] * 20)
    named = {word for one in labels for word in one.split(", ")}
    assert not named & {"homestead", "wiki", "guidebook"}
    assert named >= {"boiling", "kettle", "radio", "antenna", "bread", "oven", "gauze"}


def test_a_word_of_one_large_cluster_names_it_though_most_pages_have_it() -> None:
    texts = [(0, "water kettle")] * 80 + [(1, "radio antenna")] * 20
    assert set(label(texts, 2)[0].split(", ")) == {"water", "kettle"}


def test_parts_are_told_from_the_rest_of_their_cluster() -> None:
    texts = ["water kettle lid"] * 10 + ["water filter sand"] * 10 + ["radio kettle"] * 10
    samples = [read_sample(0, text) for text in texts]
    parts = [number // 10 for number in range(30)]
    labels = label_parts(samples, parts, [0, 0, 1])
    assert [set(label.split(", ")) for label in labels] == [{"kettle", "lid"}, {"filter", "sand"}, {""}]
