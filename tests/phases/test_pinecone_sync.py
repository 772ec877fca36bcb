"""pinecone-sync against a server with the service's limits: only what differs is sent, and the end is the ledger."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.api import JobManager
from kbjobs.crashpoints import POINTS, VARIABLE
from kbjobs.embedding.online_models import TEXT_EMBEDDING_3_SMALL as MODEL
from kbjobs.settings import Home
from kbjobs.sources import register
from kbjobs.store.jobs import Job
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from tests.conftest import FACTOR, Kbjobs, read_json, wait_until, write_pages
from tests.faults.test_crash_points import finish
from tests.packs.sources import Page, fill, page
from tests.servers.pinecone_server import Fault, PineconeServer


@pytest.fixture
def pinecone(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[PineconeServer]:
    """A server with an index ``kb``, and the settings and key that lead to it."""
    with PineconeServer() as server:
        server.make("kb")
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", server.url)
        monkeypatch.setenv("PINECONE_API_KEY", server.key)
        monkeypatch.setenv("KBJOBS_PINECONE_INDEX", "kb")
        monkeypatch.setenv("KBJOBS_PINECONE_WAIT", "20")
        yield server


def make_online(home: Home, tmp_path: Path, pages: int = 5, source: str = "wiki") -> SourceFolder:
    """A source whose ledger has vectors of the online model, two a page; the last passage of all pages is the same."""
    home.prepare()
    register(home, source, [write_pages(tmp_path / f"pages-{source}", 1)])
    folder = SourceFolder(home.sources, source)
    write_online(folder, [page(source, number) for number in range(pages)])
    return folder


def write_online(folder: SourceFolder, pages: list[Page]) -> None:
    fill(folder, pages, MODEL.key, MODEL.dimension)


@pytest.fixture
def wiki(home: Home, tmp_path: Path) -> SourceFolder:
    return make_online(home, tmp_path)


def expected(folder: SourceFolder) -> dict[tuple[str, str, str], bytes]:
    """What the ledger holds, told by document, URL and text: the vectors."""
    with closing(Ledger(folder.ledger)) as ledger:
        rows = ledger.connection.execute(
            "SELECT c.doc_id, d.url, c.text, v.vector FROM chunks c JOIN documents d USING (doc_id)"
            " JOIN vectors v ON v.text_hash = c.text_hash AND v.model = (SELECT id FROM models WHERE key = ?)",
            (MODEL.key,),
        )
        return {(row[0], row[1], row[2]): row[3] for row in rows}


def check_equal(server: PineconeServer, folder: SourceFolder, namespace: str = "wiki") -> None:
    """The namespace holds what the ledger does, each record once, every bit of its vector."""
    held = server.held(namespace)
    found = {
        (one.metadata["doc_id"], one.metadata["url"], one.metadata["text"]): one.values.tobytes()
        for one in held.values()
    }
    assert len(found) == len(held)
    assert found == expected(folder)


def sync(home: Home, name: str = "pinecone_sync", source: str = "wiki", **params: Any) -> Job:
    manager = JobManager(home)
    return finish(manager, manager.submit(name, source, **params))


def numbers(job: Job) -> tuple[int, int, int, int]:
    assert job.result is not None, job
    return tuple(job.result[name] for name in ("to_push", "to_update", "to_delete", "in_sync"))  # type: ignore[return-value]


def test_a_source_is_sent_once(home: Home, wiki: SourceFolder, pinecone: PineconeServer) -> None:
    dry = sync(home, "pinecone_sync_dry")
    assert numbers(dry) == (10, 0, 0, 0) and pinecone.writes == 0
    first = sync(home)
    assert first.exit_code == 0, first
    assert numbers(first) == (10, 0, 0, 0) and first.result is not None
    assert first.result["pushed"] == 10 and first.result["verified"] and first.result["others"] == 0
    assert dry.result is not None and first.result["write_units"] == dry.result["write_units"] >= 10 * 6
    check_equal(pinecone, wiki)
    before = pinecone.writes
    again = sync(home)
    assert numbers(again) == (0, 0, 0, 10) and pinecone.writes == before
