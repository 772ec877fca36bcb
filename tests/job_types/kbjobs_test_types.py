"""A job type of another package: quick steps that are appended to a ledger, and ways to misbehave.

Tests put this folder on PYTHONPATH; its dist-info declares the entry point.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from kbjobs.plugins import Context, JobType, KbjobsError, Params, PhaseRequest, PhaseResult, Plan, TransientError


class StepsParams(Params):
    """Parameters of steps."""

    count: int = Field(10, ge=0, description="How many steps.")
    seconds: float = Field(0.0, ge=0, description="How long each takes.")
    number: int = Field(0, description="Tells jobs apart.")
    misbehave: Literal["no", "spawn", "deaf", "busy", "memory", "idle"] = Field("no", description="What goes wrong.")
    fail_first: int = Field(0, description="Raise a transient error in the first attempts.")
    fail_documents: int = Field(0, description="So many documents cannot be processed.")
    fail: bool = Field(False, description="Fail after the steps, as long as the source has no file 'mended'.")
    says: str = Field("", description="What it logs first, and says when it fails.")
    remember: bool = Field(False, description="Go on from the checkpoint alone, not from the ledger.")


def open_ledger(folder: Path) -> sqlite3.Connection:
    """The ledger of steps: a row for each that was done, without a rule against doubles, so that they show."""
    connection = sqlite3.connect(folder / "steps.db", timeout=30, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS steps (job INTEGER, step INTEGER, pid INTEGER, number INTEGER)")
    connection.execute("CREATE TABLE IF NOT EXISTS runs (job INTEGER, number INTEGER, what TEXT)")
    connection.execute("CREATE TABLE IF NOT EXISTS meetings (job INTEGER, pid INTEGER)")
    return connection


def plan(request: PhaseRequest[StepsParams]) -> Plan[StepsParams]:
    """Nothing needs to be there."""
    return Plan(request.params, dimension=384)


def run(context: Context, params: StepsParams) -> PhaseResult:
    """Do the steps that are not in the ledger yet."""
    if params.misbehave == "idle":  # writes nothing
        for step in range(params.count):
            context.progress(step, params.count, "steps", "working")
            time.sleep(params.seconds)
        return PhaseResult({"steps": params.count}, f"{params.count} steps")
    guard = os.open(context.source.path / "guard", os.O_CREAT | os.O_RDWR)
    try:
        return work(context, params, guard)
    finally:
        os.close(guard)  # or the next job of this process would find the source guarded


def work(context: Context, params: StepsParams, guard: int) -> PhaseResult:
    """Note another job that is at work on the source, which must not be, and do the steps."""
    ledger = open_ledger(context.source.path)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        ledger.execute("INSERT INTO meetings VALUES (?, ?)", (context.job_id, os.getpid()))
    if params.says:
        context.log.info("%s", params.says)
    begin_badly(params)
    ledger.execute("INSERT INTO runs VALUES (?, ?, 'begins')", (context.job_id, params.number))
    tries = context.source.path / f"tries-{context.job_id}-{params.number}"
    with tries.open("a") as file:
        file.write("x")
    if tries.stat().st_size <= params.fail_first:
        raise TransientError("the server is busy")
    do_steps(context, params, ledger)
    if params.fail and not (context.source.path / "mended").exists():
        raise KbjobsError(params.says or "the source is broken", "Mend it.")
    ledger.execute("INSERT INTO runs VALUES (?, ?, 'ends')", (context.job_id, params.number))
    ledger.close()
    counts: dict[str, Any] = {"steps": params.count, "dimension": 384, "number": params.number}
    return PhaseResult(counts, f"{params.count} steps", params.fail_documents)


def begin_badly(params: StepsParams) -> None:
    """Misbehave before the first step."""
    if params.misbehave == "spawn":
        # Children of children, one of which leaves the process group.
        subprocess.Popen(["sh", "-c", "sleep 600 & exec sleep 600"])
        subprocess.Popen(["setsid", "sleep", "600"])
    elif params.misbehave == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            time.sleep(1)
    elif params.misbehave == "memory":
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out


def do_steps(context: Context, params: StepsParams, ledger: sqlite3.Connection) -> None:
    """Append a row for each step that the ledger does not have, or that the checkpoint does not say is done."""
    here = (context.job_id, params.number)
    done = {row[0] for row in ledger.execute("SELECT step FROM steps WHERE job = ? AND number = ?", here)}
    if params.remember:
        done = set(range((context.checkpoint or {"step": 0})["step"]))
    for step in range(params.count):
        context.progress(step, params.count, "steps", "working")
        if step in done:
            continue
        time.sleep(params.seconds)
        ledger.execute("INSERT INTO steps VALUES (?, ?, ?, ?)", (context.job_id, step, os.getpid(), params.number))
        context.saved(1)
        if params.remember:
            context.save_checkpoint({"step": step + 1})
        if params.misbehave == "busy":
            sys.stderr.write(f"step {step}\n")


JOB_TYPE = JobType(
    name="steps",
    label="Steps",
    description="Quick steps that are appended to a ledger.",
    category="tests",
    operation="step",
    params=StepsParams,
    plan=plan,
    run=run,
    shares_worker=True,
)
