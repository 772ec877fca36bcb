"""Pages a second of a scrape, beside Scrapy and a plain sequential crawler, and the memory of a large frontier.

A server of its own process on the loopback answers each request after 20 ms. 500 pages, each linking to two more, are
fetched at no delay by ``scrape`` (the phase, with its frontier, its files and their links), by Scrapy with as many
requests at a time, and by requests with BeautifulSoup, one after the other; both write the bodies to files. All three
are processes of their own, in turns, timed from their first request to the end of the crawl, as each counts it.
``--peers PYTHON`` is the interpreter of an environment with bench/requirements.txt.

Memory is the peak of a process that goes on with a run in whose frontier 200,000 addresses are queued.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from measuring import ROOT, run_script

PAGES, LATENCY, ROUNDS = 500, 0.02, 2
QUEUED = 200_000

SERVE = """
import sys
from tests.servers.site_server import Page, SiteServer
count, latency = int(sys.argv[1]), float(sys.argv[2])
pages = {}
for number in range(count):
    links = "".join(f'<a href="/p/{one}">{one}</a> ' for one in (2 * number + 1, 2 * number + 2) if one < count)
    text = f"<p>Water of well {number} boils in the kettle while the wind sings.</p>" * 40
    pages["/" if number == 0 else f"/p/{number}"] = Page(
        f"<html><head><title>Page {number}</title></head><body>{text}{links}</body></html>", delay=latency
    )
with SiteServer(pages) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""

OURS = """
import json, logging, resource, sys, time
from pathlib import Path
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.context import Context
import kbjobs.scraping.scrape  # as Scrapy, loaded before the time counts
from kbjobs.phases import scrape
from kbjobs.config.settings import Home, Settings
from kbjobs.store.frontier import Frontier
from kbjobs.store.sources import SourceFolder
url, folder, queued, limit = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
home = Home(folder)
home.prepare()
source = SourceFolder(home.sources, "site")

class Silent:
    def report(self, *_): pass
    def saved(self, steps): pass

if queued:
    source.path.mkdir(parents=True)
    frontier = Frontier(source.frontier)
    frontier.begin()
    frontier.set_fact("sitemap read", True)
    frontier.add((f"{url}/queued/{number}" for number in range(queued)), 1)
    frontier.close()
params = scrape.ScrapeParams(url=url, request_delay=0.0, max_depth=20, page_limit=limit)
plan = scrape.plan(PhaseRequest(home, Settings(home), params, source))
started = time.perf_counter()
context = Context(home, Settings(home), source, 1, Silent(), lambda: False, logging.getLogger("bench"))
result = scrape.run(context, plan.params)
seconds = time.perf_counter() - started
names = sorted(path.name for path in source.pages.rglob("*.html"))
print(json.dumps([seconds, result.counts["pages"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""

SCRAPY = """
import json, sys, time
from pathlib import Path
import scrapy
from scrapy.crawler import CrawlerProcess
url, folder, at_once = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

class Site(scrapy.Spider):
    name = "site"
    start_urls = [url + "/"]
    count = 0
    def parse(self, response):
        self.count += 1
        (folder / f"{self.count}.html").write_bytes(response.body)
        Site.count = self.count
        for link in response.css("a::attr(href)").getall():
            yield response.follow(link, self.parse)

process = CrawlerProcess({"LOG_ENABLED": False, "ROBOTSTXT_OBEY": True, "CONCURRENT_REQUESTS": at_once,
                          "CONCURRENT_REQUESTS_PER_DOMAIN": at_once, "DOWNLOAD_DELAY": 0,
                          "TELNETCONSOLE_ENABLED": False})
process.crawl(Site)
started = time.perf_counter()
process.start()
print(json.dumps([time.perf_counter() - started, Site.count]))
"""

SEQUENTIAL = """
import json, sys, time
from pathlib import Path
from urllib.parse import urljoin
import requests
from bs4 import BeautifulSoup
url, folder = sys.argv[1] + "/", Path(sys.argv[2])
started = time.perf_counter()
seen, waiting = {url}, [url]
with requests.Session() as session:
    for count in range(10**6):
        if not waiting:
            break
        place = waiting.pop(0)
        body = session.get(place).content
        (folder / f"{count}.html").write_bytes(body)
        for link in BeautifulSoup(body, "html.parser").find_all("a", href=True):
            target = urljoin(place, link["href"])
            if target not in seen:
                seen.add(target)
                waiting.append(target)
print(json.dumps([time.perf_counter() - started, count]))
"""


def run_peer(python: str, script: str, *arguments: object) -> list[float]:
    """What a script of another environment prints last. It is a file: Scrapy reads the source of a spider."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(script)
        file.flush()
        command = [python, file.name, *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if ended.returncode:
        sys.exit(f"a peer failed:\n{ended.stderr}")
    found: list[float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print the figures with their bars."""
    from kbjobs.scraping.crawl import AT_ONCE

    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", help="Python of an environment with Scrapy, requests and BeautifulSoup")
    options = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(PAGES), str(LATENCY)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert server.stdin is not None
    assert server.stdout is not None
    url = server.stdout.readline().decode().strip()

    def fresh(run: Callable[[Path], list[float]]) -> list[float]:
        with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as folder:
            return run(Path(folder))

    try:
        ours, scrapy, plain = [], [], []
        for _ in range(ROUNDS):
            ours.append(fresh(lambda folder: run_script(OURS, url, folder, 0, 1_000)))
            if options.peers:
                scrapy.append(fresh(lambda folder: run_peer(options.peers, SCRAPY, url, folder, AT_ONCE)))
                plain.append(fresh(lambda folder: run_peer(options.peers, SEQUENTIAL, url, folder)))
        seconds = statistics.median(run[0] for run in ours)
        print(f"scrape: {ours[0][1]:.0f} pages in {seconds:.2f} s, {ours[0][1] / seconds:.0f}/s, {ours[0][2]:.0f} MB")
        for name, runs, bar in (("Scrapy", scrapy, 1.0), ("requests + BeautifulSoup", plain, 5.0)):
            if runs:
                ratio = statistics.median(other[0] / mine[0] for mine, other in zip(ours, runs, strict=True))
                median = statistics.median(run[0] for run in runs)
                told = f"{runs[0][1]:.0f} pages in {median:.2f} s"
                print(f"{name}: {told}; scrape is {ratio:.2f} times as fast (bar {bar:g})")
        peak = fresh(lambda folder: run_script(OURS, url, folder, QUEUED, 200))[2]
        print(f"peak memory with {QUEUED:,} addresses queued: {peak:.0f} MB (bar 150)")
    finally:
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    main()
