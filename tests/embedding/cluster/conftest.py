"""A cluster of three simulated nodes, for the tests of a module."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from tests.conftest import MODEL
from tests.servers.ray_cluster import RayCluster, need_namespaces


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the nodes' engines note what they embed."""
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, engines: Path, notes: Path) -> Iterator[RayCluster]:
    """Three nodes of one CPU each; the model is prepared there."""
    need_namespaces()
    engines.mkdir(exist_ok=True)
    started = RayCluster(tmp_path_factory.mktemp("cluster"))
    try:
        for _ in range(3):
            add_node(started, engines, notes)
        yield started
    finally:
        started.close()


def add_node(cluster: RayCluster, engines: Path, notes: Path, **environment: str) -> int:
    """Add a node that finds its models prepared."""
    number = cluster.add(1, KBT_NOTES=str(notes), KBT_SLEEP="0.05", **environment)
    (cluster.homes[number] / "engines").symlink_to(engines)
    return number


InCluster = Callable[..., Any]


@pytest.fixture
def inside(cluster: RayCluster, home: Home) -> Iterator[InCluster]:
    """Runs the real command in the test's home, where the cluster's ports are; its daemon is there too."""

    def run(*arguments: str | Path, check: int = 0, **environment: str) -> Any:
        ended = cluster.run(
            sys.executable,
            "-m",
            "kbjobs",
            *arguments,
            env={**os.environ, "RAY_ADDRESS": cluster.address, **environment},
        )
        assert ended.returncode == check, f"{arguments}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended

    yield run
    if is_running(home):
        run("daemon", "stop", "--now")


@pytest.fixture
def index_with(cluster: RayCluster) -> InCluster:
    """Indexes the source ``docs`` with an engine of the tests; returns the result and what was logged."""

    def run(load: str, address: str = "", **environment: str) -> tuple[dict[str, Any], str]:
        ended = cluster.run(
            sys.executable,
            "-m",
            "tests.embedding.cluster.indexing",
            "docs",
            address or cluster.address,
            load,
            env={**os.environ, "KBJOBS_MODEL": MODEL, **environment},
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout.splitlines()[-1]), ended.stderr

    return run
