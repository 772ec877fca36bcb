"""How many articles of a ZIM file a second are read, and whether memory grows with the file.

The articles are pieces of the Python documentation, each different, of 3 to 10 kB of text, in files of 2,000 and of
20,000 made by libzim's own writer. Each round reads the larger one twice, in turns and each time in a process of its
own: the metadata phase with its ledger, and a plain loop of bare libzim reads, in the order of clusters, with our
extraction. Memory is the peak of the process that runs the phase; what it starts (libzim's process, those that read
documents) is told apart, by the largest.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import PYTHON_DOCS, run_script

ROUNDS = 5
SMALL, LARGE = 2_000, 20_000
RATIO_BAR, GROWTH_BAR = 0.7, 50

WRITE = """
import random, sys
from pathlib import Path
from libzim.writer import Creator, Hint, Item, StringProvider
from selectolax.lexbor import LexborHTMLParser

class Page(Item):
    def __init__(self, number, html):
        super().__init__()
        self.number, self.html = number, html
    def get_path(self): return f"article/{self.number}"
    def get_title(self): return f"Article {self.number}"
    def get_mimetype(self): return "text/html"
    def get_contentprovider(self): return StringProvider(self.html)
    def get_hints(self): return {Hint.FRONT_ARTICLE: True}

path, pages, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
pieces = []
for page in sorted(set(pages.rglob("*.html")) - set(pages.rglob("genindex*"))):  # of those links alone are left out
    for node in LexborHTMLParser(page.read_bytes()).css("h1, h2, h3, p, pre, ul"):
        if 20 < len(text := node.text()) < 3000:
            pieces.append((node.html, len(text)))
chance = random.Random(7)
with Creator(path).config_indexing(False, "eng").config_nbworkers(2) as zim:
    for number in range(count):
        place, wanted, parts = chance.randrange(len(pieces)), chance.randrange(3_000, 9_000), []
        while wanted > 0:
            html, length = pieces[place % len(pieces)]
            parts.append(html)
            place, wanted = place + 1, wanted - length
        title = f"Article {number}"
        head = f"<!doctype html><html lang=en><head><title>{title}</title></head><body><h1>{title}</h1>"
        zim.add_item(Page(number, head + "".join(parts) + "</body></html>"))
    zim.add_metadata("Language", "eng")
    zim.add_metadata("Title", "Pieces")
"""

PHASE = """
import json, logging, re, resource, sys, tempfile, time
from pathlib import Path
from kbjobs.context import Context
from kbjobs.phases import metadata
from kbjobs.sources.registration import register
from kbjobs.config.settings import Home, Settings
from kbjobs.store.sources import SourceFolder

class Silent:
    def report(self, *_): pass
    def saved(self, steps): pass

with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as folder:
    home = Home(Path(folder))
    home.prepare()
    register(home, "pieces", [Path(sys.argv[1])])
    source = SourceFolder(home.sources, "pieces")
    context = Context(home, Settings(home), source, 1, Silent(), lambda: False, logging.getLogger("bench"))
    begun = time.perf_counter()
    counts = metadata.run(context, metadata.MetadataParams()).counts
    seconds = time.perf_counter() - begun
# Not ru_maxrss, which begins with the memory of the process that started this one.
own = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"seconds": seconds, "documents": counts["documents"], "own": own, "children": children}))
"""

LOOP = """
import json, sys, time
from pathlib import Path
from libzim.reader import Archive
from kbjobs.content.document_reading import extract_page
from kbjobs.content.zim_service import EntryOrder, FileParts

begun = time.perf_counter()
archive = Archive(Path(sys.argv[1]))
documents = 0
for number, _ in EntryOrder(FileParts([Path(sys.argv[1])]), archive.all_entry_count, b"C").walk(0):
    entry = archive._get_entry_by_id(number)
    if not entry.is_redirect and (item := entry.get_item()).mimetype == "text/html":
        extract_page(entry.path, bytes(item.content), ".html")
        documents += 1
print(json.dumps({"seconds": time.perf_counter() - begun, "documents": documents}))
"""


def write_zim(path: Path, count: int) -> Path:
    """Make a ZIM file of so many articles."""
    subprocess.run([sys.executable, "-c", WRITE, path, PYTHON_DOCS, str(count)], check=True, capture_output=True)
    return path


def read(script: str, zim: Path, count: int) -> Any:
    """Run a script over a ZIM file, and see that it has read all of it."""
    measured = run_script(script, zim)
    if measured["documents"] != count:
        sys.exit(f"{measured['documents']:,} documents were read of {count:,}")
    return measured


def main() -> None:
    """Print the figures with their bars."""
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as folder:
        small, large = (write_zim(Path(folder) / f"{count}.zim", count) for count in (SMALL, LARGE))
        rounds = [(read(PHASE, large, LARGE), read(LOOP, large, LARGE)) for _ in range(ROUNDS)]
        phase, loop = (
            LARGE / statistics.median(one["seconds"] for one in column) for column in zip(*rounds, strict=True)
        )
        ratio = statistics.median(bare["seconds"] / whole["seconds"] for whole, bare in rounds)
        print(
            f"{LARGE:,} articles, {large.stat().st_size / 2**20:.0f} MB: metadata {phase:.0f} articles/s, bare libzim"
            f" and our extraction {loop:.0f}, ratio {ratio:.2f} (bar {RATIO_BAR}, median of {ROUNDS})"
        )
        smalls = [read(PHASE, small, SMALL) for _ in range(ROUNDS)]
        larges = [whole for whole, _ in rounds]
        for name in ("own", "children"):
            before, after = (statistics.median(one[name] for one in runs) / 1024 for runs in (smalls, larges))
            which = "the phase's process" if name == "own" else "the largest it started"
            print(
                f"peak memory, {which}: {before:.0f} MB of {SMALL:,} articles, {after:.0f} MB of {LARGE:,}:"
                f" growth {after - before:.0f} MB (bar {GROWTH_BAR})"
            )


if __name__ == "__main__":
    main()
