"""Checkpoints in ``state.db``: how far a chain has come on a source, kept until it succeeds.

A job that resumes under its own id does not need one for its phases, since its own row holds them; a checkpoint lets
another job of the same chain resume. It is written in the transaction that records the end of a phase.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kbjobs.store.clocks import now_text
from kbjobs.store.connection import transaction
from kbjobs.store.phase_state import PhaseState, dump_phases, fingerprint, load_phases, open_phases


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a combined job has come on a source.

    ``phases`` are in order, and may be given as dictionaries like those of :meth:`PhaseState.as_dict`; ``inner`` is the
    running phase's own record of its progress (a JSON value); ``job_id`` is 0 if no queued job wrote the checkpoint;
    ``saved_at`` is UTC, ISO 8601.
    """

    source_id: str | None
    job_type: str
    phases: tuple[PhaseState, ...]
    inner: Any = None
    job_id: int = 0
    saved_at: str = ""

    def __post_init__(self) -> None:
        read = tuple(phase if isinstance(phase, PhaseState) else PhaseState.from_dict(phase) for phase in self.phases)
        object.__setattr__(self, "phases", read)

    @property
    def fingerprint(self) -> str:
        """A hash that is equal for chains with the same types and parameters in the same order."""
        return fingerprint(self.phases)

    @property
    def completed(self) -> tuple[PhaseState, ...]:
        """The phases that are done."""
        return tuple(phase for phase in self.phases if phase.is_completed)

    @property
    def phases_completed(self) -> int:
        """The number of completed phases, as :func:`kbjobs.run_combined_job` counts them."""
        return len(self.completed)

    @property
    def phase_results(self) -> list[dict[str, Any]]:
        """``phase`` (name), ``index`` and ``result`` of each completed phase, as run_combined_job returns them."""
        return [
            {"phase": phase.name, "index": index, "result": phase.result}
            for index, phase in enumerate(self.phases)
            if phase.is_completed
        ]


def load(connection: sqlite3.Connection, source: str | None, chain: str) -> Checkpoint | None:
    """Load the checkpoint of a chain on a source, if there is one.

    Args:
        connection: the connection to the state.
        source: the source's id; None for jobs without a source.
        chain: the chain's name.
    """
    row = connection.execute(f"{_SELECT} WHERE source = ? AND chain = ?", (source or "", chain)).fetchone()
    return None if row is None else _from_row(row)


def load_resumable(connection: sqlite3.Connection) -> list[Checkpoint]:
    """The checkpoints from which a new job may resume and that no live job writes, latest first."""
    busy = "job_id IN (SELECT id FROM jobs WHERE finished_at IS NULL OR NOT resumable)"
    rows = connection.execute(f"{_SELECT} WHERE NOT {busy} ORDER BY saved_at DESC, source, chain")
    return [_from_row(row) for row in rows]


def save(
    connection: sqlite3.Connection,
    source: str | None,
    chain: str,
    job_id: int,
    phases: Sequence[PhaseState],
    inner: Any = None,
) -> None:
    """Write a checkpoint in place of any earlier one, in the caller's transaction if there is one.

    Args:
        connection: the connection to the state.
        source: the source's id; None for jobs without a source.
        chain: the chain's name.
        job_id: the job that writes it.
        phases: the job's phases.
        inner: how far the running phase has come, as a JSON value.
    """
    connection.execute(
        "INSERT OR REPLACE INTO checkpoints (source, chain, job_id, phases, inner, saved_at) VALUES (?, ?, ?, ?, ?, ?)",
        (
            source or "",
            chain,
            job_id,
            dump_phases(phases),
            None if inner is None else json.dumps(inner),
            now_text(),
        ),
    )


def delete(connection: sqlite3.Connection, source: str | None, chain: str, job_id: int | None = None) -> bool:
    """Delete a checkpoint.

    Args:
        connection: the connection to the state.
        source: the source's id; None for jobs without a source.
        chain: the chain's name.
        job_id: delete it only if this job wrote it; None deletes it in any case.

    Returns:
        Whether one was deleted.
    """
    mine = "" if job_id is None else " AND job_id = ?"
    deleted = connection.execute(
        f"DELETE FROM checkpoints WHERE source = ? AND chain = ?{mine}",
        (source or "", chain, *(() if job_id is None else (job_id,))),
    )
    return deleted.rowcount > 0


def hand_over(
    connection: sqlite3.Connection, source: str | None, chain: str, job_id: int, phases: Sequence[PhaseState]
) -> None:
    """Give a checkpoint to the job that will resume from it, with the phases as that job has them.

    If a phase that had ended is open again, another phase saved the inner checkpoint than the one that will run; the
    inner checkpoint is dropped then.

    Args:
        connection: the connection to the state.
        source: the source's id; None for jobs without a source.
        chain: the chain's name.
        job_id: the job that will resume.
        phases: its phases.
    """
    found = load(connection, source, chain)
    is_same = found is not None and open_phases(found.phases) == open_phases(phases)
    connection.execute(
        "UPDATE checkpoints SET job_id = ?, phases = ?, inner = CASE WHEN ? THEN inner END"
        " WHERE source = ? AND chain = ?",
        (job_id, dump_phases(phases), is_same, source or "", chain),
    )


def delete_stale(connection: sqlite3.Connection, days: float, dry_run: bool = False) -> list[Checkpoint]:
    """Delete old checkpoints of jobs that have ended.

    Args:
        connection: the connection to the state.
        days: the age beyond which a checkpoint is deleted.
        dry_run: whether only to return the checkpoints, and delete nothing.

    Returns:
        The checkpoints that were deleted, or that a real run would delete.
    """
    moment = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    live = "SELECT id FROM jobs WHERE finished_at IS NULL"
    with transaction(connection):
        rows = connection.execute(f"{_SELECT} WHERE saved_at < ? AND job_id NOT IN ({live})", (moment,)).fetchall()
        stale = [_from_row(row) for row in rows]
        if not dry_run:
            for checkpoint in stale:
                delete(connection, checkpoint.source_id, checkpoint.job_type)
    return stale


_SELECT = "SELECT source, chain, job_id, phases, inner, saved_at FROM checkpoints"


def _from_row(row: sqlite3.Row) -> Checkpoint:
    source, chain, job_id, phases, inner, saved_at = row
    value = None if inner is None else json.loads(inner)
    return Checkpoint(source or None, chain, load_phases(phases), value, job_id, saved_at)
