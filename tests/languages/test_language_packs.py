"""The packs of a home: found by their directions, and what is damaged is named."""

from __future__ import annotations

import pytest

from kbjobs.config.home import Home
from kbjobs.languages.language_packs import DamagedLanguagePackError, Pair, find_pack, is_code, list_packs
from tests.languages.packs import put_hollow


def test_none_is_here(home: Home) -> None:
    assert list_packs(home) == []
    assert find_pack(home, Pair("en", "es")) is None


def test_packs_are_listed_by_their_languages(home: Home) -> None:
    for source, target in (("es", "en"), ("en", "zt"), ("en", "es")):
        put_hollow(home, source, target)
    assert [pack.pair.name for pack in list_packs(home)] == ["en_es", "en_zt", "es_en"]
    described = list_packs(home)[1].as_dict()
    assert (described["from"], described["to"], described["to_name"]) == ("en", "zt", "Chinese (traditional)")
    assert (described["version"], described["sha256"], described["licence"]) == ("1.0", "ab" * 32, "CC0")


def test_other_folders_are_no_packs(home: Home) -> None:
    for name in ("en_es", "en_es.0", "en_es.x", ".installing-en_es", "EN_ES.1", "seen", "en_es.1.part"):
        (home.languages / name).mkdir(parents=True)
    assert list_packs(home) == []


@pytest.mark.parametrize("lost", ["pack.json", "model/model.bin", "sentencepiece.model"])
def test_a_pack_that_lost_a_file_is_damaged(home: Home, lost: str) -> None:
    pack = put_hollow(home, "en", "es")
    put_hollow(home, "en", "fr")
    (pack.path / lost).unlink()
    with pytest.raises(DamagedLanguagePackError) as caught:
        find_pack(home, pack.pair)
    assert caught.value.hint.endswith("kbjobs run language-download es --from en --force")
    damaged: list[DamagedLanguagePackError] = []
    assert [one.pair.name for one in list_packs(home, damaged)] == ["en_fr"]
    assert len(damaged) == 1


def test_a_pack_whose_files_were_cut_is_damaged(home: Home) -> None:
    pack = put_hollow(home, "en", "es")
    (pack.path / "sentencepiece.model").write_bytes(b"no")
    with pytest.raises(DamagedLanguagePackError, match="were changed"):
        find_pack(home, pack.pair)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"version": 1}', "[" * 100_000, "\0"])
def test_a_record_that_is_none_is_damage(home: Home, content: str) -> None:
    pack = put_hollow(home, "en", "es")
    (pack.path / "pack.json").write_text(content)
    with pytest.raises(DamagedLanguagePackError, match="no record"):
        find_pack(home, pack.pair)


@pytest.mark.parametrize("value", ["es", "zt", "ceb", "zh-hant", "pt-br"])
def test_a_code_may_be_part_of_a_name(value: str) -> None:
    assert is_code(value)


@pytest.mark.parametrize("value", ["", "e", "ES", "../x", "es/en", "es_en", "es.", "es\n", "english", None, 5, ["es"]])
def test_anything_else_may_not(value: object) -> None:
    assert not is_code(value)
