"""The index and how it is asked: turns, repetitions, and what each failure is told as."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.embedding.embedder import GivenUpError
from kbjobs.errors import KbjobsError, MissingRequirementError, UsageError
from kbjobs.store.ledger_rows import PushedPassage
from kbjobs.vectors.pinecone_index import PineconeIndex
from kbjobs.vectors.pinecone_records import PineconeRecord, write_record
from kbjobs.vectors.pinecone_requests import PineconeAwayError, TooLargeError, UnknownIndexError
from kbjobs.vectors.pinecone_target import PineconeTarget, check_host, check_pinecone_key, read_target
from tests.conftest import wait_until
from tests.servers.pinecone_server import Fault, PineconeServer

DIMENSION = 8


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PineconeServer]:
    with PineconeServer() as server:
        server.make("kb", dimension=DIMENSION)
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", server.url)
        yield server


def opened(server: PineconeServer, tmp_path: Path, retries: int | None = None) -> PineconeIndex:
    target = PineconeTarget("kb", "wiki", "aws", "us-east-1")
    return PineconeIndex(target, server.key, tmp_path / "hosts.json", DIMENSION, retries=retries)


def make_record(name: str, text: str = "Boil it.") -> PineconeRecord:
    vector = np.ones(DIMENSION, "<f4").tobytes()
    return write_record(name, "wiki", PushedPassage(name, "doc", "p", "en", "Tea", "https://x/", text, vector))


def count(server: PineconeServer, path: str) -> int:
    return sum(one.endswith(path) for one, _ in server.requests)


def test_the_library_repeats_nothing_by_itself(server: PineconeServer, tmp_path: Path) -> None:
    index = opened(server, tmp_path, retries=0)
    server.faults.append(Fault("/vectors/upsert", 503))
    index.count()
    with pytest.raises(PineconeAwayError, match="status 503"):
        index.upsert([make_record("a")])
    server.faults.append(Fault("/indexes/kb", 500))
    with pytest.raises(PineconeAwayError, match="status 500"):
        index.describe()
    assert count(server, "/vectors/upsert") == 1 and count(server, "/indexes/kb") == 2 and index.retries == 0
    index.close()


@pytest.mark.parametrize("is_date", [False, True])
def test_a_server_is_left_alone_as_long_as_it_asks(server: PineconeServer, tmp_path: Path, is_date: bool) -> None:
    index = opened(server, tmp_path)
    value = formatdate(time.time() + 2.5, usegmt=True) if is_date else "1.5"
    server.faults.append(Fault("/vectors/upsert", 429, "Too many requests per second", {"Retry-After": value}))
    started = time.monotonic()
    index.upsert([make_record("a")])
    assert 1.3 <= time.monotonic() - started < 6 and index.retries == 1
    assert set(server.held("wiki")) == {"a"}
    index.close()


def test_who_waits_is_given_up(server: PineconeServer, tmp_path: Path) -> None:
    index = opened(server, tmp_path)
    index.count()
    server.faults.append(Fault("/vectors/upsert", 429, "Too many requests per second", {"Retry-After": "600"}, times=9))
    raised: list[KbjobsError] = []

    def send() -> None:
        try:
            index.upsert([make_record("a")])
        except KbjobsError as error:
            raised.append(error)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: count(server, "/vectors/upsert"))
    started = time.monotonic()
    index.interrupt()
    for thread in threads:
        thread.join(10)
    assert time.monotonic() - started < 5 and [type(error) for error in raised] == [GivenUpError] * 3
    index.close()


def test_too_large_a_request_is_halved(server: PineconeServer, tmp_path: Path) -> None:
    index = opened(server, tmp_path)
    records = [make_record(f"r{number}", "x" * 30_000) for number in range(80)]  # 2.4 MB
    index.upsert(records)
    assert len(server.held("wiki")) == 80 and [status for path, status in server.requests if "upsert" in path] == [
        400, 200, 200,
    ]  # fmt: skip
    server.faults.append(Fault("/vectors/upsert", 413, "Payload too large"))
    with pytest.raises(TooLargeError):
        index.upsert(records[:1])
    index.close()


def test_pages_of_ids(server: PineconeServer, tmp_path: Path) -> None:
    index = opened(server, tmp_path)
    records = [make_record(f"{'a' if number % 2 else 'b'}#{number}") for number in range(500)]
    index.upsert(records)
    assert index.list_ids("a#") == {record.name for record in records if record.name.startswith("a#")}
    assert count(server, "/vectors/list") == 3
    assert index.list_ids("c#") == set() and index.count() == 500
    index.close()


def test_an_index_that_went(server: PineconeServer, tmp_path: Path) -> None:
    index = opened(server, tmp_path)
    index.upsert([make_record("a")])
    server.indexes.clear()
    for work in (index.count, lambda: index.list_ids("a"), lambda: index.delete(["a"])):
        with pytest.raises(UnknownIndexError):
            work()
    index.close()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("kb-x1.svc.pinecone.io", "https://kb-x1.svc.pinecone.io"),
        ("https://kb-x1.svc.pinecone.io/", "https://kb-x1.svc.pinecone.io"),
        ("http://127.0.0.1:8080/data/kb", "http://127.0.0.1:8080/data/kb"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost:5080", "http://localhost:5080"),
    ],
)
def test_hosts(host: str, url: str) -> None:
    assert check_host(host, "it") == url


@pytest.mark.parametrize(
    "host",
    [
        "http://kb.svc.pinecone.io", "http://10.0.0.1", "ftp://x", "https://", "https://user:password@x", "http://localhost.example.org",
        "https://x/?a=b", "http://[::1", "https://x:port",
    ],
)  # fmt: skip
def test_hosts_that_the_key_is_not_sent_to(host: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_host(host, "it")
    assert "user:password" not in raised.value.message


@pytest.mark.parametrize("key", [None, "", "  ", "two words", "schlüssel", "a\nb"])
def test_keys_that_are_none(key: str | None) -> None:
    with pytest.raises(MissingRequirementError) as raised:
        check_pinecone_key(key)
    assert not key or not key.strip() or key not in raised.value.message


def test_the_target(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBJOBS_PINECONE_INDEX", "kb-1")
    assert str(read_target(Settings(home), "wiki")) == "kb-1/wiki"
    monkeypatch.setenv("KBJOBS_PINECONE_NAMESPACE", "all")
    assert str(read_target(Settings(home), "wiki")) == "kb-1/all"
    assert str(read_target(Settings(home), "wiki", "mine")) == "kb-1/mine"
    for name in ("Kb", "kb_1", "-kb", "k" * 46):
        monkeypatch.setenv("KBJOBS_PINECONE_INDEX", name)
        with pytest.raises(UsageError, match="not the name of an index"):
            read_target(Settings(home), "wiki")
    monkeypatch.setenv("KBJOBS_PINECONE_INDEX", "kb")
    for name in ("n" * 513, "grün", "a\nb"):
        with pytest.raises(UsageError, match="not the name of a namespace"):
            read_target(Settings(home), "wiki", name)
