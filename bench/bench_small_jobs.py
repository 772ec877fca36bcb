"""Many small jobs: what a no-op job costs, and how long a nightly run over many unchanged sources takes.

- No-op jobs (the job type ``steps`` of the tests, without steps) on as many sources, all queued before the daemon
  starts: jobs a second and slot, from the start of the first to the end of the last.
- ``kbjobs run index-offline --all-sources`` over sources that are indexed already and unchanged: seconds of the whole
  command, the start of the daemon included.

Each is measured in turns with another version of kbjobs, if ``--baseline`` names one: the folder of a checkout (its
``.venv/bin/python``, or this interpreter with the folder on its path), or an interpreter. Medians are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measuring import MINILM, ROOT

TYPES = Path("tests") / "job_types"
NO_OP_JOBS, SOURCES, ROUNDS = 200, 300, 3
RATE_BAR, SECONDS_BAR = 12.0, 60.0

NO_OPS = """
import sys
from kbjobs.config.home import Home
from kbjobs.daemon.launching import ensure_daemon, stop_daemon
from kbjobs.services.jobs import JobManager
from kbjobs.store.queue import Queue
from kbjobs.store.sources import Source, SourceFolder
from pathlib import Path
import time
home, count = Home(Path(sys.argv[1])), int(sys.argv[2])
home.prepare()
manager = JobManager(home)
for number in range(count):
    SourceFolder(home.sources, f"s{number}").write(Source(f"s{number}", ("/",)))
manager.pause()
ids = [manager.submit("steps", f"s{number}", count=0) for number in range(count)]
ensure_daemon(home)
started = time.perf_counter()
manager.unpause()
for _ in manager.follow(ids, revive=False):
    pass
seconds = time.perf_counter() - started
assert all(manager.get_status(job_id).exit_code == 0 for job_id in ids)
slots = manager.settings.integer("workers")
manager.close()
stop_daemon(home, now=True, seconds=30)
print(count / seconds / slots)
"""

STOP = """
import sys
from pathlib import Path
from kbjobs.config.home import Home
from kbjobs.daemon.launching import stop_daemon
stop_daemon(Home(Path(sys.argv[1])), now=True, seconds=30)
"""

MAKE_SOURCES = """
import sys
from pathlib import Path
from kbjobs.config.home import Home
from kbjobs.sources.registration import register
home, count = Home(Path(sys.argv[1])), int(sys.argv[2])
home.prepare()
for number in range(count):
    pages = home.path / "pages" / str(number)
    pages.mkdir(parents=True)
    for page in range(5):
        (pages / f"{page}.txt").write_text(f"Page {page} of source {number}. Boil water for {number} minutes.")
    register(home, f"s{number}", [pages])
"""


class Version:
    """One version of kbjobs: an interpreter, and the folder of its code."""

    def __init__(self, name: str, python: Path, folder: Path) -> None:
        self.name, self.python, self.folder = name, python, folder

    def run(self, home: Path, *arguments: object) -> str:
        """Run its interpreter in a home with arguments to the end; returns what it prints."""
        path = f"{self.folder}{os.pathsep}{self.folder / TYPES}"
        variables = {"KBJOBS_HOME": str(home), "KBJOBS_MODEL": MINILM, "PYTHONPATH": path}
        ended = subprocess.run(
            [str(self.python), *map(str, arguments)],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            sys.exit(f"{self.name}: {ended.stdout}\n{ended.stderr}")
        return ended.stdout

    def no_op_rate(self, count: int) -> float:
        """No-op jobs a second and slot."""
        with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as home:
            return float(self.run(Path(home), "-c", NO_OPS, home, count))

    def index_all(self, home: Path) -> float:
        """Seconds of index-offline over all sources of a home."""
        started = time.perf_counter()
        self.run(home, "-P", "-m", "kbjobs", "run", "index-offline", "--all-sources")
        seconds = time.perf_counter() - started
        self.run(home, "-c", STOP, home)
        return seconds


def find_versions(baseline: Path | None) -> list[Version]:
    """This version and, if there is one, the baseline."""
    versions = [Version("this version", Path(sys.executable), ROOT)]
    if baseline is not None and baseline.is_dir():
        own = baseline / ".venv" / "bin" / "python"
        versions.append(Version("baseline", own if own.exists() else Path(sys.executable), baseline.resolve()))
    elif baseline is not None:
        versions.append(Version("baseline", baseline, baseline.absolute().parents[2]))
    return versions


def measure(versions: list[Version], rounds: int, one: Callable[[Version], float]) -> dict[str, float]:
    """Measure each version in turn; the median of each."""
    found: dict[str, list[float]] = {version.name: [] for version in versions}
    for _ in range(rounds):
        for version in versions:
            found[version.name].append(one(version))
    return {name: statistics.median(values) for name, values in found.items()}


def describe(found: dict[str, float], format_one: Callable[[float], str]) -> str:
    """The medians, and the ratio of this version to the baseline."""
    text = ", ".join(f"{name} {format_one(value)}" for name, value in found.items())
    if "baseline" in found:
        text += f", ratio {found['this version'] / found['baseline']:.2f}"
    return text


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--baseline", type=Path, help="a checkout of another version, or its interpreter")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--sources", type=int, default=SOURCES)
    parser.add_argument("--jobs", type=int, default=NO_OP_JOBS)
    parser.add_argument("--only", choices=("no-op", "sources"))
    options = parser.parse_args()
    versions = find_versions(options.baseline)
    if options.only in (None, "no-op"):
        rates = measure(versions, options.rounds, lambda version: version.no_op_rate(options.jobs))
        print(f"no-op jobs a second and slot: {describe(rates, '{:.1f}'.format)} (bar {RATE_BAR:g})", flush=True)
    if options.only in (None, "sources"):
        with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as folder:
            home = Path(folder)
            versions[0].run(home, "-c", MAKE_SOURCES, home, options.sources)
            versions[0].index_all(home)
            seconds = measure(versions, options.rounds, lambda version: version.index_all(home))
        text = describe(seconds, "{:.1f} s".format)
        print(f"index-offline --all-sources, {options.sources} unchanged sources: {text} (bar {SECONDS_BAR:g} s)")


if __name__ == "__main__":
    main()
