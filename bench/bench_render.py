"""Pages that scripts write: pages a second of ``scrape --render always``, and the memory that it takes at most.

A site of pages that are one and the same shell is served on loopback by a process of its own; a script asks for each
page's text and links. The site is scraped whole, without a delay between requests. The memory is the proportional set
size (proc(5), smaps_rollup) of the scraping process and of all its children, Chromium among them, looked at each half
second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import ROOT

from kbjobs.scraping.rendering.browser_processes import find_tree

PAGES = 2_000
RATE_BAR, MEMORY_BAR = 3.0, 700

SERVE = """
import sys
from tests.scraping.rendering.conftest import shell_site
from tests.servers.site_server import SiteServer
with SiteServer(shell_site(int(sys.argv[1]))) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""

SCRAPE = """
import json, sys, time
from pathlib import Path
from kbjobs.config.home import Home
from tests.scraping.test_scrape import scrape_site
home = Home(Path(sys.argv[1]))
home.prepare()
started = time.perf_counter()
found = scrape_site(home, sys.argv[2], render="always", page_limit=int(sys.argv[3]) + 10, max_depth=100)
print(json.dumps({"seconds": time.perf_counter() - started, "rendered": found.counts["rendered"]}))
"""


def measure_tree(root: int) -> int:
    """The bytes of memory of a process and of its descendants."""
    size = 0
    for process in find_tree(root):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        size += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return size


def main() -> None:
    """Scrape the site once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=PAGES)
    pages: int = parser.parse_args().pages
    serve = [sys.executable, "-c", SERVE, str(pages)]
    with (
        tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as home,
        subprocess.Popen(serve, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        command = [sys.executable, "-c", SCRAPE, home, url, str(pages)]
        most = 0
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as scrape:
            while scrape.poll() is None:
                most = max(most, measure_tree(scrape.pid))
                time.sleep(0.5)
            output = scrape.stdout.read() if scrape.stdout is not None else ""
        server.stdin.close()
    if scrape.returncode:
        sys.exit("the scrape failed")
    told = json.loads(output.splitlines()[-1])
    print(f"{told['rendered']:,} of {pages:,} pages rendered in {told['seconds']:.0f} s")
    print(f"  {told['rendered'] / told['seconds']:.2f} pages/s (bar {RATE_BAR}), without a delay between requests")
    print(f"  {most / 1e6:.0f} MB of memory at most (bar {MEMORY_BAR} MB)")


if __name__ == "__main__":
    main()
