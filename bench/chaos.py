"""Kills workers and the daemon at random while quick jobs over several sources run, and counts what went wrong.

Prints jobs lost, steps done twice, meetings of two jobs on one source, and how long recovery took. The same workload
goes through huey's SQLite consumer, which is killed in the same way. The campaign has 300 kills, the suite 25.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.daemon.launching import ensure_daemon, is_running, stop_daemon
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import Job
from kbjobs.store.sources import Source, SourceFolder
from kbjobs.store.transitions import Status

TYPES = Path(__file__).resolve().parents[1] / "tests" / "job_types"
SOURCES = 4
STEP_SECONDS = 0.02
STEPS = 60
STALL_AFTER = 5.0
VICTIMS = ("worker", "daemon", "both", "stopped worker", "stopped daemon")


@dataclass
class Outcome:
    """What a campaign found."""

    kills: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    lost: int = 0
    doubled: int = 0
    missing: int = 0
    meetings: int = 0
    recoveries: list[float] = field(default_factory=list)

    def report(self, name: str) -> str:
        """One line with every figure."""
        text = (
            f"{name}: {sum(self.kills.values())} kills ({', '.join(f'{n} {what}' for what, n in self.kills.items())}),"
            f" {self.jobs} jobs: {self.lost} lost, {self.missing} steps missing, {self.doubled} steps done twice,"
            f" {self.meetings} meetings of two on one source"
        )
        if len(self.recoveries) > 1:
            cuts = statistics.quantiles(self.recoveries, n=100)
            text += f"; recovery p50 {statistics.median(self.recoveries):.2f} s, p99 {cuts[98]:.2f} s"
        return text


def run_campaign(home: Home, kills: int, seed: int) -> Outcome:
    """Keep the queue full until so many kills have happened, then let all jobs end and count."""
    generator = random.Random(seed)
    manager = JobManager(home)
    for number in range(SOURCES):
        SourceFolder(home.sources, f"s{number}").write(Source(f"s{number}", ("/",)))
    outcome = Outcome()
    submitted: list[int] = []
    waiting: dict[int, tuple[int, float]] = {}  # job -> attempt that was killed, and when
    while sum(outcome.kills.values()) < kills:
        ensure_daemon(home)
        while len(manager.get_active_jobs()) < 2 * SOURCES:
            source = f"s{len(submitted) % SOURCES}"
            params = {"count": STEPS, "seconds": STEP_SECONDS, "number": len(submitted)}
            submitted.append(manager.submit_job("steps", source, params).id)
        time.sleep(generator.uniform(0.0, 0.4))
        _note_recoveries(manager, waiting, outcome)
        running = [job for job in manager.get_active_jobs() if job.status is Status.RUNNING and job.pid]
        victim = generator.choices(VICTIMS, (65, 15, 10, 5, 5))[0]
        if victim not in ("daemon", "stopped daemon"):
            running = [job for job in running if job.id not in waiting]
            if not running:
                continue
        _strike_daemon(manager, victim, generator)
        if victim not in ("daemon", "stopped daemon"):
            _strike(manager, generator.choice(running), victim, waiting)
        outcome.kills[victim] += 1
        if victim in ("daemon", "both"):
            while is_running(home):
                time.sleep(0.005)
    ensure_daemon(home)
    for _ in manager.follow(submitted, revive=True):
        _note_recoveries(manager, waiting, outcome)
    _count(home, manager, submitted, outcome)
    manager.close()
    return outcome


def _strike_daemon(manager: JobManager, victim: str, generator: random.Random) -> None:
    """Kill or stop the daemon if it is the victim, or one of two."""
    daemon = manager.get_daemon().pid
    if victim in ("daemon", "both") and daemon is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(daemon, signal.SIGKILL)
    if victim == "stopped daemon" and daemon is not None:
        os.kill(daemon, signal.SIGSTOP)
        time.sleep(generator.uniform(0.0, 1.0))
        os.kill(daemon, signal.SIGCONT)


def run_unattended(home: Home, kills: int, seed: int) -> Outcome:
    """Queue all jobs, kill the daemon alone so many times, and let all jobs end: nobody runs a command meanwhile."""
    generator = random.Random(seed)
    manager = JobManager(home)
    for number in range(SOURCES):
        SourceFolder(home.sources, f"s{number}").write(Source(f"s{number}", ("/",)))
    outcome = Outcome()
    submitted = []
    for number in range(2 * kills + SOURCES):
        params = {"count": STEPS, "seconds": 2 * STEP_SECONDS, "number": number}
        submitted.append(manager.submit_job("steps", f"s{number % SOURCES}", params).id)
    killed = 0.0
    victim: int | None = None
    deadline = time.monotonic() + 60 * len(submitted)
    while not all(manager.get_status(job_id).has_ended for job_id in submitted) and time.monotonic() < deadline:
        time.sleep(0.01)
        daemon = manager.get_daemon().pid
        if daemon in (None, victim):
            continue
        if victim is not None:
            outcome.recoveries.append(time.monotonic() - killed)
            victim = None
        if outcome.kills["daemon"] < kills:
            time.sleep(generator.uniform(0.0, 1.0))
            with contextlib.suppress(ProcessLookupError):
                os.kill(daemon, signal.SIGKILL)
            victim, killed = daemon, time.monotonic()
            outcome.kills["daemon"] += 1
    _count(home, manager, submitted, outcome)
    manager.close()
    return outcome


def _strike(manager: JobManager, job: Job, victim: str, waiting: dict[int, tuple[int, float]]) -> None:
    # The process may have ended between the look and the blow; only a blow that met it is waited for.
    with contextlib.suppress(ProcessLookupError):
        assert job.pid is not None
        os.kill(job.pid, signal.SIGSTOP if victim == "stopped worker" else signal.SIGKILL)
        if victim != "stopped worker":
            waiting[job.id] = (job.attempt, time.monotonic())


def _note_recoveries(manager: JobManager, waiting: dict[int, tuple[int, float]], outcome: Outcome) -> None:
    for job_id, (attempt, since) in list(waiting.items()):
        job = manager.get_status(job_id)
        if job.attempt > attempt or job.has_ended:
            if job.attempt > attempt:
                outcome.recoveries.append(time.monotonic() - since)
            del waiting[job_id]


def _count(home: Home, manager: JobManager, submitted: list[int], outcome: Outcome) -> None:
    sys.path.insert(0, str(TYPES))
    import kbjobs_test_types

    outcome.jobs = len(submitted)
    outcome.lost = sum(manager.get_status(job_id).status is not Status.COMPLETED for job_id in submitted)
    done: Counter[tuple[int, int]] = Counter()
    for number in range(SOURCES):
        ledger = kbjobs_test_types.open_ledger(home.sources / f"s{number}")
        done.update((row[0], row[1]) for row in ledger.execute("SELECT job, step FROM steps"))
        outcome.meetings += ledger.execute("SELECT count(*) FROM meetings").fetchone()[0]
        ledger.close()
    outcome.doubled = sum(times - 1 for times in done.values())
    outcome.missing = STEPS * len(submitted) - len(done)


HUEY = """
import sqlite3, time
from huey import SqliteHuey
huey = SqliteHuey(filename="huey.db", fsync=True)

