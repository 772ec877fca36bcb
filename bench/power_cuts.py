"""What a power cut takes: of the machine, not of a process. Root is needed, and btrfs, ext4 and xfs.

The home lies on ext4, then on xfs, in a file on btrfs. While jobs are submitted, run, published, packed, backed up and
deleted, that file is copied by reflink at random moments: the copy is what the disk holds when the power goes, for what
the kernel has not yet written to the file is not in it. Each copy is mounted and looked at:

- every submit that had been answered is there;
- every vector that had been paid for is there, by the API's own record, but those of requests that were answered within
  the second before the cut, which may have been on their way;
- search answers, or says what is missing;
- a daemon on it (in a namespace of its own, so that it ends nobody else's workers) drains its queue, and then
  ``sources verify`` finds no difference.

    python bench/power_cuts.py [--cuts 200] [--seed 1] [--filesystem ext4|xfs]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kbjobs.config.home import Home  # noqa: E402
from kbjobs.daemon.launching import is_running, stop_daemon  # noqa: E402
from kbjobs.errors import ConflictError, KbjobsError  # noqa: E402
from kbjobs.services.jobs import JobManager  # noqa: E402
from kbjobs.sources.registration import register  # noqa: E402
from kbjobs.store.queue import DuplicateJobError  # noqa: E402
from tests.servers.openai_server import KEY, OpenAIServer  # noqa: E402

GRACE = 1.0  # seconds before the cut, in which an answer may not have been committed yet
DRAIN_SECONDS = 120.0
KBJOBS = str(Path(sys.executable).with_name("kbjobs"))
QUERY = "kettle"
PAID, FREE = ("paid-0", "paid-1"), ("free-0", "free-1", "free-2")
WORDS = ("kettle", "rope", "barrel", "stove", "flour", "candle", "needle", "saddle", "lantern", "anvil", "cellar")


def missing() -> str:
    """What stands in the way of the cuts on this machine, '' where nothing does."""
    if os.geteuid():
        return "only root can mount file systems"
    known = Path("/proc/filesystems").read_text()
    lacking = [name for name in ("btrfs", "ext4", "xfs") if name not in known]
    lacking += [tool for tool in ("mkfs.btrfs", "mkfs.ext4", "mkfs.xfs", "losetup") if shutil.which(tool) is None]
    return f"not there: {', '.join(lacking)} (apt install btrfs-progs xfsprogs)" if lacking else ""


class Api(OpenAIServer):
    """The API, which remembers when it has answered for each text."""

    def __init__(self) -> None:
        self.paid: list[tuple[float, str]] = []
        super().__init__()

    def embed(self, body: dict[str, Any], texts: list[str], tokens: int) -> dict[str, Any]:
        """The vectors of texts."""
        answer = super().embed(body, texts, tokens)
        now = time.monotonic()
        self.paid += [(now, text) for text in texts]
        return answer


def run(*command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A command to its end."""
    return subprocess.run([str(one) for one in command], check=check, capture_output=True, text=True, timeout=300)


@contextlib.contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """The file system in a file, mounted."""
    place.mkdir(exist_ok=True)
    # A copy of an xfs has the id of the first, and is refused while that is mounted.
    options = "loop,nouuid" if b"XFSB" in image.open("rb").read(4) else "loop"
    run("mount", "-o", options, image, place)
    try:
        yield place
    finally:
        run("umount", "--lazy", place)


