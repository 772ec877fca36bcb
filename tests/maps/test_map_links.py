"""The strongest links are kept, each once, whichever way and in whichever order they come."""

from __future__ import annotations

import numpy as np

from kbjobs.maps.map_links import StrongestLinks

ROWS = np.array([[1, 0], [1, 0.1], [1, 1], [0, 1], [-1, 0]], np.float32)
NUMBERS = {name: row for row, name in enumerate("abcde")}


def test_both_ways_are_one_link_and_others_are_left_out() -> None:
    links = StrongestLinks(ROWS)
    links.take([("a", "c"), ("a", "b"), ("gone", "a"), ("a", "gone")], NUMBERS)
    links.take([("b", "a"), ("c", "a"), ("e", "d")], NUMBERS)
    assert links.found().tolist() == [[0, 1], [0, 2], [3, 4]]


def test_of_many_the_strongest_stay() -> None:
    pairs = [(a, b) for a in "abcde" for b in "abcde" if a != b]
    for order in (pairs, pairs[::-1]):
        links = StrongestLinks(ROWS, max_links=2)
        for pair in order:
            links.take([pair], NUMBERS)
        assert links.found().tolist() == [[0, 1], [1, 2]]


def test_no_links_and_no_documents() -> None:
    assert StrongestLinks(ROWS).found().shape == (0, 2)
    assert StrongestLinks(np.empty((0, 2), np.float32)).found().shape == (0, 2)
