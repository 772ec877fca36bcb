"""Pending finish hooks: job ends after which a command runs, each recorded once by a trigger and taken once.

An end is taken in its own transaction before its command starts. If the daemon dies after that, nobody takes the end
again, so the command runs at most once.
"""

from __future__ import annotations

import math
import sqlite3
import uuid
from dataclasses import dataclass

from kbjobs.store import clocks
from kbjobs.store.connection import transaction
from kbjobs.store.database import Database
from kbjobs.store.transitions import Status


@dataclass(frozen=True, slots=True)
class PendingHook:
    """How an attempt of a job ended. ``attempt`` is 0 if it never began.

    ``token`` marks the processes of the command that runs for it; ``age`` is the seconds since it was taken.
    """

    id: int
    job_id: int
    attempt: int
    type: str
    source: str | None
    status: Status
    exit_code: int
    summary: str
    token: str
    age: float


_COLUMNS = "e.id, job_id, e.attempt, type, source, e.status, e.exit_code, summary, token"


def take_hook(state: Database) -> PendingHook | None:
    """Take the next end that nobody has taken; None if there is none."""
    if state.connection.execute("SELECT 1 FROM ends WHERE token IS NULL LIMIT 1").fetchone() is None:
        return None  # called often, so it asks without the write lock first
    with transaction(state.connection):
        token = uuid.uuid4().hex
        state.connection.execute(
            "UPDATE ends SET token = ?, taken_at = ?, taken_boot = ?"
            " WHERE id = (SELECT min(id) FROM ends WHERE token IS NULL)",
            (token, clocks.since_boot(), clocks.boot_id()),
        )
        row = state.connection.execute(
            f"SELECT {_COLUMNS} FROM ends AS e JOIN jobs AS j ON j.id = job_id WHERE token = ?", (token,)
        ).fetchone()
    return None if row is None else _end(row, 0.0)


def list_taken_hooks(state: Database) -> list[PendingHook]:
    """The ends whose commands have not ended as far as the state knows. After a reboot their age is infinite."""
    now, boot = clocks.since_boot(), clocks.boot_id()
    rows = state.connection.execute(
        f"SELECT {_COLUMNS}, taken_at, taken_boot FROM ends AS e JOIN jobs AS j ON j.id = job_id"
        " WHERE token IS NOT NULL ORDER BY e.id"
    )
    return [_end(row, now - row["taken_at"] if row["taken_boot"] == boot else math.inf) for row in rows]


def close_hook(state: Database, end: PendingHook) -> None:
    """Forget an end: its command has ended, or cannot run."""
    state.connection.execute("DELETE FROM ends WHERE id = ?", (end.id,))


def forget_hooks(state: Database, also_taken: bool = False) -> None:
    """Forget the ends for which no command will run."""
    state.connection.execute("DELETE FROM ends" + ("" if also_taken else " WHERE token IS NULL"))


def _end(row: sqlite3.Row, age: float) -> PendingHook:
    status = Status(row["status"])
    how = (status, row["exit_code"], row["summary"])
    return PendingHook(row["id"], row["job_id"], row["attempt"], row["type"], row["source"], *how, row["token"], age)