@dataclass
class Night:
    """What is done to a home while the power may go, and what was answered when."""

    home: Home
    pages: Path
    chance: random.Random
    submitted: list[tuple[float, int]] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None

    def work(self) -> None:
        """Do one thing after the other until the end."""
        acts = (self.index, self.index, self.index, self.describe, self.describe, self.pack, self.back_up, self.delete)
        try:
            while not self.ended.is_set():
                act = self.chance.choice(acts)
                act()
                self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
                self.ended.wait(self.chance.uniform(0, 0.3))
        except BaseException as error:  # noqa: BLE001 — told by the main thread
            self.failure = error

    def submit(self, job: str, source: str, **params: Any) -> None:
        """Submit a job, and note that it was answered."""
        try:
            job_id = JobManager(self.home).submit(job, source, **params)
        except (DuplicateJobError, ConflictError, KbjobsError):
            return  # it waits already, or its source is just being deleted
        self.submitted.append((time.monotonic(), job_id))

    def write_pages(self, source: str, count: int) -> None:
        """So many new pages, each with words that no other has."""
        folder = self.pages / source
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            number = f"{self.chance.randrange(10**9):09d}"
            words = " ".join(self.chance.choice(WORDS) for _ in range(60))
            text = f"<title>Page {number}</title><h1>Page {number}</h1><p>Number {number} of {source}: {words}.</p>"
            (folder / f"{number}.html").write_text(text)

    def index(self) -> None:
        """Buy vectors for a few new pages, and publish them."""
        source = self.chance.choice(PAID)
        self.write_pages(source, self.chance.randrange(1, 30))
        self.submit("index_online", source)

    def describe(self) -> None:
        """Read the metadata of a source, which may be a new one."""
        source = self.chance.choice(FREE)
        if not (self.home.sources / source / "manifest.json").exists():
            self.write_pages(source, 10)
            with contextlib.suppress(KbjobsError):
                register(self.home, source, [self.pages / source])
        self.submit("metadata", source)

    def pack(self) -> None:
        """Build a pack in one file."""
        target = self.home.path / f"{self.chance.randrange(10**6)}.kbpack"
        run(KBJOBS, "pack", "build", self.chance.choice(PAID), target, check=False)
        target.unlink(missing_ok=True)

    def back_up(self) -> None:
        """Back the home up."""
        target = self.home.path / f"{self.chance.randrange(10**6)}.tar"
        run(KBJOBS, "backup", target, check=False)
        target.unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete a source that cost nothing."""
        source = self.chance.choice(FREE)
        self.submit("delete_source", source, confirm=source)


def examine(place: Path, night: Night, api: Api, cut: float) -> list[str]:
    """What a copy lacks of what was there before the cut."""
    home = Home(place / "home")
    lost = []
    there: set[int] = set()
    if home.state_file.exists():
        with contextlib.closing(sqlite3.connect(home.state_file)) as state:
            there = {row[0] for row in state.execute("SELECT id FROM jobs")}
    answered = [job for moment, job in night.submitted if moment < cut]
    lost += [f"job {job}, whose submit was answered" for job in answered if job not in there]
    kept: set[str] = set()
    for source in PAID:
        ledger = home.sources / source / "source.db"
        if ledger.exists():
            with contextlib.closing(sqlite3.connect(ledger)) as opened:
                kept |= {
                    row[0]
                    for row in opened.execute(
                        "SELECT text FROM chunks WHERE text_hash IN (SELECT text_hash FROM vectors)"
                    )
                }
    paid = {text for moment, text in api.paid if moment < cut - GRACE} - {QUERY}  # a query is bought, and not kept
    lost += [f"a vector that was paid for: {text[:60]}" for text in sorted(paid - kept)[:5]]
    environment = {**os.environ, "KBJOBS_HOME": str(home.path)}
    searched = subprocess.run(
        [KBJOBS, "search", PAID[0], QUERY, "--json"], env=environment, capture_output=True, text=True, timeout=120
    )
    if "Traceback" in searched.stderr or (searched.returncode and not searched.stderr.strip()):
        lost.append(f"an answer of search: {searched.stderr[-300:]}")
    return lost + (recover(home, environment) if there else [])


def recover(home: Home, environment: dict[str, str]) -> list[str]:
    """Let a daemon drain the queue, and compare collections and ledgers; what is wrong after it."""
    daemon = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", KBJOBS, "daemon", "run"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + DRAIN_SECONDS
        while True:
            with contextlib.closing(sqlite3.connect(home.state_file, timeout=30)) as state:
                left = state.execute("SELECT id, status FROM jobs WHERE status IN ('pending', 'running')").fetchall()
            if not left:
                break
            if time.monotonic() > deadline or daemon.poll() is not None:
                return [f"an end of the jobs {left}"]
            time.sleep(0.1)
    finally:
        daemon.kill()
        daemon.wait()
    wrong = []
    for source in PAID:
        if (home.sources / source / "source.db").exists():
            found = subprocess.run(
                [KBJOBS, "sources", "verify", source], env=environment, capture_output=True, text=True, timeout=300
            )
            if found.returncode:
                wrong.append(f"{source}: {found.stdout[-300:]} {found.stderr[-300:]}")
    return wrong


def cut_power(filesystem: str, cuts: int, seed: int, top: Path) -> int:
    """Cut the power so many times; returns how many copies lacked anything."""
    chance = random.Random(seed)
    disk, broken = top / "disk.img", 0
    with disk.open("wb") as file:
        file.truncate(3 * 2**30)
    run(f"mkfs.{filesystem}", "-q", disk)
    with (
        tempfile.TemporaryDirectory(prefix="kbjobs-pages-") as pages,
        mounted(disk, top / "home") as place,
        Api() as api,
    ):
        home = Home(place / "home")
        os.environ |= {"KBJOBS_HOME": str(home.path), "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": api.url}
        home.prepare()
        night = Night(home, Path(pages), random.Random(seed + 1))
        for source in PAID:
            night.write_pages(source, 5)
            register(home, source, [Path(pages) / source])
        worker = threading.Thread(target=night.work)
        worker.start()
        took = 0.0
        try:
            for number in range(cuts):
                time.sleep(chance.uniform(0.1, 2.0))
                if night.failure is not None:
                    raise night.failure
                copy = top / "cut.img"
                cut = time.monotonic()
                run("cp", "--reflink=always", disk, copy)
                took = max(took, time.monotonic() - cut)
                with mounted(copy, top / "cut") as held:
                    lost = examine(held, night, api, cut)
                copy.unlink()
                if lost:
                    broken += 1
                    print(f"{filesystem}, cut {number + 1}: lost {'; '.join(lost)}", flush=True)
        finally:
            night.ended.set()
            worker.join()
            if is_running(home):
                stop_daemon(home, now=True, seconds=60)
        print(
            f"{filesystem}: {cuts} cuts, {broken} lost anything; {len(night.submitted):,} submits,"
            f" {len(api.paid):,} vectors paid for, {json.dumps(night.done)}; a copy took at most {took * 1000:.0f} ms",
            flush=True,
        )
    disk.unlink()
    return broken


def main() -> None:
    """Print the figures with their bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=200, help="on each file system")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--filesystem", choices=("ext4", "xfs"), help="this one alone")
    chosen = parser.parse_args()
    if reason := missing():
        print(f"skipped: {reason}")
        return
    broken = 0
    with tempfile.TemporaryDirectory(prefix="kbjobs-power-", dir="/var/tmp") as folder:
        image = Path(folder, "btrfs.img")
        with image.open("wb") as file:
            file.truncate(12 * 2**30)
        run("mkfs.btrfs", "-q", image)
        with mounted(image, Path(folder, "btrfs")) as top:
            for filesystem in [chosen.filesystem] if chosen.filesystem else ["ext4", "xfs"]:
                broken += cut_power(filesystem, chosen.cuts, chosen.seed, top)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
