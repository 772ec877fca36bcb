"""The deletion of a source as the state records it, and the contents of its ledger."""

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
    """Raise ConflictError if a job would delete a source that other live jobs need, or needs one being deleted.

    Args:
        connection: the connection to the state.
        source: the job's source.
        key: the job's key; a live job with the same key is ignored, since the caller refuses it as a duplicate.
        ends_source: whether the job deletes the source.
        job_id: the job itself, if it has a row.
    """
    if source is None:
        return
    # A deletion, which is rare, also looks for jobs that use the source among others, such as a map of several sources.
    # All other jobs look only at the index of deletions, which is nearly empty.
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
    """Record in all jobs of a source that it is deleted, and delete its checkpoints and its pause.

    The caller holds a transaction.
    """
    connection.execute("DELETE FROM checkpoints WHERE source = ?", (source,))
    connection.execute("DELETE FROM pauses WHERE source = ?", (source,))
    connection.execute(
        "UPDATE jobs SET source_deleted_at = ? WHERE source = ? AND source_deleted_at IS NULL",
        (clocks.now_text(), source),
    )


def end_idle_source(state: Database, source: str) -> bool:
    """As :func:`end_source`, in a transaction, if no job of the source is live; returns whether it did so.

    It serves sources whose deletion no job will resume.
    """
    with transaction(state.connection):
        live = state.connection.execute(
            "SELECT 1 FROM jobs WHERE source = ? AND finished_at IS NULL", (source,)
        ).fetchone()
        if live is None:
            end_source(state.connection, source)
    return live is None


def end_source_in_run(connection: sqlite3.Connection, job_id: int, inner: Any) -> None:
    """Apply :func:`end_source` for the job that deletes its source, and save its checkpoint, in the transaction held.

    Args:
        connection: the connection to the state.
        job_id: the job.
        inner: the progress of its running phase, as a JSON value.
    """
    job = job_from_row(connection.execute(f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone())
    assert job.source is not None  # noqa: S101 — a deletion always has a source
    end_source(connection, job.source)
    checkpoints.save(connection, job.source, job.type, job_id, job.phases, inner)


def count_contents(ledger: Path) -> tuple[int, int] | None:
    """The numbers of documents and vectors in a ledger; None if it cannot be read. Nothing is written."""
    if ledger.is_symlink():  # SQLite would write next to its target
        return None
    if not ledger.exists():
        return 0, 0
    # A log must be read. If there is none, nobody is writing; immutable=1 keeps SQLite from creating one.
    mode = "mode=ro" if ledger.with_name(f"{ledger.name}-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(ledger))}?{mode}", uri=True)) as connection:
            documents = connection.execute("SELECT count(*) FROM documents").fetchone()[0]
            return int(documents), int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])
    except sqlite3.Error:
        return None
