"""The queue, like for like: enqueue, claim and finish of each job, against SqliteHuey and persist-queue.

Durability: synchronous FULL and NORMAL, set the same way in all (huey: fsync=True is FULL; persist-queue commits each
call, its pragma is set on its connections). A claim of kbjobs is not synced by itself but by the first record of the
worker, which is not counted here. Then: the time of a claim and of a status with a long history against the
same with none, and how many no-op jobs a second go through real workers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chaos import TYPES
from measuring import KBJOBS, compare, temporary_home, wall_seconds

from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.errors import ExitCode
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import NewJob
from kbjobs.store.queue import Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.sources import Source, SourceFolder
from kbjobs.store.transitions import Event

JOBS = 1000
ROUNDS = 15
HISTORY = 100_000
PUEUE_STARTS = 3.0  # a second and slot: its loop looks every 300 ms (src/daemon/task_handler of pueue)


def warm_rate(work: Callable[[int], None]) -> float:
    """Jobs a second once the write-ahead log has its full size: while it grows, each sync also writes its length."""
    work(JOBS)
    started = time.perf_counter()
    work(JOBS)
    return JOBS / (time.perf_counter() - started)


def kbjobs_rate(folder: Path, synchronous: str) -> float:
    """Jobs a second through submit, claim and finish."""
    queue = Queue(folder / "state.db")
    queue.set_durability(synchronous)

    def work(count: int) -> None:
        for number in range(count):
            queue.submit(NewJob("noop", f"s{number}", {}, (), (f"source:s{number}",)))
        for number in range(count):
            job = queue.claim(f"run{number}")
            assert job is not None
            queue.finish(job.id, f"run{number}", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"), {})

    rate = warm_rate(work)
    queue.close()
    return rate


def huey_rate(folder: Path, synchronous: str) -> float:
    """Jobs a second through enqueue, dequeue and storing of the result."""
    from huey import SqliteHuey

    huey = SqliteHuey(filename=str(folder / "huey.db"), fsync=synchronous == "FULL")

    def do_nothing(number: int) -> int:
        return number

    noop = huey.task()(do_nothing)

    def work(count: int) -> None:
        for number in range(count):
            noop(number)
        for _ in range(count):
            huey.execute(huey.dequeue())

    return warm_rate(work)


def persist_queue_rate(folder: Path, synchronous: str) -> float:
    """Jobs a second through put, get and ack."""
    import persistqueue

    queue = persistqueue.SQLiteAckQueue(str(folder / "pq"), auto_commit=True, multithreading=True)
    for connection in {queue._putter, queue._getter}:
        assert connection is not None
        connection.execute(f"PRAGMA synchronous = {synchronous}")

    def work(count: int) -> None:
        for number in range(count):
            queue.put({"type": "noop", "source": f"s{number}"})
        for _ in range(count):
            queue.ack(queue.get(block=False))

    return warm_rate(work)


def compare_rates() -> None:
    """Print the rates of all three, measured in turn, each round in new folders."""
    measures = {"kbjobs": kbjobs_rate, "SqliteHuey": huey_rate, "persist-queue": persist_queue_rate}
    for synchronous in ("FULL", "NORMAL"):
        rates: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(ROUNDS):
            for name, measure in measures.items():
                with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as folder:
                    rates[name].append(measure(Path(folder), synchronous))
        medians = {name: statistics.median(found) for name, found in rates.items()}
        faster = max((name for name in medians if name != "kbjobs"), key=lambda name: medians[name])
        # Round by round: what disturbs a round disturbs all three.
        ratio = statistics.median(ours / peer for ours, peer in zip(rates["kbjobs"], rates[faster], strict=True))
        told = ", ".join(f"{name} {rate:,.0f}" for name, rate in medians.items())
        bar = " (bar 1.0)" if synchronous == "FULL" else ""
        print(f"synchronous {synchronous}, jobs/s: {told}; of {faster}: {ratio:.2f}{bar}")


def seconds_of_each(*actions: Callable[[int], object], times: int = 200) -> list[float]:
    """Median seconds of one call of each, called in turn."""
    samples: list[list[float]] = [[] for _ in actions]
    for number in range(times):
        for action, found in zip(actions, samples, strict=True):
            started = time.perf_counter()
            action(number)
            found.append(time.perf_counter() - started)
    return [statistics.median(found) for found in samples]


def fill_history(queue: Queue, count: int) -> None:
    """Ended jobs as they stand in the state, written in one go."""
    job = queue.submit(NewJob("noop", "old", {}, (), ("source:old",)))
    queue.claim("old")
    queue.finish(job.id, "old", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"), {"documents": 12})
    columns = [row[1] for row in queue.connection.execute("PRAGMA table_info(jobs)") if row[1] != "id"]
    names = ", ".join(columns)
    queue.connection.execute(
        f"INSERT INTO jobs ({names}) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        f" SELECT {names} FROM jobs, n WHERE id = ?",
        (count, job.id),
    )
    queue.connection.execute("ANALYZE")


def compare_history() -> None:
    """Print the time of a claim and of ``kbjobs status`` with and without a long history."""
    queues, homes = [], []
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as folder:
        for count in (0, HISTORY):
            home = Home(Path(folder) / str(count))
            home.prepare()
            homes.append(home)
            queue = Queue(home.state_file)
            if count:
                fill_history(queue, count)
            for number in range(400):
                queue.submit(NewJob("noop", f"s{number}", {}, (), (f"source:s{number}",)))
            queues.append(queue)
        none, many = seconds_of_each(*[lambda n, q=queue: q.claim(f"run{n}") for queue in queues])
        for queue in queues:
            queue.connection.execute("DELETE FROM locks")
            queue.connection.execute("UPDATE jobs SET status = 'failed' WHERE status = 'running'")
            queue.connection.execute("DELETE FROM jobs WHERE status = 'pending'")
            queue.close()
        print(
            f"claim with {HISTORY:,} jobs in history: {many * 1e3:.2f} ms against {none * 1e3:.2f} with none:"
            f" ratio {many / none:.2f} (bar 1.2)"
        )

        def status(home: Home) -> float:
            os.environ[HOME_VARIABLE] = str(home.path)
            return wall_seconds([*KBJOBS, "status"])

        compare(
            f"kbjobs status with {HISTORY:,} jobs in history, seconds",
            lambda: status(homes[1]),
            lambda: status(homes[0]),
            15,
            1.2,
        )


def no_op_jobs() -> None:
    """Print how many jobs a second go through real workers, by slot."""
    count = 60
    os.environ["PYTHONPATH"] = str(TYPES)
    with temporary_home() as home:
        import sys

        sys.path.insert(0, str(TYPES))
        manager = JobManager(home)
        for number in range(count):
            SourceFolder(home.sources, f"s{number}").write(Source(f"s{number}", ("/",)))
        started = time.perf_counter()
        ids = [manager.submit("steps", f"s{number}", count=0) for number in range(count)]
        for _ in manager.follow(ids, revive=False):
            pass
        slots = manager.settings.integer("workers")
        rate = count / (time.perf_counter() - started)
        manager.close()
    print(
        f"no-op jobs through real workers: {rate:.1f}/s, {rate / slots:.1f} a slot"
        f" (bar: pueue's {PUEUE_STARTS:g} a slot)"
    )


def main() -> None:
    """Print all three."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("rates", "history", "workers"))
    only = parser.parse_args().only
    for name, measure in (("rates", compare_rates), ("history", compare_history), ("workers", no_op_jobs)):
        if only in (None, name):
            measure()


if __name__ == "__main__":
    main()
