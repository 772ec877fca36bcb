"""How fast the light commands are, against a ten-line script of typer, rich and sqlite3."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measuring import KBJOBS, compare, temporary_home, wall_seconds

from kbjobs.errors import ExitCode
from kbjobs.store.jobs import NewJob
from kbjobs.store.queue import Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event

JOBS = 10_000
ROUNDS = 15

SCRIPT = '''
"""Prints one table."""
import sqlite3, typer
from rich.console import Console
from rich.table import Table
app = typer.Typer()
@app.command()
def main(limit: int = 10, path: str = ""):
    """Print one table."""
    table = Table("id", "type", "source", "status")
    query = "SELECT id, type, source, status FROM jobs ORDER BY id DESC LIMIT ?"
    for row in sqlite3.connect(path).execute(query, (limit,)):
        table.add_row(*map(str, row))
    Console(force_terminal=True, width=120).print(table)
app()
'''


def main() -> None:
    """Print both ratios."""
    with temporary_home() as home, tempfile.TemporaryDirectory() as folder:
        queue = Queue(home.state_file)
        queue.connection.execute("PRAGMA synchronous = OFF")
        for number in range(JOBS):
            job = queue.submit(NewJob("index_offline", f"s{number}", {}, (), (f"source:s{number}",)))
            queue.claim(f"run{number}")
            queue.finish(
                job.id, f"run{number}", RunOutcome(Event.COMPLETE, ExitCode.DONE, "12 documents, 40 passages"), {}
            )
        queue.close()
        script = Path(folder, "script.py")
        script.write_text(SCRIPT)
        table = [sys.executable, str(script), "--path", str(home.state_file)]
        # A terminal, so that the table is really drawn with rich, as in the script.
        status = ["script", "--quiet", "--return", "--command", f"TERM=xterm {KBJOBS[0]} status", "/dev/null"]
        drawn = ["script", "--quiet", "--return", "--command", " ".join(table), "/dev/null"]
        compare(
            f"kbjobs status with {JOBS:,} jobs, seconds",
            lambda: wall_seconds(status),
            lambda: wall_seconds(drawn),
            ROUNDS,
            1.5,
        )
        compare(
            "kbjobs --help, seconds",
            lambda: wall_seconds([*KBJOBS, "--help"]),
            lambda: wall_seconds([sys.executable, str(script), "--help"]),
            ROUNDS,
            1.3,
        )


if __name__ == "__main__":
    main()
