"""Pauses of the whole queue or of one source's jobs, kept in the state. They survive daemons and reboots."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from kbjobs.store import clocks
from kbjobs.store.connection import explained, transaction
from kbjobs.store.database import Database

# Whether the pause in row p covers the job in row j. A job over several sources belongs to each of them.
_IS_OF_SOURCE = "EXISTS (SELECT 1 FROM json_each(j.resources) WHERE value = 'source:' || p.source)"

NOT_HELD = (
    "NOT EXISTS (SELECT 1 FROM pauses WHERE source = '')"  # evaluated once per statement
    f" AND NOT EXISTS (SELECT 1 FROM pauses AS p WHERE {_IS_OF_SOURCE})"
)
"""The condition that no pause holds the job in row ``j``."""

# The live jobs that one pause covers.
_OF_PAUSE = (
    "SELECT j.id FROM jobs AS j JOIN pauses AS p ON p.source = ?"
    f" WHERE j.finished_at IS NULL AND (p.source = '' OR {_IS_OF_SOURCE})"
)


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of a source's jobs, or of the whole queue if ``source`` is None; ``since``: UTC, ISO 8601."""

    source: str | None
    since: str

    @property
    def what(self) -> str:
        """What is paused."""
        return "the queue" if self.source is None else f"source {self.source}"

    @property
    def remedy(self) -> str:
        """The command that ends it."""
        return "kbjobs unpause" if self.source is None else f"kbjobs unpause --source {self.source}"


@dataclass(frozen=True, slots=True)
class Held:
    """The jobs that a pause covers: ids of pending jobs, of running jobs, and of the running jobs asked to stop."""

    pause: Pause
    is_new: bool
    waiting: tuple[int, ...]
    running: tuple[int, ...]
    stopping: tuple[int, ...]


def put_pause(state: Database, source: str | None, stop_running: bool) -> Held:
    """Pause the jobs of a source, or all jobs, so that no daemon claims them. An existing pause stays unchanged.

    Args:
        state: the state.
        source: the source's id; None pauses all jobs.
        stop_running: whether running jobs should stop at a checkpoint and go back to the queue.

    Raises:
        UnavailableError: the state cannot be written.
    """
    with explained(state.path), transaction(state.connection):
        is_new = state.connection.execute(
            "INSERT INTO pauses (source, since) VALUES (?, ?) ON CONFLICT DO NOTHING", (source or "", clocks.now_text())
        ).rowcount
        if stop_running:
            state.connection.execute(
                f"UPDATE jobs SET pause_requested = 1 WHERE id IN ({_OF_PAUSE}) AND status = 'running'",
                (source or "",),
            )
        rows = state.connection.execute(
            f"SELECT id, status, pause_requested FROM jobs WHERE id IN ({_OF_PAUSE}) ORDER BY id", (source or "",)
        ).fetchall()
        [pause] = [one for one in list_pauses(state) if one.source == source]
    return Held(
        pause,
        bool(is_new),
        tuple(row["id"] for row in rows if row["status"] == "pending"),
        tuple(row["id"] for row in rows if row["status"] == "running"),
        tuple(row["id"] for row in rows if row["pause_requested"]),
    )


def end_pause(state: Database, source: str | None) -> Pause | None:
    """End the pause of a source, or of the whole queue; returns it, or None if there was none.

    A job that was asked to stop and has not stopped yet keeps running, unless another pause holds it.
    """
    with explained(state.path), transaction(state.connection):
        row = state.connection.execute(
            "DELETE FROM pauses WHERE source = ? RETURNING source, since", (source or "",)
        ).fetchone()
        state.connection.execute(
            f"UPDATE jobs AS j SET pause_requested = 0 WHERE pause_requested = 1 AND {NOT_HELD}"
            " AND id IN (SELECT job_id FROM locks)"
        )
    return None if row is None else _pause(row)


def list_pauses(state: Database) -> list[Pause]:
    """All pauses; the pause of the whole queue comes first."""
    return [_pause(row) for row in state.connection.execute("SELECT source, since FROM pauses ORDER BY source")]


def held_jobs(state: Database, ids: Collection[int] | None = None) -> dict[int, Pause]:
    """The pending jobs that a pause holds, by id, each with its pause; ``ids`` limits them to these jobs.

    If both the queue's pause and the source's hold a job, the queue's is returned.
    """
    pauses = list_pauses(state)
    if not pauses:
        return {}
    rows = state.connection.execute(
        # With min(), the other columns come from the row with the minimum (sqlite.org/lang_select.html, 2.5).
        "SELECT j.id, min(p.source) AS source, p.since FROM jobs AS j JOIN pauses AS p"
        f" ON p.source = '' OR {_IS_OF_SOURCE} WHERE j.status = 'pending'"
        " AND (:ids IS NULL OR j.id IN (SELECT value FROM json_each(:ids))) GROUP BY j.id",
        {"ids": None if ids is None else json.dumps(list(ids))},
    )
    return {row["id"]: _pause(row) for row in rows}


def _pause(row: sqlite3.Row) -> Pause:
    return Pause(row["source"] or None, row["since"])
