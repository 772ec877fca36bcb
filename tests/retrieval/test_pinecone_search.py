"""Search in Pinecone: what index-online bought and pinecone-sync sent, found again by the service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import SourceFields, register
from tests.conftest import Kbjobs, read_json, write_pages
from tests.faults.test_crash_points import finish
from tests.servers.openai_server import OpenAIServer
from tests.servers.pinecone_server import Fault, PineconeServer, Record, Space


@pytest.fixture
def pinecone(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[PineconeServer]:
    with PineconeServer() as server:
        server.make("kb")
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", server.url)
        monkeypatch.setenv("PINECONE_API_KEY", server.key)
        monkeypatch.setenv("KBJOBS_PINECONE_INDEX", "kb")
        yield server


@pytest.fixture
def kitchen(home: Home, tmp_path: Path, openai_api: OpenAIServer, pinecone: PineconeServer) -> None:
    """Two sources in Pinecone, one of them in a namespace of another name, and one that was never sent."""
    register(
        home, "tea", [write_pages(tmp_path / "a" / "pages", 3)], SourceFields(base_url="https://tea.example.org/wiki/")
    )
    stars = write_pages(tmp_path / "b" / "pages", 2, "The telescope shows a distant galaxy")
    (stars / "de.html").write_text(
        "<html lang=de><title>Sterne</title><p>Das Fernrohr zeigt die Galaxie, ganz fern.</p>"
    )
    register(home, "stars", [stars])
    register(home, "later", [write_pages(tmp_path / "c" / "pages", 1)])
    manager = JobManager(home)
    wanted: dict[str, dict[str, Any]] = {"tea": {}, "stars": {"namespace": "sky"}}
    for source, params in wanted.items():
        assert finish(manager, manager.submit("index_online", source)).exit_code == 0
        assert finish(manager, manager.submit("pinecone_sync", source, **params)).exit_code == 0


@pytest.mark.usefixtures("kitchen")
def test_the_same_as_in_the_home(kbjobs: Kbjobs, pinecone: PineconeServer) -> None:
    words = "telescope galaxy number 1"
    there = read_json(kbjobs("search", "stars", words, "--store", "pinecone", "--json"))
    here = read_json(
        kbjobs("search", "stars", words, "--mode", "vectors", "--model", "text-embedding-3-small", "--json")
    )
    assert [{**hit, "score": round(hit["score"], 2)} for hit in there] == [
        {**hit, "score": round(hit["score"], 2)} for hit in here
    ]
    assert there[0]["title"] == "Page 1" and there[0]["matched"] and there[0]["model"] == "text-embedding-3-small"
    every = read_json(kbjobs("search", "water boils and the kettle sings", "--store", "pinecone", "--json"))
    assert {hit["source"] for hit in every} == {"tea", "stars"} and every[0]["source"] == "tea"
    assert [hit["rank"] for hit in every] == list(range(1, 7))
    shown = kbjobs("search", "tea", "kettle", "-k", "1", "--store", "pinecone").stdout
    assert "https://tea.example.org/wiki/" in shown and "[tea]" in shown
    assert {
        one["source"] for one in read_json(kbjobs("search", "x", "--source", "stars", "--store", "pinecone", "--json"))
    } == {"stars"}
    german = read_json(kbjobs("search", "Fernrohr", "--lang", "de", "--store", "pinecone", "--json"))
    assert [hit["title"] for hit in german] == ["Sterne"]
    assert pinecone.writes == 2


@pytest.mark.usefixtures("kitchen")
def test_records_of_others_and_doubles(kbjobs: Kbjobs, pinecone: PineconeServer) -> None:
    space: Space = pinecone.indexes["kb"].spaces["wiki" if "wiki" in pinecone.indexes["kb"].spaces else "tea"]
    twin = next(iter(space.shown.values()))
    space.shown["another-owner"] = Record(twin.values, dict(twin.metadata))
    space.shown["other-program"] = Record(np.ones(1536, "<f4"), {"text": 5})
    found = read_json(kbjobs("search", "tea", "kettle", "--store", "pinecone", "--passages", "--json"))
    assert len(found) == 3 and len({hit["doc_id"] for hit in found}) == 3


@pytest.mark.usefixtures("kitchen")
def test_what_cannot_be(kbjobs: Kbjobs, pinecone: PineconeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(code: int, *options: str) -> str:
        ended = kbjobs("search", "tea", "kettle", "--store", "pinecone", *options, check=code)
        assert ended.stdout == "" and "Traceback" not in ended.stderr
        return str(ended.stderr)

    assert "words" in fails(2, "--mode", "words")
    assert "path" in fails(2, "--path", "a/")
    assert "text-embedding-3-small" in fails(2, "--model", "all-MiniLM-L6-v2")
    assert "1,000" in fails(2, "-k", "5000")
    assert "later" in kbjobs("search", "later", "x", "--store", "pinecone").stderr
    assert kbjobs("search", "nowhere", "x", "--store", "pinecone", check=4).stdout == ""
    pinecone.faults.append(Fault("/query", 500, times=9))
    assert "status 500" in fails(7)
    pinecone.faults.clear()
    monkeypatch.setenv("PINECONE_API_KEY", "pcsk-wrong")
    refused = fails(6)
    assert "refuses PINECONE_API_KEY with status 401" in refused and "pcsk-wrong" not in refused
    monkeypatch.delenv("PINECONE_API_KEY")
    assert "PINECONE_API_KEY is not set" in fails(6)
    monkeypatch.delenv("KBJOBS_PINECONE_INDEX")
    assert "no Pinecone index is set" in fails(6)


def test_nothing_was_sent(home: Home, pinecone: PineconeServer, kbjobs: Kbjobs, tmp_path: Path) -> None:
    register(home, "tea", [write_pages(tmp_path / "pages", 1)])
    assert "pinecone-sync" in kbjobs("search", "kettle", "--store", "pinecone", check=4).stderr
