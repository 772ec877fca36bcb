"""The formats of ``state.db`` and ``source.db`` as ordered functions.

This module is loaded only when a file is created or is older than the program. Each file's ``user_version`` counts the
migrations it has had; all missing ones run in one transaction, after a backup copy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlite_utils import Database

from kbjobs.store.clocks import now_text
from kbjobs.store.connection import transaction
from kbjobs.store.jobs import job_key
from kbjobs.store.phase_state import load_phases

Migration = Callable[[Database], None]


def state_001_queue(db: Database) -> None:
    """Create jobs, the locks of running jobs, and one row per attempt."""
    db.execute("""
        CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused
            type TEXT NOT NULL, source TEXT, params TEXT NOT NULL, key TEXT NOT NULL,
            resources TEXT NOT NULL, phases TEXT NOT NULL,
            status TEXT NOT NULL, priority INTEGER NOT NULL DEFAULT 0,
            cancel_requested INTEGER NOT NULL DEFAULT 0,
            attempt INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
            saved INTEGER NOT NULL DEFAULT 0, saved_at_start INTEGER NOT NULL DEFAULT 0,
            run_id TEXT, pid INTEGER, boot_id TEXT, beat INTEGER NOT NULL DEFAULT 0,
            not_before REAL, until REAL,        -- wishes of the user, by the wall clock (seconds since 1970)
            timeout REAL, timeout_from REAL NOT NULL DEFAULT 0,  -- seconds of work, counted from that duration
            retries INTEGER NOT NULL DEFAULT 0, retried INTEGER NOT NULL DEFAULT 0,
            retry_at REAL, retry_boot TEXT,     -- by the clock since boot, which nobody can set
            reason TEXT,
            progress REAL NOT NULL DEFAULT 0, phase TEXT, message TEXT NOT NULL DEFAULT '', eta REAL,
            dimension INTEGER, operation TEXT,
            created_at TEXT NOT NULL, started_at TEXT, finished_at TEXT, duration REAL NOT NULL DEFAULT 0,
            exit_code INTEGER, result TEXT, error TEXT
        )""")
    db.execute("CREATE UNIQUE INDEX one_live_job_per_key ON jobs(key) WHERE status IN ('pending', 'running')")
    # Partial, because every step of a job writes each index. Running jobs are found by their locks.
    db.execute("CREATE INDEX pending_jobs ON jobs(priority DESC, id) WHERE status = 'pending'")
    db.execute("CREATE INDEX ended_jobs ON jobs(finished_at) WHERE finished_at IS NOT NULL")
    db.execute("""
        CREATE TABLE locks (
            resource TEXT PRIMARY KEY, job_id INTEGER NOT NULL REFERENCES jobs(id), run_id TEXT NOT NULL
        ) WITHOUT ROWID""")
    db.execute("""
        CREATE TABLE attempts (
            job_id INTEGER NOT NULL REFERENCES jobs(id), attempt INTEGER NOT NULL, run_id TEXT NOT NULL,
            started_at TEXT NOT NULL, finished_at TEXT, outcome TEXT, error TEXT,
            PRIMARY KEY (job_id, attempt)
        ) WITHOUT ROWID""")
    db.execute("""
        CREATE TABLE daemon (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            pid INTEGER NOT NULL, version TEXT NOT NULL, started_at TEXT NOT NULL,
            secrets TEXT NOT NULL  -- the names of secrets that its environment holds, never their values
        )""")


def state_002_checkpoints(db: Database) -> None:
    """Add checkpoints of chains, and make the claim of a job write fewer pages.

    An attempt gets its own row only when a later attempt follows: the job's row holds the last one. Ids do not need
    AUTOINCREMENT and its table, because the newest job is never deleted. A live job is one without an end time, so that
    a claim does not change the unique index.
    """
    columns = ", ".join(row[1] for row in db.execute("PRAGMA table_info(jobs)"))
    db.execute("""
        CREATE TABLE jobs_2 (
            id INTEGER PRIMARY KEY,
            type TEXT NOT NULL, source TEXT, params TEXT NOT NULL, key TEXT NOT NULL,
            resources TEXT NOT NULL, phases TEXT NOT NULL,
            status TEXT NOT NULL, priority INTEGER NOT NULL DEFAULT 0,
            cancel_requested INTEGER NOT NULL DEFAULT 0,
            attempt INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
            saved INTEGER NOT NULL DEFAULT 0, saved_at_start INTEGER NOT NULL DEFAULT 0,
            run_id TEXT, pid INTEGER, boot_id TEXT, beat INTEGER NOT NULL DEFAULT 0,
            not_before REAL, until REAL, timeout REAL, timeout_from REAL NOT NULL DEFAULT 0,
            retries INTEGER NOT NULL DEFAULT 0, retried INTEGER NOT NULL DEFAULT 0,
            retry_at REAL, retry_boot TEXT, reason TEXT,
            progress REAL NOT NULL DEFAULT 0, phase TEXT, message TEXT NOT NULL DEFAULT '', eta REAL,
            dimension INTEGER, operation TEXT,
            created_at TEXT NOT NULL, started_at TEXT, finished_at TEXT, duration REAL NOT NULL DEFAULT 0,
            exit_code INTEGER, result TEXT, error TEXT,
            attempt_started_at TEXT,
            resumable INTEGER NOT NULL DEFAULT 1,  -- whether another job may go on from its checkpoint
            resumed INTEGER NOT NULL DEFAULT 0     -- whether it goes on from the checkpoint of an earlier job
        )""")
    db.execute(f"INSERT INTO jobs_2 ({columns}) SELECT {columns} FROM jobs")
    given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
    newest = db.execute("SELECT coalesce(max(id), 0) FROM jobs").fetchone()[0]
    if given is not None and given[0] > newest:
        # The newest jobs were deleted; the next job must get neither their ids nor their logs.
        db.execute(
            "INSERT INTO jobs_2 (id, type, params, key, resources, phases, status, created_at, finished_at, exit_code,"
            " message) VALUES (?, 'forgotten', '{}', '', '[]', '[]', 'completed', ?, ?, 0, ?)",
            (given[0], now_text(), now_text(), "keeps the number of the newest job that was forgotten"),
        )
    db.execute("DROP TABLE jobs")
    db.execute("ALTER TABLE jobs_2 RENAME TO jobs")
    db.execute("CREATE UNIQUE INDEX one_live_job_per_key ON jobs(key) WHERE finished_at IS NULL")
    db.execute("CREATE INDEX pending_jobs ON jobs(priority DESC, id) WHERE status = 'pending'")
    db.execute("CREATE INDEX ended_jobs ON jobs(finished_at) WHERE finished_at IS NOT NULL")
    db.execute(
        "UPDATE jobs SET attempt_started_at = (SELECT a.started_at FROM attempts a"
        " WHERE a.job_id = jobs.id AND a.attempt = jobs.attempt AND a.outcome IS NULL)"
    )
    db.execute("DELETE FROM attempts WHERE outcome IS NULL")
    db.execute("""
        CREATE TABLE checkpoints (
            source TEXT NOT NULL,     -- '' for a job without one
            chain TEXT NOT NULL,      -- the job's type
            job_id INTEGER NOT NULL,
            phases TEXT NOT NULL,     -- as in jobs: what has completed, with its results
            inner TEXT,               -- how far the running phase has come, in its own terms (JSON)
            saved_at TEXT NOT NULL,
            PRIMARY KEY (source, chain)
        ) WITHOUT ROWID""")


def state_003_heartbeats(db: Database) -> None:
    """Add the time of a worker's last heartbeat, and make a job's key name only non-default parameters."""
    db.execute("ALTER TABLE jobs ADD COLUMN beat_at TEXT")
    db.execute("UPDATE jobs SET beat_at = attempt_started_at WHERE status = 'running'")
    db.execute("DROP INDEX one_live_job_per_key")
    rows = db.execute(
        "SELECT id, type, source, phases, finished_at IS NULL FROM jobs WHERE type <> 'forgotten'"
    ).fetchall()
    keys, live = [], set()
    for job_id, job_type, source, phases, is_live in rows:
        key = job_key(job_type, source, load_phases(phases))
        # Two live jobs whose parameters differ only in 0 and null may get the same key; both must continue.
        keys.append((f"{key}-{job_id}" if is_live and key in live else key, job_id))
        live |= {key} if is_live else set()
    db.conn.executemany("UPDATE jobs SET key = ? WHERE id = ?", keys)
    db.execute("CREATE UNIQUE INDEX one_live_job_per_key ON jobs(key) WHERE finished_at IS NULL")


def state_004_deleted_sources(db: Database) -> None:
    """Add which jobs delete their source, and when the source of a job was deleted."""
    db.execute("ALTER TABLE jobs ADD COLUMN ends_source INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE jobs ADD COLUMN source_deleted_at TEXT")
    db.execute("CREATE INDEX ending_jobs ON jobs(source) WHERE ends_source = 1")


def state_005_pauses(db: Database) -> None:
    """Add pauses, the running jobs that must stop for them, and the job ends after which a command runs."""
    db.execute("""
        CREATE TABLE pauses (
            source TEXT PRIMARY KEY,  -- '' for the whole queue
            since TEXT NOT NULL
        ) WITHOUT ROWID""")
    db.execute("ALTER TABLE jobs ADD COLUMN pause_requested INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE daemon ADD COLUMN runs_on_finish INTEGER NOT NULL DEFAULT 0")
    db.execute("""
        CREATE TABLE ends (  -- a row goes when the command for it has ended
            id INTEGER PRIMARY KEY,
            job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            attempt INTEGER NOT NULL, status TEXT NOT NULL, exit_code INTEGER NOT NULL, summary TEXT NOT NULL,
            token TEXT UNIQUE,              -- since it was taken: what marks the processes of its command
            taken_at REAL, taken_boot TEXT  -- by the clock since boot
        )""")
    # A worker, the daemon or a command may end a job; a trigger records every end.
    db.execute("""
        CREATE TRIGGER note_end AFTER UPDATE OF finished_at ON jobs
        WHEN old.finished_at IS NULL AND new.finished_at IS NOT NULL AND (SELECT runs_on_finish FROM daemon)
        BEGIN
            INSERT INTO ends (job_id, attempt, status, exit_code, summary)
            VALUES (new.id, new.attempt, new.status, new.exit_code, new.message);
        END""")


def ledger_001_documents(db: Database) -> None:
    """Create documents, links, chunks by profile, vectors by model, and each collection's count of deletions."""
    db.execute("CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
    db.execute("""
        CREATE TABLE documents (
            doc_id TEXT PRIMARY KEY, path TEXT NOT NULL, url TEXT NOT NULL, title TEXT NOT NULL,
            language TEXT, content_hash TEXT NOT NULL, word_count INTEGER NOT NULL,
            pipeline TEXT NOT NULL, signature TEXT NOT NULL
        ) WITHOUT ROWID""")
    db.execute("""
        CREATE TABLE links (
            doc_id TEXT NOT NULL REFERENCES documents(doc_id) ON DELETE CASCADE, url TEXT NOT NULL,
            PRIMARY KEY (doc_id, url)
        ) WITHOUT ROWID""")
    db.execute("CREATE TABLE profiles (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")
    db.execute("""
        CREATE TABLE chunked (  -- documents that were cut for a profile, also those that gave no chunk
            doc_id TEXT NOT NULL REFERENCES documents(doc_id) ON DELETE CASCADE,
            profile INTEGER NOT NULL REFERENCES profiles(id), PRIMARY KEY (profile, doc_id)
        ) WITHOUT ROWID""")
    db.execute("""
        CREATE TABLE chunks (
            id INTEGER PRIMARY KEY,
            doc_id TEXT NOT NULL REFERENCES documents(doc_id) ON DELETE CASCADE,
            profile INTEGER NOT NULL REFERENCES profiles(id), ordinal INTEGER NOT NULL,
            record_id TEXT NOT NULL, text_hash TEXT NOT NULL, tokens INTEGER NOT NULL, text TEXT NOT NULL,
            UNIQUE (doc_id, profile, ordinal)
        )""")
    db.execute("CREATE UNIQUE INDEX chunks_by_record ON chunks(profile, record_id)")
    db.execute("CREATE INDEX chunks_by_text ON chunks(profile, text_hash)")
    db.execute("""
        CREATE TABLE models (
            id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
            dimension INTEGER NOT NULL, profile INTEGER NOT NULL REFERENCES profiles(id),
            churn INTEGER NOT NULL DEFAULT 0  -- records deleted from the collection since it was built
        )""")
    db.execute("""
        CREATE TABLE vectors (
            id INTEGER PRIMARY KEY AUTOINCREMENT,  -- a newer vector has a greater id
            model INTEGER NOT NULL REFERENCES models(id),
            text_hash TEXT NOT NULL, vector BLOB NOT NULL  -- float32, little-endian, unit length
        )""")
    db.execute("CREATE UNIQUE INDEX vectors_by_text ON vectors(model, text_hash)")


def ledger_002_metadata(db: Database) -> None:
    """Add metadata by document, marks of filtered documents, targets of links, marks of cleared collections."""
    db.execute("""
        CREATE TABLE metadata (
            doc_id TEXT PRIMARY KEY REFERENCES documents(doc_id) ON DELETE CASCADE,
            state TEXT NOT NULL, signature TEXT NOT NULL,  -- of the reader and of the file, when it was read
            language TEXT,                                 -- as decided; documents.language is what the page says
            snippet TEXT NOT NULL, characters INTEGER NOT NULL,
            heading_count INTEGER NOT NULL, headings TEXT NOT NULL  -- JSON: a list of [level, text]
        )""")
    db.execute("CREATE INDEX metadata_by_language ON metadata(language)")
    db.execute("ALTER TABLE documents ADD COLUMN filtered INTEGER NOT NULL DEFAULT 0")  # 1: kept, but not indexed
    db.execute("CREATE INDEX filtered_documents ON documents(doc_id) WHERE filtered = 1")
    db.execute("ALTER TABLE links ADD COLUMN target TEXT REFERENCES documents(doc_id) ON DELETE SET NULL")
    db.execute("CREATE INDEX links_by_target ON links(target) WHERE target IS NOT NULL")
    db.execute("ALTER TABLE models ADD COLUMN cleared INTEGER NOT NULL DEFAULT 0")  # 1: on purpose


def ledger_003_pages(db: Database) -> None:
    """Add the PDF page on which a passage begins."""
    db.execute("ALTER TABLE chunks ADD COLUMN page INTEGER NOT NULL DEFAULT 0")


def ledger_004_about(db: Database) -> None:
    """Add a document's statements about itself, and the evidence for its language."""
    db.execute("ALTER TABLE metadata ADD COLUMN evidence TEXT")  # JSON; NULL if read by an older version
    for column in ("description", "published", "doc_type"):
        db.execute(f"ALTER TABLE metadata ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
    for column in ("authors", "categories"):  # JSON lists of names
        db.execute(f"ALTER TABLE metadata ADD COLUMN {column} TEXT NOT NULL DEFAULT '[]'")


def ledger_005_batches(db: Database) -> None:
    """Add batches of passages that an API is embedding, and the passages that each holds."""
    db.execute("""
        CREATE TABLE batches (
            key TEXT PRIMARY KEY,  -- chosen at random before anything is sent; the server's list is searched for it
            model TEXT NOT NULL,   -- the model's key
            size INTEGER NOT NULL, -- how many texts were put into it
            made_at REAL NOT NULL, -- seconds since 1970
            asked_at REAL,         -- since when something of it may be at the server
            file TEXT, batch TEXT  -- the server's names of its input and of itself, once they are known
        ) WITHOUT ROWID""")
    db.execute("""
        CREATE TABLE batch_texts (  -- those of which nothing has come back yet
            batch TEXT NOT NULL REFERENCES batches(key) ON DELETE CASCADE,
            text_hash TEXT NOT NULL, tokens INTEGER NOT NULL,
            PRIMARY KEY (batch, text_hash)
        ) WITHOUT ROWID""")


def ledger_006_site(db: Database) -> None:
    """Add a document's time of last change, its site and its licence."""
    for column in ("modified", "site", "licence"):
        db.execute(f"ALTER TABLE metadata ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")


STATE: tuple[Migration, ...] = (
    state_001_queue,
    state_002_checkpoints,
    state_003_heartbeats,
    state_004_deleted_sources,
    state_005_pauses,
)
LEDGER: tuple[Migration, ...] = (
    ledger_001_documents,
    ledger_002_metadata,
    ledger_003_pages,
    ledger_004_about,
    ledger_005_batches,
    ledger_006_site,
)


def apply_migrations(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Bring a file to the newest format, after a backup copy of an older one.

    Args:
        connection: the open file.
        path: the file, next to which the copy is written.
        migrations: all migrations, from the first format on.

    Raises:
        OSError: the copy cannot be written.
        sqlite3.Error: the file is damaged or cannot be written.
    """
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found:
        _back_up(connection, path.with_name(f"{path.name}.format-{found}.backup"))
    with transaction(connection):
        # Another process may have migrated it meanwhile: read the version again under the write lock.
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        for migration in migrations[found:]:
            migration(Database(connection))
        if found < len(migrations):
            connection.execute(f"PRAGMA user_version = {len(migrations)}")


def _back_up(connection: sqlite3.Connection, copy: Path) -> None:
    unfinished = copy.with_name(copy.name + ".part")
    unfinished.unlink(missing_ok=True)
    target = sqlite3.connect(unfinished)
    try:
        connection.backup(target)
    finally:
        target.close()
    unfinished.chmod(0o600)
    unfinished.replace(copy)
