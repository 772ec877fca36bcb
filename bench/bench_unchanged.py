"""How long it takes to see that nothing of a source of 100,000 files has changed.

The files lie in folders of a thousand, a short text in each; their vectors are drawn, as in bench_scale.py. After the
first run the pipeline runs again, from its begin to the moment at which it would embed what is missing; beside it, in
turns, the bare minimum: ``os.walk`` and a ``stat`` of each file. Then whole runs that change nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

from bench_scale import SOURCE, Clock, DrawingEmbedder, index
from measuring import temporary_home

from kbjobs.config.home import Home
from kbjobs.sources.registration import register

BAR = 5.0
"""Seconds for the scan of 100,000 unchanged files."""


def write_files(folder: Path, count: int) -> None:
    """Write so many files, a thousand in a folder."""
    for number in range(count):
        place = folder / f"part{number // 1000}"
        if number % 1000 == 0:
            place.mkdir(parents=True)
        (place / f"page{number}.txt").write_text(f"page {number} says {number * 7919 % 100_003} and no more")


class ScanClock(Clock):
    """Notes when the scan has ended: when the pipeline reports of vectors or of publishing for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.scanned_at = 0.0

    def report(self, current: int, total: int, unit: str, message: str, span: tuple[float, float], eta: bool) -> None:
        """Take a report."""
        super().report(current, total, unit, message, span, eta)
        if message != "reading documents" and not self.scanned_at:
            self.scanned_at = time.perf_counter()


def scan_again(home: Home) -> tuple[float, float]:
    """Seconds of the scan, and of the whole run."""
    clock = ScanClock()
    begun = time.perf_counter()
    counts = index(home, DrawingEmbedder(), clock)
    ended = time.perf_counter()
    assert counts["unchanged"] == counts["documents"], counts
    assert not counts["embedded"], counts
    return clock.scanned_at - begun, ended - begun


def look_at_all(folder: Path) -> float:
    """Seconds of the bare minimum."""
    begun = time.perf_counter()
    for place, _, names in os.walk(folder):
        for name in names:
            os.stat(os.path.join(place, name))  # noqa: PTH116, PTH118 — the quickest way
    return time.perf_counter() - begun


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with temporary_home() as home:
        folder = home.path / "pages"
        write_files(folder, options.files)
        register(home, SOURCE, [folder], ask=lambda question: None)
        begun = time.perf_counter()
        assert index(home, DrawingEmbedder(), Clock())["embedded"] == options.files
        print(f"first run over {options.files:,} files: {time.perf_counter() - begun:.1f} s", flush=True)
        rounds = [(*scan_again(home), look_at_all(folder)) for _ in range(options.rounds)]
    scan, whole, walk = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"scan of {options.files:,} unchanged files: {scan:.2f} s (bar {BAR:g}), {scan / walk:.1f} × walk and stat")
    print(f"the whole run: {whole:.2f} s; walk and stat alone: {walk:.2f} s; median of {options.rounds}")


if __name__ == "__main__":
    main()
