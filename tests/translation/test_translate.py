"""A text in another language: through which packs, and what of it stays as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import MissingRequirementError, UsageError
from kbjobs.translation.translate import AT_ONCE, TextTranslator, find_route
from tests.languages.packs import put_hollow, put_pack


def names(home: Home, source: str, target: str) -> list[str]:
    return [pack.pair.name for pack in find_route(home, source, target)]


def test_the_straight_way_is_taken_where_there_is_one(home: Home) -> None:
    for source, target in (("es", "en"), ("en", "fr")):
        put_hollow(home, source, target)
    assert names(home, "en", "fr") == ["en_fr"]
    assert names(home, "es", "fr") == ["es_en", "en_fr"]
    put_hollow(home, "es", "fr")
    assert names(home, "es", "fr") == ["es_fr"]


@pytest.mark.parametrize(
    ("here", "source", "target", "command"),
    [
        ([], "en", "es", "language-download es --from en"),
        ([], "es", "en", "language-download en --from es"),
        ([], "es", "fr", "language-download fr --from es"),
        ([("es", "en")], "es", "fr", "language-download fr --from en"),
        ([("en", "fr")], "es", "fr", "language-download en --from es"),
        ([("en", "es")], "es", "en", "language-download en --from es"),
    ],
)
def test_a_missing_pack_is_told_with_its_command(
    home: Home, here: list[tuple[str, str]], source: str, target: str, command: str
) -> None:
    for one, other in here:
        put_hollow(home, one, other)
    with pytest.raises(MissingRequirementError) as caught:
        find_route(home, source, target)
    assert caught.value.hint == f"kbjobs run {command}"


def test_a_language_is_not_translated_to_itself(home: Home) -> None:
    with pytest.raises(UsageError):
        find_route(home, "es", "es")


@pytest.fixture
def spanish(home: Home) -> TextTranslator:
    return TextTranslator([put_pack(home, "en", "es")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("boil it. drink it.", "BOIL IT. DRINK IT."),
        ("  boil it.\n\n\tdrink it. \n", "  BOIL IT.\n\n\tDRINK IT. \n"),
        ("one\r\ntwo\r\n\r\nthree", "ONE\r\nTWO\r\n\r\nTHREE"),
        ('<p class="x">boil <b>it</b></p>', '<p class="x">BOIL <b>IT</b></p>'),
        ("run `kbjobs run` at {place}: https://a.b/c", "RUN `kbjobs run` AT {place}: https://a.b/c"),
        ("text\n```sh\nboil it\n\nboil it\n```\ntext", "TEXT\n```sh\nboil it\n\nboil it\n```\nTEXT"),
        ("# one\n- two [it](x.html)\n", "# ONE\n- TWO [IT](x.html)\n"),
        ("caf&eacute; &lt; t&amp;c", "CAFÉ &lt; T&amp;C"),
        ("水是热的。火山！boil", "水是热的。火山！BOIL"),
        ("नमस्ते पानी। boil it", "नमस्ते पानी। BOIL IT"),
        ("12 – 34", "12 – 34"),
        ("", ""),
        ("\n\n", "\n\n"),
        ("\ufeffboil", "\ufeffBOIL"),
    ],
)
def test_what_stays_as_it_is(spanish: TextTranslator, text: str, expected: str) -> None:
    assert "".join(spanish.translate([text])) == expected
    assert "".join(spanish.translate(iter(text))) == expected  # however it comes


def test_two_steps_through_english(home: Home) -> None:
    """To English this model writes small letters, to any other language capital ones."""
    packs = [put_pack(home, "es", "en"), put_pack(home, "en", "fr")]
    assert "".join(TextTranslator(packs[:1]).translate(["HERVIR `EL` agua"])) == "hervir `EL` agua"
    assert "".join(TextTranslator(packs).translate(["hervir `el` agua"])) == "HERVIR `el` AGUA"


def test_a_long_text_is_written_before_it_is_read_to_its_end(spanish: TextTranslator) -> None:
    read = 0

    def pieces() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"line {read % 7}.\n\n"

    translated = spanish.translate(pieces())
    for _ in range(3):
        assert "LINE " in next(translated)
    assert read <= 3 * AT_ONCE + 10


def test_what_is_kept_is_not_gathered_without_end(spanish: TextTranslator) -> None:
    read = 0

    def pieces() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "12 13 14\n\n"

    next(spanish.translate(pieces()))
    assert read < 50 * AT_ONCE
