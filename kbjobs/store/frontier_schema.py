"""The tables of a frontier's file."""

from __future__ import annotations

import sqlite3

FRONTIER_VERSION = 1

_SCHEMA = """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE urls (
        id INTEGER PRIMARY KEY,
        url TEXT NOT NULL UNIQUE, depth INTEGER NOT NULL, asset INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL, cause TEXT NOT NULL DEFAULT '',
        tries INTEGER NOT NULL DEFAULT 0, retry_at REAL NOT NULL DEFAULT 0,  -- seconds since 1970
        file TEXT NOT NULL DEFAULT '', etag TEXT NOT NULL DEFAULT '', last_modified TEXT NOT NULL DEFAULT '',
        body_hash TEXT NOT NULL DEFAULT '',
        page INTEGER NOT NULL DEFAULT 0  -- in its wiki, whose revision is the etag; 0: no wiki's
    );
    CREATE INDEX queued_urls ON urls(asset, depth, id) WHERE state = 'queued';
    CREATE INDEX urls_by_state ON urls(state);
    CREATE INDEX urls_by_body ON urls(body_hash) WHERE body_hash <> '';
    CREATE UNIQUE INDEX urls_by_file ON urls(lower(file)) WHERE file <> '';
"""


def create_frontier(connection: sqlite3.Connection) -> None:
    """Create the frontier's tables in an empty file, and set its format."""
    for statement in _SCHEMA.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {FRONTIER_VERSION}")
