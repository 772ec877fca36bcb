"""What pages cost that are made to keep a parser busy, and how soon a wish to stop is heard while they are read.

A source of 200 pages of the Python documentation is indexed whole with MiniLM, alone and with twenty hostile pages
among them, in turns and each time in a process of its own: ten have one tag of 300,000 attributes, ten one of 120,000
attributes each of which looks like the end of a tag, so that the parser gets them all. A document may take
``document_seconds`` of processor time, here 2. Then the metadata phase on such a page is stopped at a random moment,
50 times, and workers of it are killed, 50 times: what is told is the longest that a process lived on.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import PYTHON_DOCS, run_script

ROUNDS, TRIES = 5, 50
SECONDS = 2
START = 1  # second that a new process takes until it reads
STOP_BAR, KILL_BAR = 2.0, 1.0

INDEX = """
import json, logging, sys, tempfile, time
from pathlib import Path
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.context import Context
from kbjobs.phases import index_offline, metadata
from kbjobs.sources.registration import register
from kbjobs.config.settings import Home, Settings
from kbjobs.store.sources import SourceFolder

class Silent:
    def report(self, *_): pass
    def saved(self, steps): pass

with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as folder:
    home = Home(Path(folder))
    home.prepare()
    home.config_file.write_text("document_seconds = %d.0\\nmodel = 'all-MiniLM-L6-v2'\\n" % int(sys.argv[2]))
    register(home, "site", [Path(sys.argv[1])])
    source = SourceFolder(home.sources, "site")
    context = Context(home, Settings(home), source, 1, Silent(), lambda: False, logging.getLogger("bench"))
    begun = time.perf_counter()
    metadata.run(context, metadata.MetadataParams())
    plan = index_offline.plan(PhaseRequest(home, Settings(home), index_offline.IndexOfflineParams(), source))
    counts = index_offline.run(context, plan.params).counts
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "documents": counts["documents"], "failed": counts["failed"]}))
"""

READ = """
import logging, random, sys, time
from pathlib import Path
from kbjobs.context import Context
from kbjobs.errors import JobCancelled
from kbjobs.phases import metadata
from kbjobs.sources.registration import register
from kbjobs.config.settings import Home, Settings
from kbjobs.store.sources import SourceFolder

class Silent:
    def report(self, *_): pass
    def saved(self, steps): pass

home = Home(Path(sys.argv[1]))
home.prepare()
home.config_file.write_text("document_seconds = 300.0\\n")
if not (home.sources / "site").exists():
    register(home, "site", [Path(sys.argv[2])])
source = SourceFolder(home.sources, "site")
asked = time.monotonic() + float(sys.argv[3])
context = Context(
    home, Settings(home), source, 1, Silent(), lambda: time.monotonic() > asked, logging.getLogger("bench")
)
print("reading", flush=True)
try:
    metadata.run(context, metadata.MetadataParams())
except JobCancelled:
    print(time.monotonic() - asked, flush=True)
"""


def write_hostile(folder: Path, kind: str, number: int) -> None:
    """A page that takes a parser minutes."""
    count, value = (300_000, "1") if kind == "plain" else (120_000, "'>'")
    attributes = " ".join(f"a{place}={value}" for place in range(count))
    name = f"{20 * number:03d}-hostile-{kind}.html"  # among the others, as a site has them
    (folder / name).write_text(f"<title>{kind}</title><p {attributes}>The kettle sings.</p>")


def write_pages(folder: Path, hostile: int) -> Path:
    """200 good pages, and so many of each hostile kind."""
    folder.mkdir()
    short = [page for page in sorted(PYTHON_DOCS.rglob("*.html")) if page.stat().st_size < 40_000]
    for number, page in enumerate(short[:200]):
        shutil.copyfile(page, folder / f"{number:03d}-{page.name}")
    for number in range(hostile):
        for kind in ("plain", "quoted"):
            write_hostile(folder, kind, number)
    return folder


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(one) for thread in threads for one in (thread / "children").read_text().split()]
    except FileNotFoundError:
        return []


def is_alive(pid: int) -> bool:
    """Whether a process lives, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def time_stop(home: Path, pages: Path, after: float) -> float:
    """Seconds from a wish to stop, in the middle of the page, to the end of the phase."""
    ended = subprocess.run(
        [sys.executable, "-c", READ, home, pages, str(after)], capture_output=True, text=True, check=True
    )
    return float(ended.stdout.splitlines()[-1])


def time_kill(home: Path, pages: Path, after: float) -> float:
    """Seconds from the kill of the process that reads to the end of the last of its children."""
    with subprocess.Popen(
        [sys.executable, "-c", READ, home, pages, "1000"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not (children := children_of(process.pid)):
            time.sleep(0.01)
        time.sleep(after)
        children = children_of(process.pid) or children
        os.kill(process.pid, signal.SIGKILL)
        killed = time.monotonic()
        while any(map(is_alive, children)):
            time.sleep(0.005)
        return time.monotonic() - killed


def main() -> None:
    """Print the figures with their bars."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as top:
        good, mixed = write_pages(Path(top, "good"), 0), write_pages(Path(top, "mixed"), 10)
        rounds = [(run_script(INDEX, good, SECONDS), run_script(INDEX, mixed, SECONDS)) for _ in range(ROUNDS)]
        alone = statistics.median(one["seconds"] for one, _ in rounds)
        both = statistics.median(two["seconds"] for _, two in rounds)
        failed, documents = rounds[0][1]["failed"], rounds[0][1]["documents"]
        size = sum(page.stat().st_size for page in mixed.glob("*-hostile-quoted.html")) / 1e6
        # Two phases read it, each with a process a core; one that was killed has a successor, which imports anew.
        bound = 2 * (10 * (SECONDS + START) + size) / min(2, os.cpu_count() or 1)
        print(
            f"200 pages: {alone:.1f} s; with 20 hostile ones {both:.1f} s, {both - alone:.1f} s more (bar {bound:.1f}:"
            f" what they may take); {documents:,} documents, {failed} named as failed"
        )
        page = Path(top, "one")
        page.mkdir()
        write_hostile(page, "quoted", 0)
        stops = [time_stop(Path(top, "home"), page, chance.uniform(0.5, 3)) for _ in range(TRIES)]
        print(f"stopped in the middle of a page, {TRIES} times: at most {max(stops):.2f} s (bar {STOP_BAR})")
        kills = [time_kill(Path(top, "home"), page, chance.uniform(0, 2)) for _ in range(TRIES)]
        print(
            f"killed in the middle of a page, {TRIES} times: its processes lived {max(kills):.2f} s on (bar {KILL_BAR})"
        )
        if max(stops) > STOP_BAR or max(kills) > KILL_BAR or both - alone > bound:
            sys.exit(json.dumps({"stops": stops, "kills": kills}))


if __name__ == "__main__":
    main()
