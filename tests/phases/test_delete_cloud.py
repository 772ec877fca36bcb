"""delete-source and what lies elsewhere: named, and gone only with --cloud, however often that is cut short."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.daemon.launching import stop_daemon
from kbjobs.object_storage.store_address import open_bucket, read_address
from kbjobs.packs.pack_catalogue import read_catalogue
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import describe_deletion
from kbjobs.store.sources import SourceFolder
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import Kbjobs
from tests.faults.test_crash_points import finish
from tests.phases.test_pinecone_sync import make_online, sync
from tests.servers.pinecone_server import PineconeServer


@pytest.fixture
def sent(home: Home, tmp_path: Path, pinecone: PineconeServer, store: str) -> SourceFolder:
    """A source that was sent to Pinecone and, with another one, to a store."""
    folder = make_online(home, tmp_path)
    assert sync(home).exit_code == 0
    make_online(home, tmp_path, source="other")
    assert sync(home, source="other").exit_code == 0
    manager = JobManager(home)
    for source in ("wiki", "other"):
        assert finish(manager, manager.submit("upload", source, to=store)).exit_code == 0
    return folder


def check_gone(home: Home, pinecone: PineconeServer, store: str) -> None:
    assert not pinecone.held("wiki") and len(pinecone.held("other")) == 10
    bucket = open_bucket(home, Settings(home), read_address(store))
    catalogue, _ = read_catalogue(bucket)
    assert catalogue is not None and [pack.source for pack in catalogue.packs] == ["other"]
    assert {entry.name.split("/")[1] for entry in bucket.list("packs/")} == {"other"}


def test_without_it_they_are_named_and_stay(
    home: Home,
    sent: SourceFolder,
    pinecone: PineconeServer,
    store: str,
    kbjobs: Kbjobs,
) -> None:
    text = describe_deletion(home, "wiki", keep_files=False)
    assert "left in the cloud: records in Pinecone's kb/wiki, packs in " in text and "--cloud" in text
    ended = kbjobs("run", "delete-source", "wiki", "--confirm", "wiki")
    assert "left in the cloud: records in Pinecone's kb/wiki" in ended.stderr + ended.stdout
    assert len(pinecone.held("wiki")) == 10 and not sent.path.exists()


@pytest.mark.parametrize("store", ["folder", "weed"], indirect=True)
def test_with_it_they_go(
    home: Home,
    sent: SourceFolder,
    pinecone: PineconeServer,
    store: str,
    kbjobs: Kbjobs,
) -> None:
    ended = kbjobs("run", "delete-source", "wiki", "--confirm", "wiki", "--cloud")
    assert "left in the cloud" not in ended.stderr + ended.stdout
    assert "records in Pinecone's kb/wiki" in ended.stderr + ended.stdout
    check_gone(home, pinecone, store)
    assert not sent.path.exists()


@pytest.mark.parametrize("point", ["pinecone.removed", "withdraw.catalogue", "withdraw.manifests", "delete.renamed"])
def test_a_kill_at_each_point(
    home: Home, sent: SourceFolder, pinecone: PineconeServer, store: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, point: str,
) -> None:  # fmt: skip
    stop_daemon(home, now=True, seconds=20)
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    manager = JobManager(home)
    job = finish(manager, manager.submit("delete_source", "wiki", confirm="wiki", cloud=True))
    assert marker.exists() and (job.exit_code, job.attempt) == (0, 2), job
    check_gone(home, pinecone, store)
    assert not sent.path.exists()
    assert "left in the cloud" not in str(job.message)


def test_what_is_away_keeps_the_source(
    home: Home, sent: SourceFolder, pinecone: PineconeServer, store: str, kbjobs: Kbjobs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    stop_daemon(home, now=True, seconds=20)
    monkeypatch.delenv("PINECONE_API_KEY")
    ended = kbjobs("run", "delete-source", "wiki", "--confirm", "wiki", "--cloud", check=6)
    assert "PINECONE_API_KEY" in ended.stderr
    assert sent.ledger.exists()
