"""upload and install-source beside bare obstore on the same server, and install beside building from the ledger.

- A source of 200 pages and an archive of 300 MB (bytes that do not pack), with its backup: seconds of ``upload`` to a
  SeaweedFS on the loopback, and of putting the same files there with obstore itself, six at a time; seconds of
  ``install-source``, and of getting the same files with obstore. In turns, each round in a place of its own.
- A pack of 50,000 passages (384 numbers each): passages a second that ``install-source`` makes a searchable source of,
  beside what building the same collection from the ledger takes (``sources rebuild``).
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT

sys.path.insert(0, str(ROOT))

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.content.document import document_id
from kbjobs.context import Context
from kbjobs.object_storage.folder import FolderBucket
from kbjobs.object_storage.remote import RemoteBucket
from kbjobs.packs.receiving import receive
from kbjobs.packs.uploading import upload
from kbjobs.services.sources import rebuild
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.packs.sources import Cut, Page, make_source
from tests.servers.s3_servers import Weed

FILES, ARCHIVE, ROUNDS, AT_ONCE = 200, 300_000_000, 5, 6
PASSAGES, DIMENSION = 50_000, 384


class Quiet:
    """Takes reports of progress and tells nobody."""

    def report(self, *args: Any) -> None:
        """Nothing."""

    def saved(self, steps: int) -> None:
        """Nothing."""


def context_of(home: Home, source_id: str) -> Context:
    """A job's context, without a job."""
    log = logging.getLogger("bench")
    return Context(home, Settings(home), SourceFolder(home.sources, source_id), 1, Quiet(), lambda: False, log)


def seconds(work: Callable[[], object]) -> float:
    """How long some work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def make_files(folder: Path) -> list[Path]:
    """The pages and the archive, in a folder that the source has as its path."""
    drawn = random.Random(1)
    words = [f"word{number}" for number in range(5_000)]
    for number in range(FILES):
        text = " ".join(drawn.choices(words, k=5_000))
        (folder / f"more{number}.html").write_text(f"<title>Page {number}</title><p>{text}")
    with (folder / "archive.zim").open("wb") as file:
        for _ in range(ARCHIVE // 10_000_000):
            file.write(drawn.randbytes(10_000_000))
    return sorted(path for path in folder.rglob("*") if path.is_file())


def put_bare(store: Any, files: list[Path], prefix: str) -> None:
    """Put the files with obstore itself."""
    import obstore

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda path: obstore.put(store, f"{prefix}/{path.name}", path), files))


def get_bare(store: Any, files: list[Path], prefix: str, folder: Path) -> None:
    """Get them with obstore itself."""
    import obstore

    folder.mkdir()

    def get(path: Path) -> None:
        with (folder / path.name).open("wb") as file:
            for chunk in obstore.get(store, f"{prefix}/{path.name}"):
                file.write(chunk)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(get, files))


def compare_stores(work: Path, rounds: int) -> None:
    """Measure upload and install-source beside obstore."""
    home = Home(work / "home")
    home.prepare()
    source = make_source(home, work / "pages")
    files = make_files(Path(source.read().paths[0]))
    size = sum(path.stat().st_size for path in files)
    print(f"{len(files)} files, {size / 1e6:,.0f} MB, SeaweedFS on the loopback, median of {rounds} rounds in turns")
    times: dict[str, list[float]] = {"upload": [], "put": [], "install": [], "get": []}
    with Weed(work / "weed") as server:
        for number in range(rounds):
            bucket = RemoteBucket("s3://bench", server.store(f"ours{number}"))
            bare = server.store()
            times["put"].append(seconds(partial(put_bare, bare, files, f"bare{number}")))
            times["upload"].append(seconds(partial(upload, context_of(home, "wiki"), bucket, True, 1, False)))
            other = Home(work / f"other{number}")
            other.prepare()
            times["get"].append(seconds(partial(get_bare, bare, files, f"bare{number}", work / f"got{number}")))
            os.sync()  # what obstore has left to be written to disk, an install would write too: it ends with a sync
            times["install"].append(seconds(partial(receive, context_of(other, "wiki"), bucket, None, True, None)))
            for folder in (other.path, work / f"got{number}"):
                shutil.rmtree(folder)
    middle = {name: statistics.median(values) for name, values in times.items()}
    for ours, theirs, bar in (("upload", "put", 0.8), ("install", "get", 0.6)):
        print(
            f"  {ours} {middle[ours]:.2f} s, obstore {theirs} {middle[theirs]:.2f} s:"
            f" {middle[theirs] / middle[ours]:.2f} of its speed (bar {bar})"
        )


def write_passages(folder: SourceFolder) -> None:
    """Fill the ledger: documents of 20 passages, whose vectors lie around 500 centres as those of real texts do."""
    drawn = np.random.default_rng(1)
    centres = drawn.normal(size=(500, DIMENSION))
    words = [f"word{number}" for number in range(20_000)]
    with Ledger(folder.ledger) as ledger:
        ledger.delete_documents([doc_id for doc_id, _ in ledger.document_paths()])
        profile = ledger.profile("tokens 256 2")
        model = ledger.model("synthetic-0123456789ab", "synthetic", DIMENSION, profile)
        for start in range(0, PASSAGES, 2_000):
            batch = []
            rows = []
            for number in range(start, start + 2_000, 20):
                path = f"pages/{number}.html"
                cuts = [
                    Cut(place, " ".join(words[one] for one in drawn.integers(0, len(words), 150)), 150)
                    for place in range(20)
                ]
                page = Page(
                    document_id("large", path), path, f"https://e.org/{number}", f"Page {number}", f"{number:064}"
                )
                batch.append((page, "1", cuts))
                vectors = centres[drawn.integers(0, 500, 20)] + drawn.normal(scale=0.6, size=(20, DIMENSION))
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                rows += [(cut.text_hash, row.astype("<f4").tobytes()) for cut, row in zip(cuts, vectors, strict=True)]
            ledger.put_documents(profile, "1", batch)
            ledger.put_vectors(model, rows)


def compare_install(work: Path, rounds: int) -> None:
    """Measure install-source beside building the collection."""
    from kbjobs.services.packs import build

    home = Home(work / "home50k")
    home.prepare()
    folder = make_source(home, work / "large", "large")
    write_passages(folder)
    build(home, "large", work / "store", include_backup=False)
    installs, rebuilds = [], []
    for number in range(rounds):
        rebuilds.append(seconds(lambda: rebuild(home, "large")))
        other = Home(work / f"install{number}")
        other.prepare()
        with closing(FolderBucket(work / "store")) as bucket:
            installs.append(seconds(partial(receive, context_of(other, "large"), bucket, None, False, None)))
        shutil.rmtree(other.path)
    install, again = statistics.median(installs), statistics.median(rebuilds)
    print(
        f"a pack of {PASSAGES:,} passages: installed in {install:.1f} s, its collection built from the ledger in"
        f" {again:.1f} s: {again / install:.2f} of that speed (bar 0.7)"
    )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=("stores", "install"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-stores-") as name:
        work = Path(name)
        if arguments.only != "install":
            compare_stores(work, arguments.rounds)
        if arguments.only != "stores":
            compare_install(work, min(arguments.rounds, 3))


if __name__ == "__main__":
    main()
