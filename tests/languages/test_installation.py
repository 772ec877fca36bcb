"""Packs are put into their place in one step, removed, and the hashes of their versions stay."""

from __future__ import annotations

import shutil
import stat
import threading

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ConflictError, NotFoundError, UsageError
from kbjobs.languages.installation import begin_folder, first_seen, locked, note_seen, remove_older, remove_packs
from kbjobs.languages.language_packs import DamagedLanguagePackError, Pair, find_pack, list_folders, list_packs
from tests.languages.packs import put_hollow

PAIR = Pair("en", "es")


def test_a_new_pack_takes_the_place_of_the_old_one(home: Home) -> None:
    put_hollow(home, "en", "es", "1.0")
    new = put_hollow(home, "en", "es", "1.1")
    assert [path for _, _, path in list_folders(home)] == [new.path]
    assert new.record.version == "1.1" and new.path.name == "en_es.2"
    assert stat.S_IMODE(home.languages.stat().st_mode) == stat.S_IMODE(new.path.stat().st_mode) == 0o700


def test_between_the_two_the_newer_counts(home: Home) -> None:
    old = put_hollow(home, "en", "es", "1.0")
    for number in (2, 10):
        shutil.copytree(old.path, old.path.with_name(f"en_es.{number}"))
    found = find_pack(home, PAIR)
    assert found is not None and found.path.name == "en_es.10"
    remove_older(home, PAIR)
    assert [path.name for _, _, path in list_folders(home)] == ["en_es.10"]


def test_what_a_kill_left_of_building_is_removed(home: Home) -> None:
    (begin_folder(home, PAIR) / "half").write_text("half")
    assert not list(begin_folder(home, PAIR).iterdir())
    remove_older(home, PAIR)
    assert not (home.languages / ".installing-en_es").exists()


def test_hashes_of_versions_stay(home: Home) -> None:
    assert first_seen(home, PAIR, "1.0") is None
    put_hollow(home, "en", "es", "1.0", "aa" * 32)
    note_seen(home, PAIR, "1.1", "bb" * 32)
    remove_packs(home, "es")
    assert first_seen(home, PAIR, "1.0") == "aa" * 32
    assert first_seen(home, PAIR, "1.1") == "bb" * 32
    assert first_seen(home, Pair("es", "en"), "1.0") is None


@pytest.mark.parametrize("content", ["{", "[]", "7"])
def test_hashes_that_cannot_be_read_are_not_passed_over(home: Home, content: str) -> None:
    note_seen(home, PAIR, "1.0", "aa" * 32)
    (home.languages / "seen" / "en_es.json").write_text(content)
    with pytest.raises(DamagedLanguagePackError, match=r"en_es\.json"):
        first_seen(home, PAIR, "1.0")


def test_a_language_is_removed(home: Home) -> None:
    for source, target in (("en", "es"), ("es", "en"), ("es", "fr"), ("en", "fr")):
        put_hollow(home, source, target)
    removed = remove_packs(home, "es")
    assert [pair.name for pair in removed.pairs] == ["en_es", "es_en", "es_fr"]
    assert removed.bytes == 3 * 24
    assert [pack.pair.name for pack in list_packs(home)] == ["en_fr"]


def test_one_direction_is_removed(home: Home) -> None:
    for source, target in (("en", "es"), ("es", "en")):
        put_hollow(home, source, target)
    assert remove_packs(home, "en", "es").pairs == (Pair("es", "en"),)
    assert [pack.pair.name for pack in list_packs(home)] == ["en_es"]


def test_a_damaged_pack_is_removed_too(home: Home) -> None:
    pack = put_hollow(home, "en", "es")
    (pack.path / "pack.json").unlink()
    assert remove_packs(home, "es").pairs == (PAIR,)


def test_what_is_not_here_cannot_be_removed(home: Home) -> None:
    put_hollow(home, "en", "es")
    with pytest.raises(NotFoundError, match="for French"):
        remove_packs(home, "fr")
    with pytest.raises(NotFoundError, match="Spanish to English"):
        remove_packs(home, "en", "es")


def test_english_alone_is_not_removed(home: Home) -> None:
    put_hollow(home, "en", "es")
    with pytest.raises(UsageError):
        remove_packs(home, "en")
    assert list_packs(home)


def test_a_pack_that_is_being_fetched_is_not_removed(home: Home) -> None:
    put_hollow(home, "en", "es")
    caught: list[BaseException] = []

    def remove() -> None:
        try:
            remove_packs(home, "es")
        except ConflictError as error:
            caught.append(error)

    with locked(home, PAIR):
        other = threading.Thread(target=remove)  # a lock is free to the thread that holds it
        other.start()
        other.join()
    assert caught and list_packs(home)


def test_a_lock_is_waited_for(home: Home) -> None:
    waited = threading.Event()
    got = threading.Event()

    def second() -> None:
        with locked(home, PAIR, waited.set):
            got.set()

    with locked(home, PAIR):
        other = threading.Thread(target=second)
        other.start()
        assert waited.wait(10)
        assert not got.is_set()
    other.join()
    assert got.is_set()
