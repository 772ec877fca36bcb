"""The index against needledb, another program that speaks Pinecone's API for records. It enforces no limits."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from kbjobs.store.ledger_rows import PushedPassage
from kbjobs.vectors.pinecone_index import PineconeIndex
from kbjobs.vectors.pinecone_records import PineconeRecord, name_record, record_prefix, write_record
from kbjobs.vectors.pinecone_target import CONTROLLER, DEFAULT_CONTROLLER, PineconeTarget
from tests.conftest import wait_until

KEY, DIMENSION = "needle-test-0123456789", 32
OWNER = "0123456789abcdef"


@pytest.fixture(scope="module")
def needledb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an index of needledb."""
    if find_spec("needledb") is None:
        pytest.skip("needledb is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "needledb", "serve", "--host", "127.0.0.1", "--port", str(port), "--data"]
    with subprocess.Popen(
        [*command, str(tmp_path_factory.mktemp("needledb"))],
        env={**os.environ, "NEEDLEDB_API_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:

            def make() -> bool:
                request = urllib.request.Request(
                    f"{url}/indexes",
                    json.dumps({"name": "kb", "dimension": DIMENSION, "metric": "cosine"}).encode(),
                    {"Api-Key": KEY, "Content-Type": "application/json"},
                )
                try:
                    with urllib.request.urlopen(request, timeout=5):
                        return True
                except urllib.error.HTTPError:
                    raise
                except OSError:
                    return False

            wait_until(make, 60, 0.2)
            yield f"{url}/indexes/kb"
        finally:
            process.kill()


@pytest.fixture
def index(needledb: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[PineconeIndex]:
    """The index, whose address is known already: needledb has no control plane of Pinecone's."""
    hosts = tmp_path / "hosts.json"
    hosts.write_text(json.dumps({f"{DEFAULT_CONTROLLER} kb": needledb}))
    assert CONTROLLER not in os.environ
    found = PineconeIndex(PineconeTarget("kb", request.node.name[:40], "aws", "x"), KEY, hosts, DIMENSION)
    yield found
    found.close()


def make_records(count: int, owner: str = OWNER) -> list[PineconeRecord]:
    rows = np.random.default_rng(3).standard_normal((count, DIMENSION)).astype("<f4")
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    records = []
    for number, row in enumerate(rows):
        record, vector = f"{number:032x}", row.astype("<f4").tobytes()
        passage = PushedPassage(
            record, f"doc{number}", f"p{number}", "en-gb", "Tea ☕", "https://x/", "Boil it.", vector
        )
        records.append(write_record(name_record(owner, record, ("wiki",), vector), "wiki", passage))
    return records


def test_records_are_there_listed_found_and_gone(index: PineconeIndex) -> None:
    ours, theirs = make_records(250), make_records(7, "another-owner---")
    index.upsert(ours[:200])
    index.upsert(ours[200:])
    index.upsert(theirs)
    assert index.count() == 257
    assert index.list_ids(record_prefix(OWNER)) == {record.name for record in ours}
    vector = json.loads(b"[" + ours[42].values + b"]")
    best = index.query(vector, 3, {"source": {"$eq": "wiki"}, "languages": {"$in": ["en"]}})
    assert {ours[42].name} == {best[0].name} or best[0].score == pytest.approx(1, abs=1e-5)
    assert best[0].metadata["text"] == "Boil it." and best[0].metadata["title"] == "Tea ☕"
    assert not index.query(vector, 3, {"languages": {"$in": ["fr"]}})
    index.upsert(ours[:10])  # once more changes nothing
    assert index.count() == 257
    index.delete([record.name for record in ours[:50]])
    index.delete([ours[0].name, "never-there"])
    assert index.list_ids(record_prefix(OWNER)) == {record.name for record in ours[50:]}
    assert index.count() == 207


def test_an_empty_namespace(index: PineconeIndex) -> None:
    assert index.count() == 0 and index.list_ids("a") == set()
    index.delete(["never-there"])
