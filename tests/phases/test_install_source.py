"""install-source from real stores: nothing is embedded, a failed or killed one leaves what was there, updates merge."""

from __future__ import annotations

import functools
import http.server
import json
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import stop_daemon
from kbjobs.errors import ConflictError, NotFoundError
from kbjobs.packs.pack_catalogue import read_catalogue
from kbjobs.services.documents import documents
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import describe, register, verify
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import FACTOR, Kbjobs, read_json, rest_full, write_pages
from tests.faults.test_crash_points import finish
from tests.packs.sources import DIMENSION, make_source
from tests.packs.test_installing import rows
from tests.phases.test_upload import large_source, opened
from tests.servers.chroma_process import Proxy
from tests.servers.s3_servers import STORES


@pytest.fixture
def other(tmp_path: Path) -> Home:
    """The home of somebody else, who has the source."""
    home = Home(tmp_path / "other")
    home.prepare()
    return home


def upload(other: Home, folder: SourceFolder, store: str, **params: Any) -> None:
    manager = JobManager(other)
    job = finish(manager, manager.submit("upload", folder.id, to=store, **params))
    assert job.exit_code == 0, job
    stop_daemon(other, now=True, seconds=20)


@pytest.mark.parametrize("store", STORES, indirect=True)
def test_a_source_comes_whole(home: Home, other: Home, tmp_path: Path, store: str) -> None:
    folder = make_source(other, tmp_path)
    upload(other, folder, store, include_backup=True)
    manager = JobManager(home)
    job = finish(manager, manager.submit_job("install_source", folder.id, {"from": store, "include_backup": True}).id)
    assert (job.status, job.exit_code) == (Status.COMPLETED, 0), job
    assert job.result is not None and job.result["vectors"] == 6
    here = SourceFolder(home.sources, folder.id)
    ours, theirs = rows(here), rows(folder)
    assert ours["chunks"] and ours["vectors"] == theirs["vectors"]
    assert verify(home, folder.id).ok
    assert not (home.downloads / folder.id).exists()
    # Once more: the same version, nothing changes.
    again = finish(manager, manager.submit_job("install_source", folder.id, {"from": store, "include_backup": True}).id)
    assert again.exit_code == 0 and rows(here) == ours


def test_from_a_web_server(home: Home, other: Home, tmp_path: Path) -> None:
    folder = make_source(other, tmp_path)
    upload(other, folder, str(tmp_path / "www"), include_backup=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "www"))
    handler.log_message = lambda *args: None  # type: ignore[attr-defined]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        manager = JobManager(home)
        url = f"http://127.0.0.1:{server.server_address[1]}"
        job = finish(manager, manager.submit_job("install_source", folder.id, {"from": url}).id)
        assert job.exit_code == 0, job
        assert verify(home, folder.id).ok
    finally:
        server.shutdown()
        server.server_close()


def test_without_its_files_an_index_job_says_how_they_come(
    home: Home, other: Home, tmp_path: Path, kbjobs: Kbjobs, minilm: Path
) -> None:
    folder = make_source(other, tmp_path)
    upload(other, folder, str(tmp_path / "store"), include_backup=True)
    kbjobs("run", "install-source", "wiki", "--from", tmp_path / "store")
    for job in ("index-offline", "metadata"):
        message = kbjobs("run", job, "wiki", check=4).stderr
        assert "was installed from a pack without its files" in message
        assert "kbjobs run install-source wiki --include-backup" in message


