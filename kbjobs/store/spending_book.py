"""What the jobs of a home have spent with an API, at list price: a file of its own, written before each request.

A purchase is recorded before it is made, and corrected by what the answer says. After a kill it stays as recorded: the
request may have been paid for.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from kbjobs.store.connection import connect, transaction

SPENDING_VERSION = 1
KEPT_DAYS = 400
"""How long purchases are kept: longer than any job that goes on."""

_SCHEMA = (
    "CREATE TABLE purchases (id INTEGER PRIMARY KEY, day TEXT NOT NULL, job INTEGER NOT NULL, dollars REAL NOT NULL,"
    " label TEXT UNIQUE)",
    "CREATE INDEX purchases_by_day ON purchases(day)",
    "CREATE INDEX purchases_by_job ON purchases(job)",
)


@dataclass(frozen=True, slots=True)
class Spent:
    """US dollars that a job and all jobs of a day have spent so far."""

    job: float
    day: float


class SpendingBook:
    """The purchases of a home's jobs, for any number of threads and processes.

    Args:
        path: the file, which is created if it is missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._connection = connect(path, SPENDING_VERSION, _create)
        self._lock = threading.Lock()
        oldest = (datetime.now().astimezone() - timedelta(days=KEPT_DAYS)).date().isoformat()
        self._connection.execute("DELETE FROM purchases WHERE day < ?", (oldest,))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def spent(self, job: int) -> Spent:
        """What a job, and all jobs today, have spent."""
        with self._lock:
            return self._spent(job)

    def reserve(self, job: int, dollars: float, limits: Spent, label: str | None = None) -> int | Spent:
        """Record a purchase that is about to be made, unless it would exceed a limit.

        Args:
            job: the job that buys.
            dollars: the most that it may cost.
            limits: the most that the job, and all jobs today, may spend.
            label: a name of the purchase; under the same name nothing is recorded twice.

        Returns:
            The purchase's number; or what was spent so far, if it would exceed a limit.
        """
        with self._lock, transaction(self._connection):
            if label is not None:
                known = self._connection.execute("SELECT id FROM purchases WHERE label = ?", (label,)).fetchone()
                if known is not None:
                    return int(known[0])
            spent = self._spent(job)
            # A sum of many floats may be off by the last bit.
            if spent.job + dollars > limits.job + 1e-12 or spent.day + dollars > limits.day + 1e-12:
                return spent
            row = self._connection.execute(
                "INSERT INTO purchases (day, job, dollars, label) VALUES (?, ?, ?, ?) RETURNING id",
                (_today(), job, dollars, label),
            ).fetchone()
            return int(row[0])

    def finalize(self, purchase: int, dollars: float) -> None:
        """Record what a purchase has cost in the end."""
        with self._lock:
            self._connection.execute("UPDATE purchases SET dollars = ? WHERE id = ?", (dollars, purchase))

    def _spent(self, job: int) -> Spent:
        row = self._connection.execute(
            "SELECT coalesce((SELECT sum(dollars) FROM purchases WHERE job = ?), 0),"
            " coalesce((SELECT sum(dollars) FROM purchases WHERE day = ?), 0)",
            (job, _today()),
        ).fetchone()
        return Spent(float(row[0]), float(row[1]))


def _today() -> str:
    """The day by this machine's clock and time zone."""
    return datetime.now().astimezone().date().isoformat()


def _create(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SPENDING_VERSION}")
