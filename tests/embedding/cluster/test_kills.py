"""Kill actors, nodes and the driver at any moment: every passage is embedded, and none twice but those in flight."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.sources import register, verify
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import FACTOR, MODEL, copy_pages, wait_until
from tests.embedding.cluster.conftest import add_node
from tests.embedding.cluster.test_cluster_embedder import compare_vectors, read_notes
from tests.phases.test_index_offline import index, ledger_vectors, vectors_written
from tests.servers.ray_cluster import RayCluster

KILLS, PAGES = (4, 16) if FACTOR == 1 else (10, 220)  # of which the latter make 3,000 passages
IN_FLIGHT = 2 * 3  # blocks of three actors
BLOCK = 64  # passages of a block of these pages, at most
pytestmark = [pytest.mark.usefixtures("minilm"), pytest.mark.full, pytest.mark.slow]


def has_vectors(home: Home) -> bool:
    """Whether the first block is in the ledger."""
    ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
    row = ledger.connection.execute("SELECT count(*) FROM vectors").fetchone()
    ledger.close()
    return bool(row[0])


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(max(1, FACTOR // 10)))
def test_random_kills_change_nothing(
    home: Home, tmp_path: Path, python_docs: Path, cluster: RayCluster, engines: Path, notes: Path, seed: int
) -> None:
    pages = copy_pages(python_docs, tmp_path / "pages", PAGES)
    register(home, "docs", [pages])
    read_notes(notes)
    generator = random.Random(seed)
    killed: Counter[str] = Counter()

    def kill(driver: subprocess.Popen[str]) -> None:
        victim = generator.choices(("actor", "node", "driver"), (5, 2, 2))[0]
        if victim == "driver":
            driver.kill()
        elif victim == "node":
            cluster.kill(generator.choice(cluster.nodes))
            add_node(cluster, engines, notes)
        elif actors := cluster.actors():
            os.kill(generator.choice(actors), signal.SIGKILL)
        else:
            return
        killed[victim] += 1

    command = [*cluster.inside, sys.executable, "-m", "tests.embedding.cluster.indexing", "docs", cluster.address]
    environment = {**os.environ, "KBJOBS_MODEL": MODEL, "KBT_READY": "1"}
    out, code = "", -1
    while code != 0:
        with (tmp_path / "driver.log").open("a") as log:
            driver = subprocess.Popen(
                [*command, "load_noting"], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        while driver.poll() is None and killed.total() < KILLS:
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(generator.uniform(0.5, 3 if FACTOR == 1 else 6))
                continue
            kill(driver)
        out, _ = driver.communicate(timeout=600)
        code = driver.returncode
    said = (tmp_path / "driver.log").read_text()
    result = json.loads(out.splitlines()[-1])
    assert result.get("failed") == 0, (result, said[-3000:])
    embedded = read_notes(notes)
    assert len(embedded) == vectors_written(home) == len(ledger_vectors(home))
    print(f"{dict(killed)}: {len(embedded):,} passages, {embedded.total() - len(embedded):,} in flight embedded again")
    blocks = 2 * killed["actor"] + 2 * killed["node"] + IN_FLIGHT * killed["driver"]
    assert embedded.total() - len(embedded) <= BLOCK * blocks
    assert verify(home, "docs").ok
    found = ledger_vectors(home)
    register(home, "calm", [pages])
    index(home, "calm")
    compare_vectors(found, ledger_vectors(home, "calm"))


def test_a_cluster_that_goes_away_ends_the_job_interrupted_and_a_new_one_goes_on(
    home: Home, tmp_path: Path, python_docs: Path, cluster: RayCluster, engines: Path, notes: Path
) -> None:
    """The last test of this module: the cluster is gone then."""
    register(home, "docs", [copy_pages(python_docs, tmp_path / "pages", 60)])
    read_notes(notes)
    environment = {**os.environ, "KBJOBS_MODEL": MODEL, "KBJOBS_RAY_WAIT": "5"}
    command = [*cluster.inside, sys.executable, "-m", "tests.embedding.cluster.indexing", "docs", cluster.address]
    with (tmp_path / "driver.log").open("w") as log:
        driver = subprocess.Popen(
            [*command, "load_noting"], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    wait_until(lambda: has_vectors(home), 60)
    for node in list(cluster.nodes):
        cluster.kill(node)
    cluster.kill("head")
    out, _ = driver.communicate(timeout=60)
    said = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
    assert said["kind"] == "JobInterrupted", said
    assert f"the Ray cluster at {cluster.address} has gone away" in said["error"]
    assert "is kept" in said["hint"]
    other = RayCluster(tmp_path)
    try:
        add_node(other, engines, notes)
        ended = other.run(*command[2:], "load_noting", env=environment)
    finally:
        other.close()
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1])["failed"] == 0
    embedded = read_notes(notes)
    assert embedded.total() - len(embedded) <= BLOCK * IN_FLIGHT
    assert verify(home, "docs").ok
