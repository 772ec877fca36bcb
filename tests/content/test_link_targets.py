"""All the ways to write a page's address lead to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.content.link_targets import address_key, addresses_of
from kbjobs.content.source_files import FoundFile


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://e.org/a/", "https://E.org/a/index.html"),
        ("http://e.org/a.html", "https://e.org/a.html#part"),
        ("https://e.org", "https://e.org/"),
        ("file:///p/a%20b%20%28c%29.html", "file:///p/a%20b%20(c).html"),
        ("https://e.org/%C3%A9.html", "https://e.org/é.html"),
    ],
)
def test_equal(one: str, other: str) -> None:
    assert address_key(one) == address_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://e.org/a.html", "https://e.org/A.html"),
        ("https://e.org/a?x=1", "https://e.org/a?x=2"),
        ("https://e.org/a", "https://f.org/a"),
        ("file:///a", "https:///a"),
        ("https://e.org/a/", "https://e.org/a"),
    ],
)
def test_different(one: str, other: str) -> None:
    assert address_key(one) != address_key(other)


def test_what_is_no_address_is_itself() -> None:
    assert address_key("http://[broken") == "http://[broken"


def test_a_file_is_known_by_its_path_and_below_the_base() -> None:
    found = FoundFile(Path("/p/pages/a b.html"), "pages/a b.html", "a b.html", 1, 0, "")
    assert addresses_of(found, "") == ["file:///p/pages/a%20b.html"]
    assert addresses_of(found, "https://e.org/x/")[0] == "https://e.org/x/a%20b.html"
