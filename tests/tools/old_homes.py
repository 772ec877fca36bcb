"""Homes as earlier versions leave them, made by the earlier programs themselves.

    python -m tests.tools.old_homes COMMIT FILE

writes one into ``FILE``, a tar that ``tests/test_frozen_homes.py`` opens. The Python that runs it needs what that
version needs: for 0.1.0 also torch and sentence-transformers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import MODEL, ROOT, wait_until, write_pages

COMMITS = {"0.1.0": "82e7128", "0.2.0": "c115e6e"}
NIGHTLY = """name = "nightly"
source = "docs"
[[phase]]
job = "metadata"
weight = 20
[[phase]]
job = "index_offline"
weight = 80
"""


class OldProgram:
    """An earlier version of kbjobs at work on a home."""

    def __init__(self, commit: str, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        archive = subprocess.run(["git", "archive", commit, "kbjobs"], cwd=ROOT, check=True, capture_output=True)
        folder.mkdir(parents=True)
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)

    def run(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run ``kbjobs``, of whatever version lies in the folder now."""
        own = {"PYTHONPATH": str(self.folder), "KBJOBS_HOME": str(self.home), "KBJOBS_MODEL": MODEL, "TERM": "dumb"}
        return subprocess.run(
            [sys.executable, "-P", "-m", "kbjobs", *map(str, arguments)],
            env={**os.environ, **own, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def submit(self, *arguments: str | Path, **variables: str) -> int:
        """Submit a job and return its id."""
        ended = self.run(*arguments, "--detach", **variables)
        assert ended.returncode == 0, ended.stderr
        return int(ended.stdout)

    def read(self, query: str, *values: Any) -> tuple[Any, ...]:
        """A row of the state."""
        with contextlib.closing(sqlite3.connect(self.home / "state.db", timeout=30)) as state:
            row: tuple[Any, ...] = state.execute(query, values).fetchone()
            return row

    def wait(self, job_id: int, condition: Callable[[str, int | None], Any]) -> None:
        """Wait until it is true of a job's status and the process of its worker."""
        wait_until(lambda: condition(*self.read("SELECT status, pid FROM jobs WHERE id = ?", job_id)), 120)

    @property
    def daemon(self) -> int:
        """The process of the daemon that has described itself last."""
        return int(self.read("SELECT pid FROM daemon")[0])


def build(old: OldProgram, pages: Path) -> Path:
    """Fill the home, and return the file of a chain for its source ``docs``. A daemon runs.

    ``docs`` is indexed, with half of its pages (job 1); ``other`` has a job that its limit of time has interrupted (2)
    and one that may not begin before the year 2100 (3). If the version can pause, ``held`` is paused, with a job that
    waits (4).
    """
    for name, count in (("docs", 4), ("other", 2), ("held", 1)):
        added = old.run("sources", "add", name, write_pages(pages / name, count, f"Of {name} and of kettles"))
        assert added.returncode == 0, added.stderr
    assert old.run("run", "index-offline", "docs").returncode == 0
    assert old.run("run", "index-offline", "other", "--timeout", "0.001s").returncode == 8
    old.submit("run", "metadata", "other", "--not-before", "2100-01-01 00:00")
    if old.run("pause", "--source", "held").returncode == 0:
        old.submit("run", "metadata", "held")
    write_pages(pages / "docs", 8, "Of docs and of kettles")
    chain = pages.with_name("nightly.toml")
    chain.write_text(NIGHTLY)
    return chain


def go_down(old: OldProgram, chain: Path) -> int:
    """Run the chain, with a machine that goes down before it embeds anything; returns the job's id."""
    assert old.run("daemon", "stop").returncode == 0
    died = chain.with_name("died")
    job_id = old.submit("chain", chain, KBJOBS_CRASH_AT=f"embed.before:{died}")
    old.wait(job_id, lambda status, pid: status == "running" and pid)
    os.kill(old.daemon, signal.SIGSTOP)  # it is not to see that the worker dies
    wait_until(died.exists, 120)
    os.kill(old.daemon, signal.SIGKILL)
    return job_id


def main() -> None:
    """Write the home of a version: its state, settings, manifests and ledgers, and the pages beside it."""
    commit, target = sys.argv[1], Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as made:
        folder = Path("/tmp/kbjobs-frozen")  # the same in each home: manifests name it
        folder.mkdir()
        try:
            old = OldProgram(commit, Path(made, "program"), folder / "home")
            go_down(old, build(old, folder / "pages"))
            for file in (*old.home.glob("sources/*/source.db"), old.home / "state.db"):
                with contextlib.closing(sqlite3.connect(file)) as database:
                    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            kept = ["pages", "home/state.db", "home/logs"]
            kept += [
                str(file.relative_to(folder))
                for name in ("manifest.json", "source.db")
                for file in old.home.glob(f"sources/*/{name}")
            ]
            with tarfile.open(target, "w:xz") as tar:
                for name in kept:
                    tar.add(folder / name, name)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
