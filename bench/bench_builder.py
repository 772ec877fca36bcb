"""What pages that watch cost: from submit to the first phase of a job, with ten streams of events open and without.

200 jobs wait in the queue. Submits are timed in turns, with and without ten streams, which are read by httpx. Also: how
long the list of jobs takes to be shown, and the memory of the builder's process.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from measuring import KBJOBS, temporary_home

from kbjobs.daemon.launching import stop_daemon
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.jobs import Limits

STREAMS = 10
WAITING = 200
SUBMITS = 100
ROUND = 10


@contextmanager
def builder() -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """``kbjobs builder``, and a client that carries its token."""
    process = subprocess.Popen([*KBJOBS, "builder", "--json"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = ""
    while not told.endswith("}\n"):
        told += process.stdout.readline()
    found = json.loads(told)
    headers = {"Authorization": f"Bearer {found['token']}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{found['port']}", headers=headers, timeout=30) as client:
        yield process, client
    process.terminate()
    process.wait(10)


@contextmanager
def streams(client: httpx.Client, count: int) -> Iterator[list[int]]:
    """So many streams of events, read by a thread each; gives the number of lines that each has read."""
    seen = [0] * count
    others = [httpx.Client(base_url=client.base_url, headers=client.headers, timeout=None) for _ in range(count)]

    def read(number: int) -> None:
        try:
            with others[number].stream("GET", "/api/events") as answer:
                for _ in answer.iter_lines():
                    seen[number] += 1
        except httpx.HTTPError:
            return

    threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    while not all(seen):
        time.sleep(0.01)
    yield seen
    for other in others:
        other.close()


def submit_to_phase(manager: JobManager) -> float:
    """Seconds from a submit until the job is at work in its first phase, or has ended."""
    began = time.perf_counter()
    job = manager.submit_job("metadata", "docs", {}, priority=10)
    while True:
        now = manager.get_status(job.id)
        if now.phase is not None or now.has_ended:
            break
        time.sleep(0.001)
    taken = time.perf_counter() - began
    while not manager.get_status(job.id).has_ended:
        time.sleep(0.005)
    return taken


def main() -> None:
    """Measure and print."""
    with temporary_home() as home:
        pages = Path(home.path) / "pages"
        pages.mkdir()
        (pages / "a.html").write_text("<html><body><p>Water boils and the kettle sings.</p></body></html>")
        register(home, "docs", [pages])
        manager = JobManager(home)
        later = Limits(not_before=time.time() + 86_400)
        for number in range(WAITING):
            name = f"s{number}"
            register(home, name, [pages])
            manager.submit_job("metadata", name, {}, limits=later)
        submit_to_phase(manager)
        alone: list[float] = []
        watched: list[float] = []
        with builder() as (process, client):
            began = time.perf_counter()
            assert client.get("/jobs").status_code == 200
            first = time.perf_counter() - began
            shown = statistics.median(_timed(client) for _ in range(9))
            for _ in range(SUBMITS // ROUND):
                alone += [submit_to_phase(manager) for _ in range(ROUND)]
                with streams(client, STREAMS):
                    watched += [submit_to_phase(manager) for _ in range(ROUND)]
            status = Path(f"/proc/{process.pid}/status").read_text()
            memory = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
        stop_daemon(home, now=True, seconds=20)
    a, b = statistics.median(alone), statistics.median(watched)
    print(f"submit to phase, median of {len(alone)}: {a * 1e3:.0f} ms alone, {b * 1e3:.0f} ms with {STREAMS} streams:")
    print(f"  {(b - a) * 1e3:+.0f} ms (bar +50)")
    print(f"the list with {WAITING} jobs waiting: {first * 1e3:.0f} ms at first, then {shown * 1e3:.0f} ms (bar 300)")
    print(f"memory of the builder at most: {memory:.0f} MB (bar 150)")


def _timed(client: httpx.Client) -> float:
    began = time.perf_counter()
    client.get("/jobs")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
