"""The tags to choose from: the built-in ones, or those of a file, which is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import NotFoundError, UsageError
from kbjobs.tagging.preparedness import CATEGORIES, OTHER_FIELDS
from kbjobs.tagging.tag_names import clean_tag
from kbjobs.tagging.vocabulary import BUILT_IN, Vocabulary, load_vocabulary

BOATS = '[[category]]\ntag = "boats"\ndescription = "Building and sailing boats."\n'


def load(home: Home, text: str, name: str = "tags.toml") -> Vocabulary:
    (home.path / name).write_text(text)
    return load_vocabulary(home, Settings(home, {"KBJOBS_TAGS_VOCABULARY": name}))


def test_without_a_file_it_is_that_of_preparedness(home: Home) -> None:
    assert load_vocabulary(home, Settings(home, {})) is BUILT_IN
    assert len(BUILT_IN.categories) >= 12
    assert all(clean_tag(category.tag) == category.tag for category in CATEGORIES)


def test_a_file_takes_its_place(home: Home, tmp_path: Path) -> None:
    found = load(home, BOATS)
    assert [category.tag for category in found.categories] == ["boats"]
    assert found.other_fields == OTHER_FIELDS
    assert load(home, BOATS).version == found.version
    assert load(home, BOATS + "# other\n").version != found.version
    assert load(home, 'other_fields = ["cars: driving"]\n' + BOATS).other_fields == ("cars: driving",)
    path = tmp_path / "elsewhere.toml"
    path.write_text(BOATS)
    assert load_vocabulary(home, Settings(home, {"KBJOBS_TAGS_VOCABULARY": str(path)})) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has no category"),
        ("category = []", "it has no category"),
        ("category = 3", "it has no category"),
        ("[[category]\n", "not valid TOML"),
        ('[[category]]\ntag = "boats"\n', "category 1 is not a tag with a description"),
        (BOATS + "color = 1\n", "category 1 is not a tag with a description"),
        ("colour = 1\n" + BOATS, "'colour' means nothing in it"),
        (BOATS.replace('"boats"', '"<script>"'), "'<script>' cannot be a tag"),
        (BOATS.replace('"boats"', "7"), "7 cannot be a tag"),
        (BOATS.replace("Building and sailing boats.", ""), "its description is no text of 1 to 500 characters"),
        (BOATS + BOATS.replace("boats", "BOATS", 1), "category 'BOATS' stands in it twice"),
        ("other_fields = []\n" + BOATS, "other_fields is no list of texts"),
        ("".join(BOATS.replace("boats", f"boats {number}", 1) for number in range(201)), "200 are the most"),
        ("#" * 300_000, "more than 262,144 bytes"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_reason(home: Home, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(home, text)
    assert message in caught.value.message and "tags.toml" in caught.value.message
    assert "[[category]]" in caught.value.hint


def test_a_file_that_is_not_there_is_told(home: Home) -> None:
    for name in ("nowhere.toml", "\0", "."):
        with pytest.raises((NotFoundError, UsageError), match="tags_vocabulary"):
            load_vocabulary(home, Settings(home, {"KBJOBS_TAGS_VOCABULARY": name}))


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("water", "water"),
        ("  first \n aid ", "first aid"),
        ("C++", "C++"),
        ("e\u0301te\u0301", "été"),
        ("पानी", "पानी"),
        ("می\u200cشود", "می\u200cشود"),
        ("水", "水"),
        ("", ""),
        ("x", ""),
        ("1984", ""),
        ("a" * 41, ""),
        ("a b c d e f", ""),
        ("-rf", ""),
        ("a\x1b[31m", ""),
        ("a\u202etxt", ""),
        ("<b>bold</b>", ""),
        ("https://example.org", ""),
        ("a; rm", ""),
        ("za\u0300\u0301\u0302\u0303\u0304lgo", ""),
        ("\U0001f525\U0001f525", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_a_tag_is_a_short_printable_name(text: object, tag: str) -> None:
    assert clean_tag(text) == tag
