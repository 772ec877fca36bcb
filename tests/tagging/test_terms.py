"""Class-based TF-IDF on small texts whose answer is known."""

from __future__ import annotations

import math

from kbjobs.tagging.terms import key_terms, split_words

NOTHING: frozenset[str] = frozenset()


def test_words() -> None:
    assert split_words("The KETTLE, can't boil_over 12 3D x9 ab naïve Вада! \x1b[31m\u202e") == [
        "kettle", "boil", "naïve", "вада",
    ]  # fmt: skip
    assert split_words("a" * 31 + " " + "a" * 30) == ["a" * 30]


def test_the_weights_are_those_of_the_formula() -> None:
    documents = [("1", "x", "kettle kettle stove"), ("2", "y", "garden stove")]
    terms = {term.word: term for term in key_terms(documents, 10, NOTHING, 3)}
    average = 5 / 2
    assert math.isclose(terms["kettle"].score, 2 / 3 * math.log(1 + average / 2) * math.sqrt(1 / 2))
    assert math.isclose(terms["garden"].score, 1 / 2 * math.log(1 + average / 1) * math.sqrt(1 / 2))
    assert terms["kettle"].evidence == (("1", 2 / 3),)
    assert [one[0] for one in terms["stove"].evidence] == ["2", "1"]


def test_what_tells_classes_apart_comes_first_in_any_language() -> None:
    spanish = ["el agua hierve en la olla para que se pueda beber", "para que el huerto dé tomates se riega el suelo"]
    documents = [
        (f"{group}{n}", str(group), f"{text} {text} {n}") for group, text in enumerate(spanish) for n in range(8)
    ]
    found = [term.word for term in key_terms(documents, 6, NOTHING, 1)]
    assert {"agua", "olla", "huerto", "suelo"} & set(found)
    assert not {"para", "que"} & set(found)


def test_plurals_and_chosen_tags_are_not_repeated() -> None:
    documents = [("1", "x", "battery batteries battery filters filter water waters boxes box")]
    found = [term.word for term in key_terms(documents, 10, frozenset({"water"}), 1)]
    pairs = ({"battery", "batteries"}, {"filter", "filters"}, {"box", "boxes"})
    assert [len(pair & set(found)) for pair in pairs] == [1, 1, 1]
    assert not {"water", "waters"} & set(found)


def test_a_word_of_one_document_of_many_is_no_term() -> None:
    documents = [(str(n), "x", f"common{n % 3} only{n} everywhere") for n in range(12)]
    found = {term.word for term in key_terms(documents, 50, NOTHING, 2)}
    assert found == {"common0", "common1", "common2"}


def test_nothing_gives_nothing() -> None:
    assert key_terms([], 5, NOTHING, 3) == []
    assert key_terms([("1", "x", "the and 12 …")], 5, NOTHING, 3) == []
