"""pinecone-sync against a server with the service's limits: only what differs is sent, and the end is the ledger."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import stop_daemon
from kbjobs.embedding.online_models import TEXT_EMBEDDING_3_SMALL as MODEL
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.jobs import Job
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import FACTOR, Kbjobs, read_json, rest_full, some_full, wait_until, write_pages
from tests.faults.points import POINTS
from tests.faults.test_crash_points import finish
from tests.packs.sources import Page, fill, page
from tests.servers.pinecone_server import Fault, PineconeServer


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
    with Ledger(folder.ledger) as ledger:
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
    return tuple(job.result[name] for name in ("to_push", "to_update", "to_delete", "in_sync"))


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


def test_only_what_changed_is_sent(home: Home, tmp_path: Path, pinecone: PineconeServer) -> None:
    folder = make_online(home, tmp_path, pages=60)
    sync(home)
    pinecone.upserted.clear()
    # One page is new, one says something else, one is gone, one has another path, one another vector.
    pages = [page("wiki", number) for number in range(61)]
    pages[1] = page("wiki", 1, title="Another title")
    pages[3] = page("wiki", 3, path="elsewhere/page3.html")
    write_online(folder, [pages[1], pages[3], pages[60]])
    with Ledger(folder.ledger) as ledger:
        ledger.delete_documents([pages[2].doc_id])
        (model,) = ledger.models()
        (text_hash,) = ledger.connection.execute(
            "SELECT text_hash FROM chunks WHERE doc_id = ? AND ordinal = 0", (pages[4].doc_id,)
        ).fetchone()
        ledger.put_vectors(model.id, [(text_hash, (np.ones(MODEL.dimension, "<f4") / 64).tobytes())])
    dry = sync(home, "pinecone_sync_dry")
    # New: both of the new page, one that begins with the other title. Changed: one that only has it, both with another
    # path, one with another vector.
    assert numbers(dry) == (3, 4, 3, 113)
    job = sync(home)
    assert numbers(job) == (3, 4, 3, 113) and job.exit_code == 0
    assert len(pinecone.upserted) == len(pinecone.deleted) == 7
    check_equal(pinecone, folder)
    assert numbers(sync(home)) == (0, 0, 0, 120)


def test_one_in_a_hundred_changed(home: Home, tmp_path: Path, pinecone: PineconeServer) -> None:
    folder = make_online(home, tmp_path, pages=500)
    sync(home)
    pinecone.upserted.clear()
    write_online(folder, [page("wiki", number, title=f"Changed {number}") for number in range(0, 500, 100)])
    sync(home)
    assert len(pinecone.upserted) == 10
    check_equal(pinecone, folder)


def test_a_dry_run_by_its_flag_is_that_of_the_other_name(
    home: Home, wiki: SourceFolder, pinecone: PineconeServer, kbjobs: Kbjobs
) -> None:
    shown = kbjobs("run", "pinecone-sync", "wiki", "--dry-run")
    assert "10 to push, 0 to update, 0 to delete, 0 in sync" in shown.stdout + shown.stderr
    assert "USD at the list price of November 2026 (4 USD per million write units)" in shown.stdout + shown.stderr
    (job,) = read_json(kbjobs("history", "--json"))
    assert job["type"] == "pinecone_sync" and job["result"]["dry_run"] is True
    assert job["result"]["write_units"] == 64 and job["result"]["price_usd"] == pytest.approx(64 * 4e-6)
    assert pinecone.writes == 0 and not pinecone.held("wiki")


def test_namespaces_and_owners(
    home: Home, wiki: SourceFolder, pinecone: PineconeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = make_online(home, tmp_path, pages=3, source="manuals")
    assert sync(home, namespace="shared").exit_code == 0
    job = sync(home, source="manuals", namespace="shared")
    assert job.exit_code == 0 and job.result is not None and job.result["others"] == 10
    assert len(pinecone.held("shared")) == 16 and set(pinecone.indexes["kb"].spaces) == {"shared"}
    # The source of another home, of the same name, in the same namespace.
    monkeypatch.setenv("KBJOBS_HOME", str(tmp_path / "home2"))
    second = Home(tmp_path / "home2")
    (tmp_path / "2").mkdir()
    theirs = make_online(second, tmp_path / "2", pages=2)
    job = sync(second, namespace="shared")
    assert job.result is not None and job.result["others"] == 16 and not pinecone.deleted
    with Ledger(theirs.ledger) as ledger:
        ledger.delete_documents([page("wiki", 0).doc_id, page("wiki", 1).doc_id])
    assert numbers(sync(second, namespace="shared", allow_delete=True)) == (0, 0, 4, 0)
    assert len(pinecone.held("shared")) == 16
    monkeypatch.setenv("KBJOBS_HOME", str(home.path))
    assert numbers(sync(home, namespace="shared")) == (0, 0, 0, 10)
    assert numbers(sync(home, "pinecone_sync_dry")) == (10, 0, 0, 0)  # its own namespace has nothing
    assert other.id == "manuals"


def test_a_large_deletion_asks(home: Home, wiki: SourceFolder, pinecone: PineconeServer) -> None:
    sync(home)
    with Ledger(wiki.ledger) as ledger:
        ledger.delete_documents([page("wiki", number).doc_id for number in range(2)])
    writes = pinecone.writes
    job = sync(home)
    assert job.exit_code == 1 and "4 of 10 passages" in str(job.error) and "--allow-delete" in str(job.error)
    assert pinecone.writes == writes
    dry = sync(home, "pinecone_sync_dry")
    assert dry.result is not None and dry.result["needs_allow_delete"] and "--allow-delete" in str(dry.message)
    assert numbers(sync(home, allow_delete=True)) == (0, 0, 4, 6)
    check_equal(pinecone, wiki)


def test_a_cleared_collection_changes_nothing(home: Home, wiki: SourceFolder, pinecone: PineconeServer) -> None:
    sync(home)
    sync(home, "clear_vectors", all=True)
    assert numbers(sync(home)) == (0, 0, 0, 10)


def test_create_index(home: Home, wiki: SourceFolder, pinecone: PineconeServer) -> None:
    pinecone.indexes.clear()
    dry = sync(home, "pinecone_sync_dry")
    assert numbers(dry) == (10, 0, 0, 0) and "--create-index makes it" in str(dry.message)
    pinecone.readies_after = 1.0
    job = sync(home, create_index=True)
    assert job.exit_code == 0 and pinecone.indexes["kb"].dimension == 1536
    check_equal(pinecone, wiki)
    assert sync(home, create_index=True, namespace="again").exit_code == 0


def test_an_index_that_is_not_there_is_refused_at_the_submit(
    home: Home, wiki: SourceFolder, pinecone: PineconeServer, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    del pinecone.indexes["kb"]
    message = kbjobs("run", "pinecone-sync", "wiki", check=4).stderr
    assert "there is no Pinecone index 'kb'" in message and "--create-index" in message
    assert read_json(kbjobs("history", "--json")) == []
    monkeypatch.setenv("PINECONE_CONTROLLER_HOST", "http://127.0.0.1:9")  # nobody answers: the job will tell
    kbjobs("run", "pinecone-sync", "wiki", "--detach")
    assert len(read_json(kbjobs("history", "--json"))) == 1


@pytest.mark.parametrize("wrong", [{"dimension": 768}, {"metric": "dotproduct"}])
def test_an_index_that_cannot_hold_them(
    home: Home, wiki: SourceFolder, pinecone: PineconeServer, wrong: dict[str, Any]
) -> None:
    pinecone.make("kb", **wrong)
    for create_index in (False, True):
        job = sync(home, create_index=create_index)
        assert job.exit_code == 2 and str(*wrong.values()) in str(job.error), job
    assert pinecone.writes == 0


def test_an_index_that_is_not_ready(home: Home, wiki: SourceFolder, pinecone: PineconeServer) -> None:
    pinecone.make("kb", ready_at=time.monotonic() + 1000)
    job = sync(home)
    assert job.exit_code == 7 and "not ready (Initializing)" in str(job.error)


def test_the_host_is_asked_for_once_and_again_when_it_has_moved(
    home: Home, wiki: SourceFolder, pinecone: PineconeServer
) -> None:
    for _ in range(2):
        assert sync(home).exit_code == 0
    described = [path for path, _ in pinecone.requests if path == "GET /indexes/kb"]
    assert len(described) == 3  # by each submit, and by the first job
    (host,) = json.loads(home.pinecone_hosts.read_text()).values()
    assert host == f"{pinecone.url}/data/kb" and home.pinecone_hosts.stat().st_mode & 0o077 == 0
    # The index was made anew elsewhere; where it was nobody answers.
    pinecone.indexes["kb"].place = "kb-2"
    assert numbers(sync(home)) == (0, 0, 0, 10)
    content = json.loads(home.pinecone_hosts.read_text())
    assert list(content.values()) == [f"{pinecone.url}/data/kb-2"]
    home.pinecone_hosts.write_text(json.dumps(dict.fromkeys(content, "http://127.0.0.1:9/data/kb")))
    assert numbers(sync(home)) == (0, 0, 0, 10)
    home.pinecone_hosts.write_text("{ torn")
    assert numbers(sync(home)) == (0, 0, 0, 10)


FAULTS = {
    "busy": Fault("/vectors/upsert", 429, "Too many requests per second", {"retry-after": "1"}, times=2),
    "busy without a word": Fault("/vectors/upsert", 429, "Too many requests per second"),
    "stumbles": Fault("/vectors/upsert", 503, times=3),
    "reply lost": Fault("/vectors/upsert", lose_reply=True, times=2),
    "takes a part": Fault("/vectors/upsert", take=3),
    "no JSON": Fault("/vectors/upsert", body=b"<html>proxy</html>"),
    "too large": Fault("/vectors/upsert", 413, "Payload too large"),
    "list stumbles": Fault("/vectors/list", 500),
    "stats stumble": Fault("/describe_index_stats", 502, times=2),
    "describe stumbles": Fault("/indexes/kb", 503),
}


@pytest.mark.parametrize("fault", some_full(FAULTS.values(), 3), ids=FAULTS)
def test_passing_failures(home: Home, wiki: SourceFolder, pinecone: PineconeServer, fault: Fault) -> None:
    pinecone.faults.append(Fault(**vars(fault)))
    started = time.monotonic()
    job = sync(home)
    assert job.exit_code == 0 and job.result is not None and job.result["verified"], job
    assert not pinecone.faults
    if "retry-after" in fault.headers:
        assert time.monotonic() - started >= 1
    check_equal(pinecone, wiki)


REFUSALS: dict[str, tuple[Fault, int, str]] = {
    "month": (
        Fault("/vectors/upsert", 429, "You've reached your write unit limit for the current month (2000000)."), 6,
        "plan does not allow this",
    ),
    "forbidden": (Fault("/vectors/upsert", 403, "forbidden"), 6, "refuses PINECONE_API_KEY with status 403"),
    "storage": (Fault("/vectors/upsert", 403, "You've reached the max storage allowed; upgrade your plan"), 6, "plan"),
    "payment": (Fault("/indexes/kb", 402, "Payment required", times=2), 6, "plan"),  # the submit asks too
    "refused": (Fault("/vectors/upsert", 400, "Bad vector"), 1, "Bad vector"),
    "away": (Fault("/vectors/upsert", 500, times=99), 7, "fails (status 500)"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "refusal",
    [pytest.param(it, id=name, marks=[pytest.mark.full] * (name == "away")) for name, it in REFUSALS.items()],
)
def test_refusals(
    home: Home, wiki: SourceFolder, pinecone: PineconeServer, monkeypatch: pytest.MonkeyPatch,
    refusal: tuple[Fault, int, str],
) -> None:  # fmt: skip
    fault, code, message = refusal
    pinecone.faults.append(Fault(**vars(fault)))
    job = sync(home)
    assert job.exit_code == code and message in str(job.error), job
    pinecone.faults.clear()
    assert sync(home).exit_code == 0
    check_equal(pinecone, wiki)


def test_of_many_failures_the_cause_is_told(home: Home, tmp_path: Path, pinecone: PineconeServer) -> None:
    make_online(home, tmp_path, pages=500)
    pinecone.latency = 0.1
    pinecone.faults.append(Fault("/vectors/upsert", 403, "forbidden"))
    for _ in range(3):
        pinecone.faults.append(Fault("/vectors/upsert", 503, times=9))
    job = sync(home)
    assert job.exit_code == 6 and "refuses PINECONE_API_KEY" in str(job.error), job


def test_the_key_is_nowhere(home: Home, wiki: SourceFolder, pinecone: PineconeServer, kbjobs: Kbjobs) -> None:
    key = pinecone.key
    assert sync(home).exit_code == 0
    pinecone.key = "another"  # the server quotes the wrong key in its refusal
    job = sync(home, namespace="other")
    assert job.exit_code == 6 and "PINECONE_API_KEY" in str(job.error)
    pinecone.key = key
    pinecone.faults.append(Fault("/vectors/upsert", 400, f"bad request of {key}"))
    job = sync(home, namespace="third")
    assert job.exit_code == 1
    shown = kbjobs("status", str(job.id), "--json").stdout + kbjobs("logs", str(job.id)).stdout
    assert key not in shown and "bad request of …" in shown
    for path in home.path.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path


def test_what_is_refused_before_it_is_queued(
    home: Home, wiki: SourceFolder, pinecone: PineconeServer, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv("KBJOBS_PINECONE_INDEX", "Not_A_Name")
    assert "not the name of an index" in kbjobs("run", "pinecone-sync", "wiki", check=2).stderr
    monkeypatch.delenv("KBJOBS_PINECONE_INDEX")
    assert "pinecone.index" in kbjobs("run", "pinecone-sync", "wiki", check=6).stderr
    monkeypatch.setenv("KBJOBS_PINECONE_INDEX", "kb")
    assert "namespace" in kbjobs("run", "pinecone-sync", "wiki", "--namespace", "grün", check=2).stderr
    monkeypatch.delenv("PINECONE_API_KEY")
    assert "set-secret PINECONE_API_KEY" in kbjobs("run", "pinecone-sync-dry", "wiki", check=6).stderr
    register(home, "empty", [write_pages(tmp_path / "empty", 1)])
    assert "index-online" in kbjobs("run", "pinecone-sync", "empty", check=6).stderr
    assert not pinecone.requests


def test_a_source_without_online_vectors(home: Home, tmp_path: Path, pinecone: PineconeServer) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    fill(SourceFolder(home.sources, "wiki"), [page("wiki", 0)])
    job = sync(home)
    assert job.exit_code == 6 and "has no vectors of text-embedding-3-small" in str(job.error)
    assert not pinecone.writes


def test_a_key_is_not_sent_unencrypted(
    home: Home, wiki: SourceFolder, pinecone: PineconeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINECONE_CONTROLLER_HOST", "http://pinecone.example.org")
    job = sync(home)
    assert job.exit_code == 2 and "not encrypted" in str(job.error)


def test_long_texts_are_cut(home: Home, tmp_path: Path, pinecone: PineconeServer) -> None:
    folder = make_online(home, tmp_path, pages=1)
    title = "Wörter " * 8000
    write_online(folder, [page("wiki", 1, title=title.strip())])
    dry = sync(home, "pinecone_sync_dry")
    job = sync(home)
    assert dry.result is not None and dry.result["cut"] == 2
    assert job.exit_code == 0 and job.result is not None and job.result["cut"] == 2
    assert "2 records were cut to fit 40 KB" in str(job.message)
    cut = [one.metadata for one in pinecone.held("wiki").values() if one.metadata["title"] != "Page 0"]
    for metadata in cut:
        assert metadata["text"] == "" and set(metadata["title"].split()) == {"Wörter"}
        size = len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode())
        assert 39_950 < size <= 40_000
    assert len(cut) == 2
    assert numbers(sync(home)) == (0, 0, 0, 4)


@pytest.mark.full
def test_what_is_shown_late(home: Home, wiki: SourceFolder, pinecone: PineconeServer) -> None:
    pinecone.lag = 2.0
    job = sync(home)
    assert job.exit_code == 0 and job.result is not None and job.result["verified"]
    check_equal(pinecone, wiki)
    assert len(pinecone.upserted) == 10


def test_what_is_shown_too_late(
    home: Home, wiki: SourceFolder, pinecone: PineconeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinecone.lag = 1000.0
    monkeypatch.setenv("KBJOBS_PINECONE_WAIT", "1")
    job = sync(home)
    assert job.exit_code == 3 and job.result is not None and not job.result["verified"], job
    assert "does not show 10 of what was sent" in str(job.message)
    check_equal(pinecone, wiki)
    again = sync(home)  # it is sent once more, which changes nothing
    assert numbers(again) == (10, 0, 0, 0) and again.exit_code == 3
    check_equal(pinecone, wiki)


def test_many_records_within_the_limits(home: Home, tmp_path: Path, pinecone: PineconeServer) -> None:
    """2,400 records: the server refuses what is larger than 2 MB, and nothing is refused."""
    folder = make_online(home, tmp_path, pages=1200)
    pinecone.latency = 0.05
    job = sync(home)
    assert job.exit_code == 0 and job.result is not None and job.result["retries"] == 0, job
    assert {status for _, status in pinecone.requests} == {200}
    assert pinecone.most_at_once > 4
    upserts = sum(path.endswith("/vectors/upsert") for path, _ in pinecone.requests)
    assert upserts <= 2400 // 90
    check_equal(pinecone, folder)
    # Listed in sixteen parts.
    assert numbers(sync(home)) == (0, 0, 0, 2400)


PINECONE_POINTS = sorted(point for point in POINTS if point.startswith("pinecone.") and point != "pinecone.removed")


@pytest.mark.slow
@pytest.mark.parametrize("point", rest_full(PINECONE_POINTS, "pinecone.upserted", "pinecone.before_delete"))
def test_a_kill_at_each_point(
    home: Home,
    wiki: SourceFolder,
    pinecone: PineconeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    pinecone.lag = 1.0  # what was sent before the kill is not listed after it
    if point == "pinecone.created":
        pinecone.indexes.clear()
    else:
        sync(home, allow_delete=True)
        write_online(wiki, [page("wiki", number, title=f"New {number}") for number in range(2, 7)])
        with Ledger(wiki.ledger) as ledger:
            ledger.delete_documents([page("wiki", 0).doc_id])
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    stop_daemon(home, now=True, seconds=30)  # the next one has the variable
    pinecone.upserted.clear()
    job = sync(home, create_index=True, allow_delete=True)
    assert marker.exists() and (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, 0, 2), job
    check_equal(pinecone, wiki)
    # Once more is sent only what was on its way.
    assert len(pinecone.upserted) - len(set(pinecone.upserted)) <= (10 if point == "pinecone.upserted" else 0)


def kill_at_random(home: Home, folder: SourceFolder, pinecone: PineconeServer, seed: int) -> int:
    """Kill the worker at two random requests; the end is the ledger. Returns how many were killed."""
    draw = random.Random(seed)
    pinecone.latency, pinecone.lag = draw.choice([0.0, 0.02]), draw.choice([0.0, 0.5])
    manager = JobManager(home)
    kills = {draw.randrange(2, 14) for _ in range(2)}
    seen = killed = 0

    def count(path: str) -> None:
        nonlocal seen, killed
        with pinecone.lock:
            seen += 1
            if seen not in kills:
                return
        time.sleep(draw.random() * 0.03)
        for pid in workers(home):
            os.kill(pid, signal.SIGKILL)
            killed += 1

    pinecone.on_request = count
    job = finish(manager, manager.submit("pinecone_sync", folder.id, allow_delete=True))
    pinecone.on_request = lambda path: None
    assert job.status == Status.COMPLETED and job.exit_code == 0, job
    check_equal(pinecone, folder)
    return killed


def workers(home: Home) -> list[int]:
    """The processes of this home's workers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(b"kbjobs.daemon.worker" in word for word in command) and str(home.path).encode() in b" ".join(
                command
            ):
                found.append(int(entry.name))
    return found


