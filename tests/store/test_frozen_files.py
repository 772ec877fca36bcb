"""Files as earlier versions wrote them are opened, migrated after a backup, and lose nothing."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlite_utils import Database

from kbjobs.errors import UnavailableError
from kbjobs.store import migrations
from kbjobs.store.api_batches import close_batch, list_batches, open_batch, texts_out
from kbjobs.store.connection import connect
from kbjobs.store.history import list_attempts, list_jobs
from kbjobs.store.job_ends import take_hook
from kbjobs.store.ledger import LEDGER_VERSION, Ledger
from kbjobs.store.metadata import known_metadata, list_documents
from kbjobs.store.migrations import apply_migrations
from kbjobs.store.pauses import Pause, held_jobs, list_pauses
from kbjobs.store.queue import Queue
from kbjobs.store.state import STATE_VERSION
from kbjobs.store.transitions import Status
from tests.conftest import ROOT

FROZEN = ROOT / "tests" / "frozen"


def test_every_former_ledger_has_its_frozen_file() -> None:
    former = range(1, len(migrations.LEDGER))
    assert [path.name for path in sorted(FROZEN.glob("source-*.db"))] == [f"source-{number}.db" for number in former]
    assert len(migrations.LEDGER) == LEDGER_VERSION


def test_ledger_1(tmp_path: Path) -> None:
    """Two documents with two passages each, one without text, a vector for each passage, two links."""
    path = tmp_path / "source.db"
    shutil.copy(FROZEN / "source-1.db", path)
    path.chmod(0o600)
    tables = ("facts", "documents", "links", "profiles", "chunked", "chunks", "models", "vectors")
    old = sqlite3.connect(path)
    before = {table: old.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    old.close()
    ledger = Ledger(path)
    assert ledger.connection.execute("PRAGMA user_version").fetchone()[0] == LEDGER_VERSION
    for table, rows in before.items():
        now = [tuple(row)[: len(rows[0])] for row in ledger.connection.execute(f"SELECT * FROM {table}")]
        assert now == rows, table
    assert (len(before["documents"]), len(before["chunks"]), len(before["vectors"])) == (3, 4, 4)
    [model] = ledger.models()
    assert (model.name, model.dimension, model.is_cleared) == ("tiny", 4, False)
    ids = sorted(ledger.record_ids(model.id, model.profile))
    [records] = ledger.records(model.id, model.profile, ids)
    assert {len(record.vector) for record in records} == {16}
    assert ledger.missing_texts(model.id, model.profile) == []  # nothing is embedded again
    assert [known.is_chunked for known in ledger.known_documents(model.profile).values()] == [True] * 3
    assert (ledger.churn(model.id), ledger.fact("colour")) == (3, "blue")
    assert (ledger.count_documents(), ledger.has_metadata()) == (3, False)
    assert {known.state for known in known_metadata(ledger).values()} == {""}
    ledger.close()
    backup = tmp_path / "source.db.format-1.backup"
    assert backup.stat().st_mode & 0o777 == 0o600
    copy = sqlite3.connect(backup)
    assert copy.execute("PRAGMA user_version").fetchone()[0] == 1
    assert {table: copy.execute(f"SELECT * FROM {table}").fetchall() for table in tables} == before
    copy.close()


def test_ledger_2(tmp_path: Path) -> None:
    """The same with metadata of two documents, one of them left out by a language filter."""
    path = tmp_path / "source.db"
    shutil.copy(FROZEN / "source-2.db", path)
    path.chmod(0o600)
    ledger = Ledger(path)
    [model] = ledger.models()
    assert (ledger.count_documents(), ledger.has_metadata()) == (2, True)
    ids = sorted(ledger.record_ids(model.id, model.profile))
    [records] = ledger.records(model.id, model.profile, ids)
    assert [(record.title, record.url) for record in records] == [("Water", "https://e.org/water.html")] * 2
    assert [row[0] for row in ledger.connection.execute("SELECT DISTINCT page FROM chunks")] == [0]
    assert sorted(known.state for known in known_metadata(ledger).values()) == ["", "1 1", "1 1"]
    ledger.close()
    assert (tmp_path / "source.db.format-2.backup").exists()


def test_ledger_4(tmp_path: Path) -> None:
    """The same with what a document says of itself; no batch was ever sent."""
    path = tmp_path / "source.db"
    shutil.copy(FROZEN / "source-4.db", path)
    path.chmod(0o600)
    ledger = Ledger(path)
    [model] = ledger.models()
    assert ledger.missing_texts(model.id, model.profile) == []
    said = ledger.connection.execute("SELECT DISTINCT description, authors, doc_type FROM metadata").fetchall()
    assert [tuple(row) for row in said] == [("Of boiling", '["A. Kettle"]', "article")]
    assert list_batches(ledger, model.key) == []
    open_batch(ledger, "a key", model.key, [("some hash", 12)])
    [batch] = list_batches(ledger, model.key)
    assert (batch.texts, batch.tokens, texts_out(ledger, model.key)) == (1, 12, {"some hash": "a key"})
    close_batch(ledger, "a key")
    assert texts_out(ledger, model.key) == {}
    ledger.close()


def test_ledger_5(tmp_path: Path) -> None:
    """Of eight documents half are embedded; nobody has asked them yet when they were changed, nor for their licence."""
    path = tmp_path / "source.db"
    shutil.copy(FROZEN / "source-5.db", path)
    path.chmod(0o600)
    with Ledger(path) as ledger:
        [model] = ledger.models()
        assert (ledger.count_documents(), len(ledger.missing_texts(model.id, model.profile))) == (8, 4)
        [said] = {(one["modified"], one["site"], one["licence"]) for one in list_documents(ledger)}
        assert said == ("", "", "")
    assert (tmp_path / "source.db.format-5.backup").exists()


def test_every_version_has_its_frozen_file() -> None:
    versions = range(1, len(migrations.STATE) + 1)
    assert [path.name for path in sorted(FROZEN.glob("state-*.db"))] == [f"state-{number}.db" for number in versions]
    assert len(migrations.STATE) == STATE_VERSION


@pytest.mark.parametrize("version", range(1, STATE_VERSION + 1))
def test_state(tmp_path: Path, version: int) -> None:
    path = tmp_path / "state.db"
    shutil.copy(FROZEN / f"state-{version}.db", path)
    path.chmod(0o600)
    queue = Queue(path)
    found = {job.id: (job.source, job.status, job.exit_code) for job in list_jobs(queue)}
    assert found == {
        1: ("done", Status.COMPLETED, 0),
        2: ("failed", Status.FAILED, 1),
        3: ("limited", Status.INTERRUPTED, 8),
        4: ("cancelled", Status.CANCELLED, 9),
        5: ("running", Status.RUNNING, None),
        6: ("waiting", Status.PENDING, None),
    }
    done = queue.get(1)
    assert done.result == {"documents": 3, "chunks": 9}
    assert [one.outcome for one in list_attempts(queue, 1)] == ["requeue", "complete"]
    assert queue.connection.execute("SELECT resource FROM locks").fetchone()[0] == "source:running"
    assert queue.get(6).not_before == 4102444800.0
    assert [one.outcome for one in list_attempts(queue, 5)] == [None]
    starts = [[one.started_at for one in list_attempts(queue, number)] for number in (1, 2, 3, 5)]
    assert all(times and all(times) for times in starts)
    queue.record_death(5, "run-5", "power", 3)
    assert [one.outcome for one in list_attempts(queue, 5)] == ["requeue"]
    claimed = queue.claim("next")
    assert claimed is not None
    assert claimed.id == 5
    queue.close()


def test_state_5(tmp_path: Path) -> None:
    """A source is paused, and a command is to run for the end of job 2."""
    path = tmp_path / "state.db"
    shutil.copy(FROZEN / "state-5.db", path)
    path.chmod(0o600)
    queue = Queue(path)
    assert list_pauses(queue) == [Pause("waiting", "2026-11-26T01:00:00Z")]
    assert held_jobs(queue) == {6: Pause("waiting", "2026-11-26T01:00:00Z")}
    end = take_hook(queue)
    assert end is not None
    assert (end.job_id, end.attempt, end.source, end.status, end.exit_code, end.summary) == (
        2, 1, "failed", Status.FAILED, 1, "it failed"
    )  # fmt: skip
    queue.close()


def add_colour(db: Database) -> None:
    db.execute("ALTER TABLE jobs ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'")


def fail(db: Database) -> None:
    add_colour(db)
    raise sqlite3.OperationalError("disk I/O error")


def test_a_migration_runs_after_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    shutil.copy(FROZEN / "state-1.db", path)
    steps = (*migrations.STATE, add_colour)
    connection = connect(path, len(steps), lambda opened: apply_migrations(opened, path, steps))
    assert connection.execute("PRAGMA user_version").fetchone()[0] == len(steps)
    assert {row["colour"] for row in connection.execute("SELECT colour FROM jobs")} == {"red"}
    connection.close()
    backup = tmp_path / "state.db.format-1.backup"
    assert backup.stat().st_mode & 0o777 == 0o600
    old = sqlite3.connect(backup)
    assert old.execute("PRAGMA user_version").fetchone()[0] == 1
    assert old.execute("SELECT count(*) FROM jobs").fetchone()[0] == 6
    old.close()
    with pytest.raises(UnavailableError, match="newer kbjobs"):
        Queue(path)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    shutil.copy(FROZEN / "state-1.db", path)
    steps = (*migrations.STATE, fail)
    with pytest.raises(UnavailableError):
        connect(path, len(steps), lambda opened: apply_migrations(opened, path, steps))
    old = sqlite3.connect(path)
    assert old.execute("PRAGMA user_version").fetchone()[0] == 1
    assert "colour" not in [row[1] for row in old.execute("PRAGMA table_info(jobs)")]
    old.close()
    queue = Queue(path)
    assert len(list_jobs(queue)) == 6
    queue.close()


def test_two_live_jobs_that_come_to_one_key_are_both_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    old = sqlite3.connect(path, isolation_level=None)
    apply_migrations(old, path, migrations.STATE[:2])
    for number, value in enumerate(("0", "null")):
        phases = f'[{{"name": "x", "job": "t", "params": {{"n": {value}}}, "weight": 100, "status": "pending"}}]'
        old.execute(
            "INSERT INTO jobs (type, source, params, key, resources, phases, status, created_at)"
            " VALUES ('t', 'a', '{}', ?, '[]', ?, 'pending', '2026-01-01T00:00:00Z')",
            (f"key-{number}", phases),
        )
    old.close()
    queue = Queue(path)
    assert [job.status for job in list_jobs(queue)] == [Status.PENDING, Status.PENDING]
    queue.close()
