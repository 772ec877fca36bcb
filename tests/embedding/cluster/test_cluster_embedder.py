"""Indexing on a cluster of three simulated nodes: the ledger is that of the local engine, whatever dies meanwhile."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.services.sources import register, verify
from tests.conftest import copy_pages, write_pages
from tests.embedding.cluster.conftest import InCluster, add_node
from tests.embedding.cluster.engines import BREAKS, FAILS, KILLS
from tests.phases.test_index_offline import index, ledger_vectors, vectors_written
from tests.servers.ray_cluster import RayCluster

pytestmark = [pytest.mark.usefixtures("minilm"), pytest.mark.full, pytest.mark.slow]


def read_notes(notes: Path) -> Counter[str]:
    """How often each text was embedded; the notes are thrown away."""
    found: Counter[str] = Counter()
    for file in notes.iterdir():
        found.update(file.read_text().splitlines())
        file.unlink()
    return found


def compare_vectors(found: dict[str, bytes], wanted: dict[str, bytes]) -> None:
    """The same passages, and the same vectors but for rounding."""
    assert found.keys() == wanted.keys()
    for text_hash, vector in wanted.items():
        assert float(np.frombuffer(vector, "<f4") @ np.frombuffer(found[text_hash], "<f4")) >= 0.9999


def test_a_job_embeds_on_all_nodes_and_the_ledger_is_that_of_the_local_engine(
    home: Home, tmp_path: Path, python_docs: Path, inside: InCluster
) -> None:
    pages = copy_pages(python_docs, tmp_path / "pages", 12)
    register(home, "docs", [pages])
    killed = tmp_path / "killed"  # the worker is, after its first commit; the daemon has it go on
    command = ("run", "index-offline", "docs", "--engine", "ray", "--json")
    job = json.loads(inside(*command, KBJOBS_CRASH_AT=f"embed.committed:{killed}").stdout.splitlines()[-1])["job"]
    assert (killed.exists(), job["attempt"]) == (True, 2)
    assert job["result"]["engine"].startswith("ray (")
    assert job["result"]["embedded"] == vectors_written(home) > 100
    log = inside("logs", "1").stdout
    assert "3 of 3 actors ready" in log
    assert log.count("parity 0.99") + log.count("parity 1.00") == 3
    assert "python 3." in log
    assert "openvino" in log
    found = ledger_vectors(home)
    assert verify(home, "docs").ok
    # Another engine is no other model: nothing is embedded again.
    again = inside("run", "index-offline", "docs", "--engine", "auto", "--json").stdout.splitlines()[-1]
    assert json.loads(again)["job"]["result"]["embedded"] == 0
    register(home, "calm", [pages])
    index(home, "calm")
    compare_vectors(found, ledger_vectors(home, "calm"))


def test_texts_that_kill_fail_or_break_are_named_and_all_others_embedded(
    home: Home, tmp_path: Path, notes: Path, index_with: InCluster
) -> None:
    pages = write_pages(tmp_path / "pages", 200)
    for name, harm in (("a", KILLS), ("b", FAILS), ("c", BREAKS)):
        (pages / f"{name}.html").write_text(f"<html lang=en><title>{name}</title><p>Beware, {harm}, of {name}.</p>")
    register(home, "docs", [pages])
    read_notes(notes)
    result, log = index_with("load_harmful")
    assert (result["failed"], result["embedded"]) == (3, 200), log
    lines = re.findall(r"(?s)not embedded: .*?(?=\n\d{4}-)", log)
    assert len(lines) == 3
    assert any(KILLS in line and "dies each time" in line for line in lines)
    assert any(FAILS in line and "it says so" in line for line in lines)
    assert any(BREAKS in line and "out of order" in line for line in lines)
    assert vectors_written(home) == 200


def test_a_node_with_other_vectors_is_not_used(
    home: Home, tmp_path: Path, cluster: RayCluster, engines: Path, notes: Path, index_with: InCluster
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 100)])
    crooked = add_node(cluster, engines, notes, KBT_CROOKED="1")
    try:
        result, log = index_with("load_crooked", KBT_READY="3")
    finally:
        cluster.kill(crooked)
    assert (result["failed"], result["embedded"]) == (0, 100), log
    assert log.count("is not used: its vectors") == 1
    found = ledger_vectors(home)
    register(home, "calm", [tmp_path / "pages"])
    index(home, "calm")
    compare_vectors(found, ledger_vectors(home, "calm"))
