"""What each test costs: its time, and the processes, models, daemons, servers and sleeps that the time goes to.

    python -m tests.tools.costs run FILE [what pytest is given]     run the tests and write what they cost to FILE
    python -m tests.tools.costs show FILE [--tests 30]              print the tables of a run
    python -m tests.tools.costs choose FILE                         choose the tests of ``make test`` by a run

A run is an ordinary run of pytest with this module as a plug-in. Every Python that a test starts notes itself and the
first model engine it imports (``child/sitecustomize.py``); within pytest itself other programs, listening sockets and
seconds slept are counted by audit hooks and a wrapped ``time.sleep``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tools import promises
from tests.tools.promises import Promise

VARIABLE = "KBJOBS_TEST_COSTS"
CHILD = Path(__file__).parent / "child"
ROOT = Path(__file__).resolve().parents[2]
DEAR = 3.0  # seconds
ROOM = 20.0  # seconds that the dear tests of a promise may take in make test
KINDS = ("commands", "daemons", "workers", "other Pythons", "programs", "models", "servers", "slept")


def note(kind: str, amount: float, detail: str, test: str | None = None) -> None:
    """Append a line to the file of costs, for the test that runs."""
    if test is None:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
    line = f"{test}\t{kind}\t{amount:.4f}\t{detail[:200]}".replace("\n", " ") + "\n"
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, line.encode(errors="replace"))
    finally:
        os.close(file)


def pytest_configure(config: pytest.Config) -> None:
    """Count what this process starts, if a run of costs is under way."""
    if VARIABLE in os.environ and (hasattr(config, "workerinput") or not config.getoption("numprocesses", None)):
        sys.addaudithook(_audit)
        _count_sleeps()
        _count_models()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The seconds of each part of a test; only the process that reports to the terminal notes them."""
    if VARIABLE in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
        note("seconds", report.duration, f"{report.when} {report.outcome}", report.nodeid)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen":
        program = Path(os.fsdecode(arguments[0])).name
        if not program.startswith("python"):
            note("programs", 1, program)
    elif event == "socket.bind":
        note("servers", 1, str(arguments[1]))


def _count_sleeps() -> None:
    sleep = time.sleep

    def sleeping(seconds: Any) -> None:
        began = time.monotonic()
        sleep(seconds)
        caller = sys._getframe(1)
        note("slept", time.monotonic() - began, f"{caller.f_code.co_filename}:{caller.f_lineno}")

    time.sleep = sleeping


def _count_models() -> None:
    from kbjobs.embedding import choose

    load = choose.load_folder

    def loading(*arguments: Any, **named: Any) -> Any:
        note("models", 1, "in pytest")
        return load(*arguments, **named)

    choose.load_folder = loading


def run(file: Path, arguments: list[str]) -> int:
    """Run pytest with everything counted into the file; returns pytest's exit code."""
    file.unlink(missing_ok=True)
    paths = [str(CHILD), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, VARIABLE: str(file.resolve()), "PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("PYTEST_XDIST_WORKER", None)  # of a run that this one is a test of
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.tools.costs", *arguments], env=environment, check=False
    ).returncode


Costs = dict[str, Counter[str]]


def read(file: Path) -> Costs:
    """What each test cost, by its id: seconds, and the amounts of the kinds."""
    costs: Costs = defaultdict(Counter)
    for line in file.read_text(errors="replace").splitlines():
        test, kind, amount, _ = line.split("\t", 3)
        costs[test or "(between tests)"][kind] += float(amount)  # type: ignore[assignment]
    return costs


def by_file(costs: Costs) -> Costs:
    """The sums of each file."""
    sums: Costs = defaultdict(Counter)
    for test, found in costs.items():
        sums[test.partition("::")[0]].update(found)
        sums[test.partition("::")[0]]["tests"] += 1
    return sums


def by_folder(files: Costs) -> Costs:
    """The sums of each folder below tests/."""
    sums: Costs = defaultdict(Counter)
    for file, found in files.items():
        sums["/".join(file.split("/")[:2]) if file.count("/") > 1 else "tests"].update(found)
    return sums


def table(costs: Costs, name: str, most: int | None = None) -> Iterable[str]:
    """The costs as a table in Markdown, the dearest first, with their sum."""
    shown = [kind for kind in ("tests", "seconds", *KINDS) if any(found[kind] for found in costs.values())]
    yield f"| {name} | {' | '.join(shown)} |"
    yield f"|---|{'---:|' * len(shown)}"
    ranked = sorted(costs.items(), key=lambda item: -item[1]["seconds"])
    total: Counter[str] = sum((found for _, found in ranked), Counter())
    for label, found in [*ranked[:most], ("all", total)]:
        yield f"| {label} | {' | '.join(f'{found[kind]:,.0f}' for kind in shown)} |"


def show(file: Path, most: int) -> None:
    """Print the tables of a run: by folder, by file, the dearest tests."""
    costs = read(file)
    files = by_file(costs)
    for part in (table(by_folder(files), "folder"), table(files, "file"), table(costs, "test", most)):
        print("\n".join(part), end="\n\n")


def choose(costs: Costs, rows: Sequence[Promise]) -> list[str]:
    """The tests that ``make test`` leaves to ``make test-all``, sorted.

    Of each promise it keeps all cheap tests, and as many of the dear ones as fit into ROOM seconds, the cheapest first.

    Args:
        costs: what each test cost.
        rows: the promises.
    """
    left: list[str] = []
    for row in rows:
        files = {f"tests/{test}" for test in row.tests}
        dear = sorted(
            (found["seconds"], test)
            for test, found in costs.items()
            if test.partition("::")[0] in files and found["seconds"] >= DEAR
        )
        spent = 0.0
        for seconds, test in dear:
            spent += seconds
            if spent > ROOM:
                left.append(test)
    return sorted(left)


def main() -> int:
    """Entry point: ``run``, ``show`` or ``choose``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("file", type=Path)
    showing = commands.add_parser("show")
    showing.add_argument("file", type=Path)
    showing.add_argument("--tests", type=int, default=30, help="how many of the dearest tests to list")
    choosing = commands.add_parser("choose")
    choosing.add_argument("file", type=Path)
    chosen, others = parser.parse_known_args()
    if chosen.command == "run":
        return run(chosen.file, others)
    if chosen.command == "choose":
        left = choose(read(chosen.file), promises.read())
        promises.LEFT.write_text("".join(f"{test}\n" for test in left))
    else:
        show(chosen.file, chosen.tests)
    return 0


if __name__ == "__main__":
    sys.exit(main())
