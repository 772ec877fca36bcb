"""upload to real stores: what is there is not sent again, nobody sees half a pack, the catalogue loses nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.daemon.launching import stop_daemon
from kbjobs.errors import ConflictError, UnavailableError
from kbjobs.object_storage.bucket import Bucket
from kbjobs.object_storage.store_address import open_bucket, read_address
from kbjobs.packs.inspecting import verify_pack
from kbjobs.packs.pack_catalogue import CATALOGUE, read_catalogue
from kbjobs.packs.pack_reading import open_pack
from kbjobs.packs.pruning import prune
from kbjobs.services.jobs import JobManager
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import FACTOR, Kbjobs, read_json, rest_full
from tests.faults.test_crash_points import finish
from tests.packs.sources import make_source
from tests.servers.chroma_process import Proxy
from tests.servers.s3_servers import BUCKET, STORES


@pytest.fixture
def wiki(home: Home, tmp_path: Path) -> SourceFolder:
    return make_source(home, tmp_path)


def opened(home: Home, store: str) -> Bucket:
    return open_bucket(home, Settings(home), read_address(store))


def names(bucket: Bucket) -> list[str]:
    return sorted(entry.name for prefix in ("objects/", "packs/", "uploads/") for entry in bucket.list(prefix))


def check_whole(bucket: Bucket, tmp_path: Path) -> None:
    """Every version that the catalogue names is whole."""
    catalogue, _ = read_catalogue(bucket)
    assert catalogue is not None
    for number, pack in enumerate(catalogue.packs):
        folder = tmp_path / f"copy-{time.monotonic_ns()}-{number}"
        for name in (f"packs/{pack.source}/{pack.versions[0].version}/manifest.json",):
            copy(bucket, name, folder)
            manifest = json.loads((folder / name).read_text())
            for part in set(find_parts(manifest)):
                copy(bucket, f"objects/{part}", folder)
            with open_pack(str(folder / name)) as found:
                verify_pack(found)


def copy(bucket: Bucket, name: str, folder: Path) -> None:
    content = bucket.read(name, 1 << 26)
    assert content is not None, name
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.data)


def find_parts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "sha256" in value:
            yield value["sha256"]
        for one in value.values():
            yield from find_parts(one)
    elif isinstance(value, list):
        for one in value:
            yield from find_parts(one)


@pytest.mark.parametrize("store", STORES, indirect=True)
def test_a_source_is_sent_once(home: Home, wiki: SourceFolder, store: str, tmp_path: Path) -> None:
    manager = JobManager(home)
    dry = finish(manager, manager.submit("upload", wiki.id, to=store, dry_run=True))
    assert dry.exit_code == 0 and dry.result is not None and dry.result["new_parts"] == dry.result["parts"] > 3
    bucket = opened(home, store)
    assert names(bucket) == []
    first = finish(manager, manager.submit("upload", wiki.id, to=store, include_backup=True))
    assert first.exit_code == 0 and first.result is not None, first
    assert first.result["new_parts"] == first.result["parts"]
    assert first.result["new_bytes"] == first.result["bytes"]
    check_whole(bucket, tmp_path)
    again = finish(manager, manager.submit("upload", wiki.id, to=store, include_backup=True))
    assert again.result is not None and again.result["new_parts"] == 0
    assert again.result["version"] == first.result["version"]
    assert not list(bucket.list("uploads/"))


def test_only_what_changed_is_sent_and_old_versions_go(
    home: Home, wiki: SourceFolder, store: str, tmp_path: Path
) -> None:
    manager = JobManager(home)
    versions = []
    for number in range(4):
        manifest = json.loads(wiki.manifest.read_text())
        manifest["name"] = f"name {number}"
        wiki.manifest.write_text(json.dumps(manifest))
        job = finish(manager, manager.submit("upload", wiki.id, to=store, keep=2))
        assert job.result is not None and (job.result["new_parts"] == 0) == (number > 0)
        versions.append(job.result["version"])
    bucket = opened(home, store)
    catalogue, _ = read_catalogue(bucket)
    assert catalogue is not None
    assert [one.version for one in catalogue.packs[0].versions] == [versions[3], versions[2]]
    assert [name.split("/")[2] for name in names(bucket) if name.startswith("packs/")] == sorted(versions[2:])
    check_whole(bucket, tmp_path)


UPLOAD_POINTS = ("upload.marked", "upload.part", "upload.before_manifest", "upload.manifest", "upload.published")


@pytest.mark.parametrize("point", rest_full(UPLOAD_POINTS, "upload.part", "upload.manifest"))
def test_a_kill_at_each_point(
    home: Home, wiki: SourceFolder, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    manager = JobManager(home)
    job = finish(manager, manager.submit("upload", wiki.id, to=store, include_backup=True))
    assert marker.exists() and (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, 0, 2), job
    bucket = opened(home, store)
    check_whole(bucket, tmp_path)
    assert not list(bucket.list("uploads/"))
    catalogue, _ = read_catalogue(bucket)
    assert catalogue is not None and len(catalogue.packs[0].versions) == 1


def large_source(home: Home, tmp_path: Path, source: str, megabytes: int) -> SourceFolder:
    """A source with files that do not pack: its backup is most of its pack."""
    folder = make_source(home, tmp_path / source, source)
    drawn = random.Random(source)
    root = Path(folder.read().paths[0])
    for number in range(megabytes // 4):
        (root / f"large{number}.html").write_bytes(drawn.randbytes(4 << 20))
    return folder


@pytest.mark.full
@pytest.mark.processes
@pytest.mark.parametrize("store", ["weed"], indirect=True)
@pytest.mark.parametrize("seed", range(3 * FACTOR))
def test_random_kills_resend_what_was_on_its_way(
    home: Home, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    folder = large_source(home, tmp_path, "wiki", 80)
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "10")  # kills may come before anything was sent
    drawn = random.Random(seed)
    manager = JobManager(home)
    sent: list[int] = []
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    with Proxy(endpoint) as proxy:
        proxy.fault = lambda method, path: sent.append(1) if method == "PUT" and "/objects/" in path else None
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        job_id = manager.submit("upload", folder.id, to=store, include_backup=True)
        kills = 0
        stop = threading.Event()
        broken: list[str] = []

        def read_all_the_time() -> None:
            bucket = opened(home, store)
            while not stop.wait(0.05):
                catalogue, _ = read_catalogue(bucket)
                for pack in catalogue.packs if catalogue else ():
                    if bucket.find(f"packs/{pack.source}/{pack.versions[0].version}/manifest.json") is None:
                        broken.append(pack.source)

        reader = threading.Thread(target=read_all_the_time)
        reader.start()
        try:
            while kills < 3 and not manager.get_status(job_id).has_ended:
                time.sleep(drawn.uniform(0.3, 1.0))
                pid = manager.get_status(job_id).pid
                if pid:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
            job = finish(manager, job_id)
        finally:
            stop.set()
            reader.join()
    assert (job.status, job.exit_code) == (Status.COMPLETED, 0), job
    assert job.result is not None and not broken
    assert job.result["bytes"] > 80_000_000
    assert len(sent) <= job.result["parts"] + 6 * kills, (len(sent), kills)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    check_whole(opened(home, store), tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("store", ["folder", "weed"], indirect=True)
def test_eight_uploaders_lose_no_entry(tmp_path: Path, store: str, home: Home) -> None:
    """Each in a home of its own, as on eight machines."""
    import subprocess
    import sys

    homes = []
    for number in range(8):
        other = Home(tmp_path / f"home{number}")
        other.prepare()
        make_source(other, tmp_path / f"pages{number}", f"source{number}")
        homes.append(other)
    for round_ in range(2 * FACTOR):
        for number, other in enumerate(homes):
            manifest = SourceFolder(other.sources, f"source{number}").manifest
            values = json.loads(manifest.read_text())
            values["name"] = f"round {round_}"
            manifest.write_text(json.dumps(values))
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "kbjobs", "run", "upload", f"source{number}", "--to", store],
                env=os.environ | {"KBJOBS_HOME": str(other.path)}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )
            for number, other in enumerate(homes)
        ]  # fmt: skip
        assert [process.wait(120) for process in running] == [0] * 8
        catalogue, _ = read_catalogue(opened(home, store))
        assert catalogue is not None
        assert [(pack.source, pack.name) for pack in catalogue.packs] == [
            (f"source{number}", f"round {round_}") for number in range(8)
        ]
    for other in homes:
        stop_daemon(other, now=True, seconds=20)


def test_what_nothing_needs_is_pruned_after_its_grace(
    home: Home, wiki: SourceFolder, store: str, tmp_path: Path, kbjobs: Kbjobs
) -> None:
    manager = JobManager(home)
    finish(manager, manager.submit("upload", wiki.id, to=store, include_backup=True, keep=1))
    finish(manager, manager.submit("upload", wiki.id, to=store, keep=1))
    bucket = opened(home, store)
    before = names(bucket)
    kept = prune(bucket, timedelta(hours=24))
    assert (kept.manifests, kept.parts) == (0, 0) and kept.kept_young > 0 and names(bucket) == before
    dry = prune(bucket, timedelta(0), dry_run=True)
    assert dry.parts == kept.kept_young and names(bucket) == before
    shown = read_json(kbjobs("pack", "prune", store, "--grace", "0", "--json"))
    assert shown["parts"] == dry.parts
    assert len(names(bucket)) == len(before) - dry.parts
    check_whole(bucket, tmp_path)
    bucket.put("uploads/x.json", b"{}")
    with pytest.raises(ConflictError, match="an upload to"):
        prune(bucket, timedelta(0))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"format": 1, "packs": [{}]}', b"\xff\xfe", b"x" * 17_000_000]
)
def test_a_damaged_catalogue_is_told_and_not_written_over(
    home: Home, wiki: SourceFolder, store: str, kbjobs: Kbjobs, content: bytes
) -> None:
    kbjobs("run", "upload", wiki.id, "--to", store)
    bucket = opened(home, store)
    bucket.put(CATALOGUE, content)
    ended = kbjobs("run", "upload", wiki.id, "--to", store, check=7)
    assert "catalogue.json is damaged" in ended.stderr and "--rebuild-catalogue" in ended.stderr
    there = bucket.read(CATALOGUE, 1 << 26)
    assert there is not None and there.data == content
    kbjobs("pack", "prune", store, "--rebuild-catalogue")
    catalogue, _ = read_catalogue(bucket)
    assert catalogue is not None and [pack.source for pack in catalogue.packs] == [wiki.id]


def test_a_newer_catalogue_is_refused(home: Home, wiki: SourceFolder, store: str) -> None:
    bucket = opened(home, store)
    bucket.put(CATALOGUE, b'{"format": 2, "shelves": []}')
    with pytest.raises(UnavailableError, match="format 2"):
        read_catalogue(bucket)


def test_the_remote_catalogue_is_listed(home: Home, wiki: SourceFolder, store: str, kbjobs: Kbjobs) -> None:
    kbjobs("run", "upload", wiki.id, "--to", store)
    (row,) = read_json(kbjobs("pack", "list", store, "--json"))
    assert row["source"] == wiki.id and row["here"] in ("no", "this version", "another version", "not from a pack")
    assert wiki.id in kbjobs("pack", "list", store).stdout
    assert read_json(kbjobs("sources", "list", "--remote", "--from", store, "--json")) == [
        row
    ]  # until the next version


def test_pushed_listed_and_pulled(home: Home, wiki: SourceFolder, store: str, kbjobs: Kbjobs) -> None:
    kbjobs("pack", "push", wiki.id, store)
    assert wiki.id in kbjobs("pack", "list", store).stdout
    kbjobs("sources", "delete", wiki.id, "--confirm", wiki.id)
    kbjobs("pack", "pull", wiki.id, store)
    assert read_json(kbjobs("sources", "show", wiki.id, "--json"))["documents"] > 0
    kbjobs("sources", "remove", wiki.id, "--confirm", wiki.id)  # until the next version
    assert [job["type"] for job in read_json(kbjobs("history", "--json"))] == [
        "delete_source",
        "install_source",
        "delete_source",
        "upload",
    ]


@pytest.mark.parametrize("store", ["weed"], indirect=True)
def test_what_a_submit_needs_is_checked(
    home: Home, wiki: SourceFolder, store: str, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    ended = kbjobs("run", "upload", wiki.id, "--to", store, check=6)
    assert "AWS_SECRET_ACCESS_KEY" in ended.stderr
    assert kbjobs("run", "upload", wiki.id, "--to", "https://example.org/x", check=2).stderr
    assert kbjobs("run", "upload", "nobody", "--to", store, check=4).stderr


@pytest.mark.parametrize("store", ["weed"], indirect=True)
def test_secrets_are_nowhere(home: Home, wiki: SourceFolder, store: str, kbjobs: Kbjobs) -> None:
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    kbjobs("run", "upload", wiki.id, "--to", store)
    kbjobs("run", "upload", wiki.id, "--to", store.replace(BUCKET, "no-such-bucket"), check=None)
    stop_daemon(home, now=True, seconds=20)
    for path in home.path.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