def ledger():
    connection = sqlite3.connect("steps.db", timeout=30, isolation_level=None)
    connection.execute("CREATE TABLE IF NOT EXISTS steps (job INTEGER, step INTEGER)")
    return connection

@huey.task(retries=5)
def work(job):
    steps = ledger()
    done = {row[0] for row in steps.execute("SELECT step FROM steps WHERE job = ?", (job,))}
    for step in range(%d):
        if step not in done:
            time.sleep(%f)
            steps.execute("INSERT INTO steps VALUES (?, ?)", (job, step))
"""


def run_huey(kills: int, seed: int) -> Outcome:
    """The same jobs through huey's consumer (two process workers), whose processes are killed at random."""
    import sqlite3

    generator = random.Random(seed)
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="kbjobs-huey-") as folder:
        Path(folder, "tasks.py").write_text(HUEY % (STEPS, STEP_SECONDS))
        enqueue = "import tasks\nfor job in range({}, {}): tasks.work(job)\nprint(len(tasks.huey))"
        consumer = [str(Path(sys.executable).with_name("huey_consumer")), "tasks.huey", "-w", "2", "-k", "process"]
        run: dict[str, Any] = {
            "cwd": folder,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "start_new_session": True,
            "env": {**os.environ, "PYTHONPATH": folder},
        }

        def pending() -> int:
            with contextlib.closing(sqlite3.connect(Path(folder, "huey.db"), timeout=30)) as database:
                return int(database.execute("SELECT count(*) FROM task").fetchone()[0])

        process = None
        while outcome.kills["consumer"] < kills:
            if process is None:
                process = subprocess.Popen(consumer, **run)
            subprocess.run([sys.executable, "-c", enqueue.format(outcome.jobs, outcome.jobs + 2)], check=True, **run)
            outcome.jobs += 2
            time.sleep(generator.uniform(0.3, 1.0))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process = None
            outcome.kills["consumer"] += 1
        process = subprocess.Popen(consumer, **run)
        while pending():
            time.sleep(0.1)
        time.sleep(2 * STEPS * STEP_SECONDS + 2)  # for the tasks in hand: huey does not tell when they end
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with contextlib.closing(sqlite3.connect(Path(folder, "steps.db"))) as steps:
            done = Counter(tuple(row) for row in steps.execute("SELECT job, step FROM steps"))
    finished = Counter(job for job, _ in done)
    outcome.lost = sum(finished[job] < STEPS for job in range(outcome.jobs))
    outcome.doubled = sum(times - 1 for times in done.values())
    outcome.missing = STEPS * outcome.jobs - len(done)
    return outcome


@contextlib.contextmanager
def chaos_home(folder: Path) -> Iterator[Home]:
    """A home whose workers know the quick job type and may die often."""
    home = Home(folder)
    os.environ.update(
        {
            HOME_VARIABLE: str(folder),
            "PYTHONPATH": str(TYPES),
            "KBJOBS_MAX_DEATHS": "1000",
            "KBJOBS_STALL_AFTER": str(STALL_AFTER),
        }
    )
    sys.path.insert(0, str(TYPES))
    home.prepare()
    try:
        yield home
    finally:
        stop_daemon(home, now=True, seconds=60)


def main() -> None:
    """Print one line each; exit 1 where anything was lost, doubled or met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--unattended", action="store_true", help="kill the daemon alone, and run no command meanwhile")
    parser.add_argument("--huey-kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kbjobs-chaos-") as folder, chaos_home(Path(folder)) as home:
        campaign = run_unattended if options.unattended else run_campaign
        ours = campaign(home, options.kills, options.seed)
    print(ours.report("kbjobs"), flush=True)
    if options.huey_kills and not options.unattended:
        print(run_huey(options.huey_kills, options.seed).report("huey"))
    sys.exit(1 if ours.lost or ours.doubled or ours.missing or ours.meetings else 0)


if __name__ == "__main__":
    main()