@pytest.mark.full
@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("seed", range(4 * FACTOR))
def test_random_kills(home: Home, tmp_path: Path, pinecone: PineconeServer, seed: int) -> None:
    folder = make_online(home, tmp_path, pages=300)
    killed = kill_at_random(home, folder, pinecone, seed)
    write_online(folder, [page("wiki", number, title=f"Changed {number}") for number in range(0, 300, 3)])
    killed += kill_at_random(home, folder, pinecone, seed + 1000)
    assert killed


def test_a_cancelled_sync_goes_on(home: Home, tmp_path: Path, pinecone: PineconeServer) -> None:
    folder = make_online(home, tmp_path, pages=300)
    gate = threading.Event()

    def hold(path: str) -> None:
        if path.endswith("/vectors/upsert") and len(pinecone.upserted) > 200:
            gate.wait(20)

    pinecone.on_request = hold
    manager = JobManager(home)
    job_id = manager.submit("pinecone_sync", "wiki")
    wait_until(lambda: len(pinecone.upserted) > 200)
    manager.cancel(job_id)
    gate.set()
    assert finish(manager, job_id).exit_code == 9
    sent = len(set(pinecone.upserted))
    manager.resume(job_id)
    assert finish(manager, job_id).exit_code == 0
    check_equal(pinecone, folder)
    assert len(pinecone.upserted) - 600 <= 16 * 110 and sent <= 600