def test_an_update_keeps_what_the_pack_does_not_have(home: Home, other: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    folder = make_source(other, tmp_path)
    upload(other, folder, str(tmp_path / "store"))
    kbjobs("run", "install-source", "wiki", "--from", tmp_path / "store")
    here = SourceFolder(home.sources, "wiki")
    with Ledger(here.ledger) as ledger:
        # Vectors of another model, which cost money, and a document of this home's own.
        (row,) = ledger.models()
        model = ledger.model("bought-0123456789ab", "bought", DIMENSION, row.profile)
        texts = [one[0] for one in ledger.connection.execute("SELECT text_hash, vector FROM vectors")]
        vectors = dict(ledger.connection.execute("SELECT text_hash, vector FROM vectors").fetchall())
        ledger.put_vectors(model, [(text, vectors[text]) for text in texts])
    values = json.loads(here.manifest.read_text())
    here.manifest.write_text(json.dumps({**values, "tags": ["mine"]}))
    manifest = json.loads(folder.manifest.read_text())
    folder.manifest.write_text(json.dumps({**manifest, "name": "newer name", "tags": ["theirs"]}))
    with Ledger(folder.ledger) as ledger:
        gone = [row[0] for row in ledger.connection.execute("SELECT doc_id FROM documents ORDER BY doc_id LIMIT 1")]
        ledger.delete_documents(gone)
    upload(other, folder, str(tmp_path / "store"))
    (listed,) = read_json(kbjobs("sources", "list", "--from", tmp_path / "store", "--json"))
    assert listed["here"] == "another version"
    kbjobs("run", "install-source", "wiki", "--from", tmp_path / "store")
    updated = here.read()
    assert updated.name == "newer name" and updated.tags == ("mine", "theirs")
    state = describe(home, "wiki")
    assert {model.model: model.vectors for model in state.models}["bought"] == len(texts)
    assert state.documents == 5  # the one that the pack does not have any more stays
    assert verify(home, "wiki").ok
    kbjobs("run", "install-source", "wiki", "--from", tmp_path / "store", "--mode", "replace")
    state = describe(home, "wiki")
    assert state.documents == 4 and [model.model for model in state.models] == ["tiny"]
    assert here.read().tags == ("theirs",)
    (listed,) = read_json(kbjobs("sources", "list", "--from", tmp_path / "store", "--json"))
    assert listed["here"] == "this version"


def test_a_source_of_ones_own_is_not_changed_unasked(home: Home, other: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    upload(other, make_source(other, tmp_path), str(tmp_path / "store"))
    pages = write_pages(tmp_path / "own", 3)
    register(home, "wiki", [pages], copy=True)
    before = sorted(path.name for path in SourceFolder(home.sources, "wiki").pages.rglob("*"))
    ended = kbjobs("run", "install-source", "wiki", "--from", tmp_path / "store", check=5)
    assert "--mode update" in ended.stderr
    kbjobs("run", "install-source", "wiki", "--from", tmp_path / "store", "--mode", "update")
    here = SourceFolder(home.sources, "wiki")
    assert sorted(path.name for path in here.pages.rglob("*")) == before
    assert len(list(documents(home, "wiki"))) == 5
    # The next run reads the files that are here, and keeps the documents that came with the pack.
    kbjobs("run", "metadata", "wiki")
    assert len(list(documents(home, "wiki"))) == 8
    ended = kbjobs("run", "install-source", "wiki", "--from", tmp_path / "store", "--mode", "replace")
    assert len(list(documents(home, "wiki"))) == 5 and not here.pages.exists()


@pytest.mark.parametrize(
    "point",
    rest_full(
        ["install.part", "install.fetched", "install.filled", "install.built", "install.before_rename",
         "install.renamed", "install.done"],
        "install.part", "install.before_rename",
    ),
)  # fmt: skip
@pytest.mark.parametrize("store", ["weed"], indirect=True)
def test_a_kill_at_each_point(
    home: Home,
    other: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
    point: str,
) -> None:
    folder = make_source(other, tmp_path)
    upload(other, folder, store, include_backup=True)
    manager = JobManager(home)
    if point not in ("install.part", "install.fetched"):
        finish(manager, manager.submit_job("install_source", "wiki", {"from": store}).id)
        stop_daemon(home, now=True, seconds=20)
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    job = finish(
        manager,
        manager.submit_job("install_source", "wiki", {"from": store, "include_backup": True, "mode": "replace"}).id,
    )
    assert marker.exists() and (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, 0, 2), job
    assert rows(SourceFolder(home.sources, "wiki"))["vectors"] == rows(folder)["vectors"]
    assert verify(home, "wiki").ok
    assert [path.name for path in home.sources.iterdir()] == ["wiki"]


@pytest.mark.full
@pytest.mark.processes
@pytest.mark.parametrize("store", ["weed"], indirect=True)
@pytest.mark.parametrize("seed", range(2 * FACTOR))
def test_random_kills_fetch_again_what_was_on_its_way(
    home: Home,
    other: Home,
    tmp_path: Path,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    folder = large_source(other, tmp_path, "wiki", 80)
    upload(other, folder, store, include_backup=True)
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "10")  # kills may come before anything was fetched
    drawn = random.Random(seed)
    fetched: list[str] = []
    manager = JobManager(home)
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    with Proxy(endpoint) as proxy:
        proxy.fault = lambda method, path: fetched.append(path) if method == "GET" and "/objects/" in path else None
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        job_id = manager.submit_job("install_source", "wiki", {"from": store, "include_backup": True}).id
        kills = 0
        while kills < 3 and not manager.get_status(job_id).has_ended:
            time.sleep(drawn.uniform(0.2, 0.8))
            pid = manager.get_status(job_id).pid
            if pid:
                os.kill(pid, signal.SIGKILL)
                kills += 1
        job = finish(manager, job_id)
    assert (job.status, job.exit_code) == (Status.COMPLETED, 0), job
    assert len(fetched) <= len(set(fetched)) + 8 * kills
    large = sorted(Path(folder.read().paths[0]).rglob("large*.html"))
    assert len(large) == 20
    for path in large:
        (there,) = SourceFolder(home.sources, "wiki").pages.rglob(path.name)
        assert there.read_bytes() == path.read_bytes()
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)


@pytest.mark.full
@pytest.mark.parametrize("store", ["weed"], indirect=True)
def test_a_damaged_part_leaves_what_was_there(
    home: Home,
    other: Home,
    tmp_path: Path,
    store: str,
    kbjobs: Kbjobs,
) -> None:
    folder = make_source(other, tmp_path)
    upload(other, folder, store)
    kbjobs("run", "install-source", "wiki", "--from", store)
    before = rows(SourceFolder(home.sources, "wiki"))
    bucket = opened(home, store)
    entry = next(bucket.list("objects/"))
    content = bucket.read(entry.name, 1 << 26)
    assert content is not None
    for damaged in (content.data[:-1], content.data + b"x", bytes(len(content.data))):
        bucket.put(entry.name, damaged)
        ended = kbjobs("run", "install-source", "wiki", "--from", store, "--mode", "replace", check=7)
        assert entry.name in ended.stderr and "Nothing was changed" in ended.stderr
    bucket.delete([entry.name])
    ended = kbjobs("run", "install-source", "wiki", "--from", store, "--mode", "replace", check=7)
    assert "is missing" in ended.stderr
    assert rows(SourceFolder(home.sources, "wiki")) == before and verify(home, "wiki").ok
    bucket.put(entry.name, content.data)
    kbjobs("run", "install-source", "wiki", "--from", store, "--mode", "replace")


def test_a_full_disk_leaves_what_was_there(
    other: Home, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.conftest import fill_disk

    folder = large_source(other, tmp_path, "wiki", 40)
    upload(other, folder, str(tmp_path / "store"), include_backup=True)
    home = Home(small_disk / "home")
    home.prepare()
    fill_disk(small_disk, leave=20_000_000)
    manager = JobManager(home)
    job = finish(
        manager,
        manager.submit_job("install_source", "wiki", {"from": str(tmp_path / "store"), "include_backup": True}).id,
    )
    assert (job.status, job.exit_code) == (Status.FAILED, 7) and "free" in str(job.message), job
    assert list(home.sources.iterdir()) == []
    stop_daemon(home, now=True, seconds=20)


def test_what_is_not_there_is_named(home: Home, other: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    ended = kbjobs("run", "install-source", "wiki", "--from", tmp_path / "empty", check=4)
    assert "it is not a store of packs" in ended.stderr
    upload(other, make_source(other, tmp_path), str(tmp_path / "store"))
    ended = kbjobs("run", "install-source", "wikki", "--from", tmp_path / "store", check=4)
    assert "Did you mean wiki?" in ended.stderr
    ended = kbjobs("run", "install-source", "wiki", "--from", tmp_path / "store", "--version", "ffff", check=4)
    assert "no version 'ffff'" in ended.stderr
    catalogue, _ = read_catalogue(opened(home, str(tmp_path / "store")))
    assert catalogue is not None
    version = catalogue.packs[0].versions[0].version
    kbjobs("run", "install-source", "wiki", "--from", tmp_path / "store", "--version", version[:8])
    shutil.rmtree(tmp_path / "store" / "packs")
    with pytest.raises(NotFoundError):
        describe(home, "nobody")
    with pytest.raises(ConflictError):
        register(home, "wiki", [write_pages(tmp_path / "p", 1)])
