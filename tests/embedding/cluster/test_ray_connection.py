"""A cluster that is started for the job: seen by nobody else, and gone with the job, however it ends."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.embedding.cluster.ray_connection import _explain
from kbjobs.embedding.cluster.reaper import find_users
from kbjobs.errors import JobInterrupted, MissingRequirementError
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register, verify
from kbjobs.store.transitions import Status
from tests.conftest import copy_pages, wait_until
from tests.embedding.cluster.conftest import InCluster
from tests.phases.test_index_offline import ledger_vectors, vectors_written
from tests.servers.ray_cluster import Namespace, need_namespaces


def needs_ray(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that starts a cluster."""
    for mark in (pytest.mark.usefixtures("minilm"), pytest.mark.full, pytest.mark.slow):
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def network() -> Iterator[Namespace]:
    """A network with an address beside the loopback, on which nothing must listen."""
    need_namespaces()
    opened = Namespace()
    for command in (
        "ip address add 10.9.8.7/24 dev lo",
        "ip route add default dev lo src 10.9.8.7",
    ):
        assert opened.run(*command.split()).returncode == 0
    yield opened
    opened.close()


@pytest.fixture
def inside(network: Namespace, home: Home) -> Iterator[InCluster]:
    """Runs the real command there."""

    def run(*arguments: str | Path, check: int = 0, **environment: str) -> Any:
        command = [sys.executable, "-m", "kbjobs", *arguments]
        ended = network.run(*command, env={**os.environ, **environment})
        assert ended.returncode == check, f"{arguments}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended

    yield run
    if is_running(home):
        run("daemon", "stop", "--now")


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the test's clusters; Ray's sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="kbt-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def ray_processes() -> list[int]:
    """The processes that belong to clusters of the test."""
    return find_users(Path(os.environ["TMPDIR"]))


def folders() -> list[Path]:
    """The folders that such clusters have left."""
    return list(Path(os.environ["TMPDIR"]).glob("kbjobs-ray-*"))


HOLD = """
from kbjobs.embedding.cluster.ray_connection import connect
from kbjobs.errors import JobInterrupted
connection = connect("local", None, 30, lambda doing: None)
print("up", flush=True)
input()
connection.close()
connect("local", None, 30, lambda doing: None).close()  # as the next phase of a chain does
try:
    connect("127.0.0.1:6379", None, 30, lambda doing: None)
except JobInterrupted as error:
    print(error.message, flush=True)
print("ended", flush=True)
"""


@needs_ray
def test_a_local_cluster_is_seen_by_nobody(home: Home, network: Namespace) -> None:
    with subprocess.Popen(
        [*network.inside, sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "up\n"
        listening = network.run("ss", "--tcp", "--listening", "--numeric", "--no-header").stdout
        addresses = [line.split()[3].rpartition(":")[0] for line in listening.splitlines()]
        assert len(addresses) > 3
        assert all("127.0.0.1" in address for address in addresses), listening
        address, token = find_head(home)
        assert not is_let_in(network, address, RAY_AUTH_MODE="disabled")
        assert not is_let_in(network, address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
        assert is_let_in(network, address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
        holder.stdin.write("\n")
        holder.stdin.flush()
        said = holder.stdout.readlines()
        assert "this job has used a Ray cluster with another token, and Ray takes one for each process\n" in said
        assert "ended\n" in said
    wait_until(lambda: not ray_processes(), 10)


@needs_ray
def test_a_local_cluster_ends_with_its_killed_worker_and_the_job_goes_on(
    home: Home, tmp_path: Path, python_docs: Path, inside: InCluster
) -> None:
    register(home, "docs", [copy_pages(python_docs, tmp_path / "pages", 12)])
    killed = tmp_path / "killed"
    inside(
        "run",
        "index-offline",
        "docs",
        "--engine",
        "ray",
        KBJOBS_CRASH_AT=f"embed.committed:{killed}",
    )
    assert killed.exists()
    manager = JobManager(home)
    job = manager.get_status(1)
    assert (job.status, job.attempt) == (Status.COMPLETED, 2)
    manager.close()
    # Of both clusters: that of the killed worker has not outlived it.
    wait_until(lambda: not ray_processes(), 10)
    assert not folders()
    assert verify(home, "docs").ok
    assert vectors_written(home) == len(ledger_vectors(home)) > 100


def test_what_ray_says_is_told_with_its_remedy() -> None:
    """The first as ray/_private/utils.py of 2.60 words it."""
    mismatch = RuntimeError("Version mismatch: The cluster was started with:\n Ray: 2.50.0\n Python: 3.12.1\nThis")
    explained = _explain(mismatch, "head:6379")
    assert isinstance(explained, MissingRequirementError)
    assert "Ray: 2.50.0 Python: 3.12.1" in explained.message
    assert "Install the same versions" in explained.hint
    away = _explain(ConnectionError("Failed to connect to Ray cluster at head:6379\nmore"), "head:6379")
    assert isinstance(away, JobInterrupted)
    assert away.message.endswith("cannot be used: Failed to connect to Ray cluster at head:6379")
    assert "set-secret RAY_AUTH_TOKEN" in away.hint
    own = _explain(OSError("AF_UNIX path length cannot exceed 107 bytes"), "local")
    assert not isinstance(own, JobInterrupted)
    assert "TMPDIR" in own.hint


def find_head(home: Home) -> tuple[str, str]:
    """The address of the head that the home's daemon has had started, and its token: its user alone can read that."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (process / "environ").read_bytes().decode().split("\0")
            found = re.search(r"--gcs-address=([0-9.:]+)", (process / "cmdline").read_bytes().decode())
            if found and f"KBJOBS_HOME={home.path}" in environment:
                token = next(line for line in environment if line.startswith("RAY_AUTH_TOKEN="))
                return found[1], token.partition("=")[2]
    raise AssertionError("no head runs")


def is_let_in(network: Namespace, address: str, **environment: str) -> bool:
    """Whether the head answers somebody with that environment."""
    ask = (
        "import sys; from ray._raylet import GcsClient; print(len(GcsClient(sys.argv[1]).get_all_node_info(timeout=5)))"
    )
    ended = network.run(sys.executable, "-c", ask, address, env={**os.environ, **environment}, timeout=60)
    if ended.returncode:
        assert "Unauthenticated" in ended.stderr or "authentication" in ended.stderr.lower(), ended.stderr
    return ended.returncode == 0


@needs_ray
def test_a_cancelled_job_ends_its_cluster_and_is_resumed(
    home: Home, tmp_path: Path, python_docs: Path, inside: InCluster
) -> None:
    register(home, "docs", [copy_pages(python_docs, tmp_path / "pages", 24)])
    inside("run", "index-offline", "docs", "--engine", "ray", "--detach")
    manager = JobManager(home)
    log = manager.log_file(manager.get_status(1))
    wait_until(lambda: log.exists() and "engine ray" in log.read_text(), 90)
    inside("cancel", "1")
    inside("wait", "1", check=9)
    wait_until(lambda: not ray_processes(), 10)
    inside("resume", "1")
    inside("wait", "1")
    manager.close()
    assert verify(home, "docs").ok
    assert not folders()
