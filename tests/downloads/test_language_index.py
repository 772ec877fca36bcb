"""The index of language packs: read with care, and what is chosen of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.downloads.language_index import MAX_BYTES, Offer, choose, fetch_index, order_of, read_index
from kbjobs.errors import DownloadError, KbjobsError, NotFoundError, TransientError
from kbjobs.languages.language_packs import Pair
from tests.servers.languages_server import INDEX, LanguagesServer

URL = "https://index.example/index.json"


def entry(source: str = "en", target: str = "es", version: Any = "1.0", **more: Any) -> dict[str, Any]:
    links = more.pop("links", [f"https://packs.example/{source}_{target}.argosmodel"])
    return LanguagesServer.entry(source, target, version, links, **more)


def read(*entries: Any, url: str = URL) -> dict[Pair, Offer]:
    return read_index(json.dumps(entries).encode(), url)


def test_the_newest_pack_of_each_direction() -> None:
    found = read(*(entry(version=version) for version in ("1.9", "1.10", "1.2")), entry("es", "en", "1.0"))
    assert {pair.name: offer.version for pair, offer in found.items()} == {"en_es": "1.10", "es_en": "1.0"}


@pytest.mark.parametrize(("less", "more"), [("1.9", "1.10"), ("1", "1.0"), ("1.0", "2.0"), ("1.0rc1", "1.0.1")])
def test_versions_are_compared_as_numbers(less: str, more: str) -> None:
    assert order_of(less) < order_of(more)


@pytest.mark.parametrize(
    "strange",
    [
        7,
        None,
        "x",
        [],
        {},
        entry("../../etc", "es"),
        entry("en", "es/.."),
        entry("EN", "es"),
        entry("en", "en"),
        entry(version=1.0),
        entry(version=""),
        entry(version="../1"),
        entry(version="1" * 41),
        entry(version="1.0\n"),
        entry(links="https://packs.example/x"),
        entry(links=[]),
        entry(links=[7, None, {}]),
        entry(links=["ipfs://QmV5bmf8iqKpoGoyuTzEppaSWdceuW6zgiePaUr5ThPCpW"]),
        entry(links=["ftp://packs.example/x", "file:///etc/passwd", "data:,x", "http://packs.example/x", "https://"]),
        entry(links=["https://[::1/x", "https://packs.example/\nx", "https://packs.example/" + "x" * 3000]),
        entry(type="sbd"),
        {key: value for key, value in entry().items() if key != "from_code"},
    ],
)
def test_what_is_no_pack_is_passed_over(strange: Any) -> None:
    good = entry("en", "fr")
    assert [pair.name for pair in read(strange, good, strange)] == ["en_fr"]


def test_of_several_links_those_of_the_web_are_kept_in_order() -> None:
    links = ["ipfs://x", "https://b.example/x", "http://c.example/x", "https://a.example/x"]
    assert read(entry(links=links))[Pair("en", "es")].links == ("https://b.example/x", "https://a.example/x")


def test_an_index_without_encryption_may_lead_to_packs_without() -> None:
    found = read(entry(links=["http://127.0.0.1:1/x"]), url="http://127.0.0.1:1/index.json")
    assert found[Pair("en", "es")].links == ("http://127.0.0.1:1/x",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Not found</html>",
        b"\xff\xfe",
        b"{}",
        b"7",
        b"[]",
        b'[{"from_code": "en"}]',
        b"[" * 200_000,
        b"[" + b"1," * 20_001 + b"1]",
        b"[NaN]",
    ],
)
def test_what_is_no_index_is_refused(content: bytes) -> None:
    with pytest.raises(DownloadError, match=r"is not an index of language packs") as caught:
        read_index(content, URL)
    assert "languages_index" in caught.value.hint


# -- what is chosen ----------------------------------------------------------------------------------

OFFERS = read(entry("en", "es"), entry("es", "en"), entry("fr", "en"), entry("en", "sw"), entry("es", "pt"))


@pytest.mark.parametrize(
    ("code", "source", "expected"),
    [
        ("es", None, ["en_es", "es_en"]),
        ("sw", None, ["en_sw"]),
        ("fr", None, ["fr_en"]),
        ("es", "en", ["en_es"]),
        ("en", "es", ["es_en"]),
        ("pt", "es", ["es_pt"]),
        ("es", "fr", ["fr_en", "en_es"]),
    ],
)
def test_what_is_chosen(code: str, source: str | None, expected: list[str]) -> None:
    assert [offer.pair.name for offer in choose(OFFERS, code, source)] == expected


@pytest.mark.parametrize(
    ("code", "source", "message"),
    [
        ("de", None, r"for German \(de\)"),
        ("pt", None, r"for Portuguese \(pt\)"),  # there is one from Spanish, which nobody has asked for
        ("en", "sw", "from Swahili to English"),
        ("pt", "fr", "from English to Portuguese"),
        ("de", "it", "from Italian to English and from English to German"),
    ],
)
def test_where_there_is_no_way(code: str, source: str | None, message: str) -> None:
    with pytest.raises(NotFoundError, match=message) as caught:
        choose(OFFERS, code, source)
    assert "kbjobs languages list --available" in caught.value.hint


def test_the_nearest_language_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"Portuguese \(Brazil\)") as caught:
        choose(read(entry("en", "pt")), "pb", None)
    assert "Did you mean Portuguese?" in caught.value.hint


# -- fetching it -------------------------------------------------------------------------------------


def test_it_is_fetched(home: Home, languages_server: LanguagesServer) -> None:
    languages_server.index = [entry(links=[f"{languages_server.url}/x"])]
    assert list(fetch_index(home, Settings(home))) == [Pair("en", "es")]
    languages_server.index = [entry("en", "fr", links=[f"{languages_server.url}/x"])]
    assert list(fetch_index(home, Settings(home))) == [Pair("en", "fr")]  # asked anew each time


def test_an_index_that_is_too_large_is_not_read(home: Home, languages_server: LanguagesServer) -> None:
    languages_server.index = b" " * 100_000_000
    with pytest.raises(DownloadError, match=f"more than {MAX_BYTES:,} bytes"):
        fetch_index(home, Settings(home))
    assert languages_server.asked_for(INDEX)[0].sent < 3 * MAX_BYTES
    assert not [path for path in home.downloads.iterdir() if path.stat().st_size > 1000]


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFoundError), (403, KbjobsError), (500, TransientError), (503, TransientError)]
)
def test_a_server_that_refuses(
    home: Home, languages_server: LanguagesServer, status: int, kind: type[KbjobsError]
) -> None:
    languages_server.status[INDEX] = status
    with pytest.raises(kind, match=rf"{languages_server.index_url}"):
        fetch_index(home, Settings(home), give_up_seconds=0.5)


def test_a_server_that_is_not_there(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with LanguagesServer() as server:
        monkeypatch.setenv("KBJOBS_LANGUAGES_INDEX", server.index_url)
    with pytest.raises(TransientError, match="does not answer"):
        fetch_index(home, Settings(home), give_up_seconds=0.5)


@pytest.mark.parametrize("url", ["", "index.json", "file:///etc/passwd", "ftp://x/y", "http://[::1", "http://"])
def test_an_address_that_is_none(home: Home, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("KBJOBS_LANGUAGES_INDEX", url)
    with pytest.raises(KbjobsError):
        fetch_index(home, Settings(home), give_up_seconds=0.5)
