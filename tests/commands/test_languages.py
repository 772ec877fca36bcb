"""kbjobs languages: what is here, what could be, and what is removed."""

from __future__ import annotations

from kbjobs.config.home import Home
from tests.conftest import Kbjobs, read_json
from tests.languages.packs import put_hollow
from tests.servers.languages_server import INDEX, LanguagesServer


def test_nothing_is_here(kbjobs: Kbjobs) -> None:
    shown = kbjobs("languages", "list")
    assert shown.stdout == ""
    assert "kbjobs languages download es" in shown.stderr
    assert read_json(kbjobs("languages", "list", "--json")) == []


def test_what_is_here(home: Home, kbjobs: Kbjobs) -> None:
    for source, target in (("en", "es"), ("es", "en")):
        put_hollow(home, source, target)
    assert kbjobs("languages", "list").stdout.splitlines() == [
        "en\tes\tEnglish to Spanish\t1.0\t0.0 MB\tCC0\t2026-01-01\tabababababab",
        "es\ten\tSpanish to English\t1.0\t0.0 MB\tCC0\t2026-01-01\tabababababab",
    ]
    output = read_json(kbjobs("languages", "list", "--json"))[0]
    assert (output["from"], output["to"], output["from_name"], output["to_name"]) == ("en", "es", "English", "Spanish")
    assert (output["version"], output["size"], output["unpacked"], output["sha256"]) == ("1.0", 10_000, 24, "ab" * 32)


def test_a_damaged_pack_is_named_and_the_others_are_listed(home: Home, kbjobs: Kbjobs) -> None:
    put_hollow(home, "en", "fr")
    (put_hollow(home, "en", "es").path / "model" / "model.bin").unlink()
    shown = kbjobs("languages", "list", check=3)
    assert shown.stdout.startswith("en\tfr\t") and len(shown.stdout.splitlines()) == 1
    assert "kbjobs run language-download es --from en --force" in shown.stderr
    assert len(read_json(kbjobs("languages", "list", "--json", check=3))) == 1


def test_what_could_be_here(home: Home, languages_server: LanguagesServer, kbjobs: Kbjobs) -> None:
    for source, target, version in (("en", "es", "1.0"), ("en", "es", "1.1"), ("en", "zt", "2"), ("fr", "en", "1.0")):
        languages_server.index.append(languages_server.entry(source, target, version, [f"{languages_server.url}/x"]))
    put_hollow(home, "en", "es")
    put_hollow(home, "fr", "en")
    assert kbjobs("languages", "list", "--available").stdout.splitlines() == [
        "en\tes\tEnglish to Spanish\t1.1\tversion 1.0",
        "en\tzt\tEnglish to Chinese (traditional)\t2\t",
        "fr\ten\tFrench to English\t1.0\tyes",
    ]
    output = read_json(kbjobs("languages", "list", "--available", "--json"))
    assert [offer["here"] for offer in output] == ["1.0", None, "1.0"]


def test_an_index_that_cannot_be_had(languages_server: LanguagesServer, kbjobs: Kbjobs) -> None:
    languages_server.index = b"<html>"
    output = kbjobs("languages", "list", "--available", check=1).stderr
    assert f"{languages_server.index_url} is not an index of language packs" in output and "languages_index" in output
    languages_server.status[INDEX] = 404
    assert "there is no" in kbjobs("languages", "list", "--available", check=4).stderr


def test_removed(home: Home, kbjobs: Kbjobs) -> None:
    for source, target in (("en", "es"), ("es", "en"), ("en", "fr"), ("fr", "en")):
        put_hollow(home, source, target)
    shown = kbjobs("languages", "remove", "spanish")
    assert "2 language packs removed (English to Spanish, Spanish to English): 0.0 MB freed" in shown.stderr
    output = read_json(kbjobs("languages", "remove", "English", "--from", "French", "--json"))
    assert output == {"removed": [{"from": "fr", "to": "en"}], "bytes": 24}
    assert kbjobs("languages", "list").stdout.startswith("en\tfr\t")


def test_what_cannot_be_removed(home: Home, kbjobs: Kbjobs) -> None:
    put_hollow(home, "en", "es")
    assert "there is no language pack for French (fr)" in kbjobs("languages", "remove", "fr", check=4).stderr
    assert "Did you mean Spanish (es)?" in kbjobs("languages", "remove", "Spansh", check=4).stderr
    assert "Name the other language" in kbjobs("languages", "remove", "en", check=2).stderr
