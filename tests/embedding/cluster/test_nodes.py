"""A node without the model, or without what runs it; a cluster that is not there, or has no room."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.embedding.cluster.model_transfer import pack_model
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.services.sources import register, verify
from tests.conftest import wait_until, write_pages
from tests.embedding.cluster.conftest import InCluster
from tests.embedding.cluster.test_cluster_embedder import read_notes
from tests.servers.ray_cluster import ROOT, RayCluster, need_namespaces

pytestmark = [pytest.mark.full, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """A head without nodes that work; each test adds those that it needs."""
    need_namespaces()
    started = RayCluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield started
    finally:
        started.close()


@pytest.fixture(autouse=True)
def no_nodes(cluster: RayCluster) -> Iterator[None]:
    """The next test begins with no node of this one."""
    yield
    for node in list(cluster.nodes):
        cluster.kill(node)


@pytest.fixture
def small(home: Home, small_model: Path) -> Path:
    """A model that only the home has: no package, no cache."""
    folder = home.models / "acme" / "small"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(small_model)
    return folder


def test_a_node_without_the_model_gets_it_once(
    home: Home, tmp_path: Path, cluster: RayCluster, small: Path, inside: InCluster
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 60)])
    for _ in range(2):
        cluster.add(2)
    command = ("run", "index-offline", "docs", "--engine", "ray", "--model", "acme/small", "--json")
    job = json.loads(inside(*command, KBJOBS_RAY_CPUS="1").stdout.splitlines()[-1])["job"]
    assert (job["result"]["embedded"], job["result"]["failed"]) == (60, 0)
    log = inside("logs", "1").stdout
    assert log.count("sending acme/small") == 2, log
    parcel = pack_model(find_model("acme/small", home.models), home.engines)
    for number in cluster.nodes[-2:]:
        (taken,) = (path for path in (cluster.homes[number] / "cluster").iterdir() if path.is_dir())
        assert {path.relative_to(taken).as_posix() for path in taken.rglob("*") if path.is_file()} == {
            name for name, _, _ in parcel.files
        }
    again = inside(*command, "--force", KBJOBS_RAY_CPUS="1")
    assert json.loads(again.stdout.splitlines()[-1])["job"]["result"]["embedded"] == 60
    assert "sending" not in inside("logs", "2").stdout
    assert verify(home, "docs").ok


def test_a_node_without_the_libraries_is_named_and_others_do_the_work(
    home: Home, tmp_path: Path, cluster: RayCluster, small: Path, inside: InCluster
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 20)])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tokenizers.py").write_text("raise ModuleNotFoundError(\"No module named 'tokenizers'\")\n")
    cluster.add(PYTHONPATH=f"{tmp_path / 'broken'}:{ROOT}")
    command = ("run", "index-offline", "docs", "--engine", "ray", "--model", "acme/small")
    refused = inside(*command, check=1).stderr
    assert "no node of the Ray cluster can be used" in refused
    assert "No module named 'tokenizers'" in refused
    assert 'pip install "kbjobs[ray,fast]"' in refused
    cluster.add()
    inside("resume", "1")
    inside("wait", "1")
    log = inside("logs", "1").stdout
    assert log.count("is not used: No module named 'tokenizers'") == 1
    assert verify(home, "docs").ok


def test_a_cluster_without_room_or_that_is_not_there_ends_the_job_interrupted(
    home: Home, tmp_path: Path, small: Path, inside: InCluster
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 5)])
    command = ("run", "index-offline", "docs", "--engine", "ray", "--model", "acme/small")
    none = inside(*command, check=10, KBJOBS_RAY_WAIT="2").stderr
    # Ray may still list the nodes of the test before.
    assert re.search(r"has no room: (it has no node with CPUs|no CPU of its \d nodes? was free) for 2 s", none)
    assert "kbjobs resume 1" in none
    absent = inside(*command, "--ray-address", "127.0.0.1:6399", check=10)
    assert "there is no Ray cluster at 127.0.0.1:6399 (Connection refused)" in absent.stderr
    assert "Start it there with ray start --head" in absent.stderr
    assert "kbjobs resume 2" in absent.stderr
    assert json.loads(inside("status", "2", "--json").stdout)["status"] == "interrupted"


def test_a_node_that_joins_while_a_job_runs_is_used(
    home: Home, tmp_path: Path, cluster: RayCluster, index_with: InCluster
) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    for number in range(30):
        words = " ".join(f"word{number}-{index}" for index in range(600))
        (pages / f"{number}.html").write_text(f"<html><title>{number}</title><body><p>{words}.</p></body></html>")
    register(home, "docs", [pages])
    notes = tmp_path / "notes"
    notes.mkdir()
    cluster.add(KBT_NOTES=str(notes), KBT_SLEEP="3")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(index_with, "load_sleeping", KBT_READY="1")  # Ray still lists the nodes of other tests
        wait_until(lambda: any(notes.iterdir()) or running.done(), 120)
        cluster.add(KBT_NOTES=str(notes), KBT_SLEEP="3")
        said, logged = running.result()
    assert said["failed"] == 0, said
    assert len(re.findall(r"sleeping, parity", logged)) == 2, logged
    assert len(list(notes.iterdir())) == 2  # one for each process
    embedded = read_notes(notes)
    assert len(embedded) == said["embedded"]
    assert set(embedded.values()) == {1}
