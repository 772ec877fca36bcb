"""The end of a source in the state, and what its ledger held."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kbjobs.errors import ConflictError
from kbjobs.store import checkpoints, clocks
from kbjobs.store.connection import transaction
from kbjobs.store.database import Database
from kbjobs.store.jobs import JOB_COLUMNS, job_from_row


def refuse_beside_end(
    connection: sqlite3.Connection, source: str | None, key: str, ends_source: bool, job_id: int | None = None
) -> None:
    """Raise ConflictError if a job would end a source that others wait for or work on, or the other way round.

    Args:
        connection: the state's.
        source: of the job.
        key: of the job; a job of the same key is for others to refuse.
        ends_source: whether the job does.
        job_id: the job itself, if it has a row.
    """
    if source is None:
        return
    # Beside the jobs on the source itself those that work on it too, as a map of several does. Of them there are few:
    # to delete is rare. All others look at an index that has next to no rows.
    of_source = "(source = ?1 OR EXISTS (SELECT 1 FROM json_each(resources) WHERE value = 'source:' || ?1))"
    which = of_source if ends_source else "source = ?1 AND ends_source = 1"
    found = connection.execute(
        "SELECT id, type, status FROM jobs WHERE finished_at IS NULL AND key <> ?2 AND id IS NOT ?3"
        f" AND {which} ORDER BY id LIMIT 1",
        (source, key, job_id),
    ).fetchone()
    if found is None:
        return
    number, kind, status = found["id"], found["type"].replace("_", "-"), found["status"]
    if ends_source:
        raise ConflictError(
            f"source {source!r} is not deleted while a job of it is {status}: job {number} ({kind})",
            f"Wait for it with kbjobs wait {number}, or stop it with kbjobs cancel {number}. Nothing was changed.",
        )
    raise ConflictError(
        f"source {source!r} is about to be deleted: job {number} ({kind}) is {status}",
        f"See kbjobs status {number}; while it is pending, kbjobs cancel {number} keeps the source.",
    )


def end_source(connection: sqlite3.Connection, source: str) -> None:
    """Mark all jobs of a source as of one that is deleted, and forget its checkpoints and its pause.

    The caller has a transaction.
    """
    connection.execute("DELETE FROM checkpoints WHERE source = ?", (source,))
    connection.execute("DELETE FROM pauses WHERE source = ?", (source,))
    connection.execute(
        "UPDATE jobs SET source_deleted_at = ? WHERE source = ? AND source_deleted_at IS NULL",
        (clocks.now_text(), source),
    )


def end_idle_source(state: Database, source: str) -> bool:
    """The same for a source whose deletion no job will resume; returns False if one will, or any job is live."""
    with transaction(state.connection):
        live = state.connection.execute(
            "SELECT 1 FROM jobs WHERE source = ? AND finished_at IS NULL", (source,)
        ).fetchone()
        if live is None:
            end_source(state.connection, source)
    return live is None


def end_source_in_run(connection: sqlite3.Connection, job_id: int, inner: Any) -> None:
    """End a job's source for the job that deletes it, and save the job's checkpoint. The caller holds a transaction.

    Args:
        connection: the state's.
        job_id: the job.
        inner: how far its running phase has come, as a JSON value.
    """
    job = job_from_row(connection.execute(f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone())
    assert job.source is not None  # noqa: S101 — of what else would it be the end
    end_source(connection, job.source)
    checkpoints.save(connection, job.source, job.type, job_id, job.phases, inner)


def count_contents(ledger: Path) -> tuple[int, int] | None:
    """How many documents and vectors a ledger holds; None if it cannot be read. Nothing is written."""
    if ledger.is_symlink():  # SQLite would write beside what it leads to
        return None
    if not ledger.exists():
        return 0, 0
    # A log is only read where it is; without one, a reader that does not know that nobody writes would make one.
    mode = "mode=ro" if ledger.with_name(f"{ledger.name}-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(ledger))}?{mode}", uri=True)) as connection:
            documents = connection.execute("SELECT count(*) FROM documents").fetchone()[0]
            return int(documents), int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])
    except sqlite3.Error:
        return None
