"""One pack, loaded: real models of CTranslate2 and SentencePiece, tiny and exact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.languages.language_packs import DamagedLanguagePackError, find_pack
from kbjobs.translation.engine import MAX_TOKENS, Translator
from tests.languages.packs import put_hollow, put_pack
from tests.servers.language_packs import shout


def test_sentences_are_translated_in_order(home: Home) -> None:
    translator = Translator(put_pack(home, "en", "es"))
    sentences = ["Boil the water.", "", "señor", "水是热的。", "नमस्ते", "a" * 100, "b"]
    assert translator.translate(sentences) == [shout(sentence) for sentence in sentences]
    assert translator.translate([]) == []


def test_the_prefix_of_a_pack_is_given_and_taken_off(home: Home) -> None:
    """Without it, this model writes all one place off."""
    translator = Translator(put_pack(home, "en", "pt", prefix=">>por<<"))
    assert translator.translate(["boil the water", "hello"]) == ["BOIL THE WATER", "HELLO"]


@pytest.mark.slow
@pytest.mark.parametrize("mark", [", ", "; ", " ", ""])
def test_a_sentence_that_is_too_long_is_translated_in_parts(home: Home, mark: str) -> None:
    sentence = mark.join(["water"] * (3 * MAX_TOKENS // 7))
    translated = Translator(put_pack(home, "en", "es")).translate([sentence])
    assert translated == [shout(sentence)]


def test_a_character_that_the_model_does_not_know_is_kept(home: Home) -> None:
    assert Translator(put_pack(home, "en", "es")).translate(["warm ☃ snow"]) == ["WARM ☃ SNOW"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


@pytest.mark.parametrize("harm", [cut, scramble, lambda path: path.write_bytes(b""), Path.unlink])
@pytest.mark.parametrize("name", ["model/model.bin", "model/shared_vocabulary.json", "sentencepiece.model"])
def test_a_damaged_pack_is_told(home: Home, name: str, harm: Callable[[Path], object]) -> None:
    pack = put_pack(home, "en", "es")
    harm(pack.path / name)
    with pytest.raises(DamagedLanguagePackError, match="English to Spanish") as caught:
        Translator(find_pack(home, pack.pair) or pack).translate(["water"])
    assert caught.value.hint.endswith("kbjobs run language-download es --from en --force")


def test_a_pack_without_a_model_is_told(home: Home) -> None:
    with pytest.raises(DamagedLanguagePackError, match="cannot be used"):
        Translator(put_hollow(home, "en", "es"))


def test_a_pack_of_byte_pairs(home: Home) -> None:
    """Single letters again, but cut by words: each piece of a word but its last goes on with @@."""
    pack = put_pack(home, "en", "es")
    (pack.path / "sentencepiece.model").unlink()
    (pack.path / "bpe.model").write_text("#version: 0.2\n")
    # The model knows no "b@@": what is unknown to it is taken from the source.
    assert Translator(pack).translate(["i am a bee."]) == ["I aM A beE."]
