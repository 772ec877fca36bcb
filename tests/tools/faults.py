"""Puts faults into the code behind each promise, to see whether the promise's tests in ``make test`` catch them.

    python -m tests.tools.faults [--row N] [--seed 1] [--tries 3]

A fault is a condition that is negated, in a module that a test file of the promise is named after, or that the promise
names as ``code`` in ``tests/promises.toml``. It is put into a copy of this repository; the tests run there until the
first failure. A fault that survives is printed, and another one is tried: it may be in code that these tests do not
run. The exit code is 1 if no fault of some promise was caught.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.tools import promises
from tests.tools.promises import Promise

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600  # that the tests of a promise may take; a fault that makes them hang is caught
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """A condition of a module, by the offsets of its text."""

    file: Path
    line: int
    start: int
    end: int
    text: str


def modules_of(row: Promise) -> list[Path]:
    """The modules behind a promise: those that it names, and those that its test files are named after."""
    named = [ROOT / "kbjobs" / module for module in row.code]
    mirrored = [ROOT / "kbjobs" / test.replace("/test_", "/") for test in row.tests if "/" in test]
    return [path for path in dict.fromkeys([*named, *mirrored]) if path.is_file()]


def find_faults(file: Path) -> Iterator[Fault]:
    """Every condition of an ``if`` within a function of the file."""
    source = file.read_text()
    starts = [0]
    for line in source.encode().split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.If | ast.IfExp):
                test = node.test
                start = starts[test.lineno - 1] + test.col_offset
                end = starts[(test.end_lineno or 0) - 1] + (test.end_col_offset or 0)
                yield Fault(file, test.lineno, start, end, source.encode()[start:end].decode())


def is_caught(fault: Fault, row: Promise, copy: Path) -> bool:
    """Whether a test of the promise fails with the fault in the copy."""
    file = copy / fault.file.relative_to(ROOT)
    before = file.read_bytes()
    file.write_bytes(before[: fault.start] + f"(not ({fault.text}))".encode() + before[fault.end :])
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-q", "-n", str(WORKERS), "--no-header", "-m", "not full"]
    try:
        ended = subprocess.run(
            [*command, *(f"tests/{test}" for test in row.tests)],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy)},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        return ended.returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        file.write_bytes(before)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", type=int, action="append", help="number of a promise, from 0; default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tries", type=int, default=3, help="faults to try until one is caught")
    chosen = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
        for cache in (".cache", ".venv"):
            (copy / cache).symlink_to(ROOT / cache)
        for number, row in enumerate(promises.read()):
            if (chosen.row and number not in chosen.row) or not row.everyday:
                continue
            faults = [fault for module in modules_of(row) for fault in find_faults(module)]
            random.Random(f"{chosen.seed} {row.name}").shuffle(faults)
            for fault in faults[: chosen.tries]:
                place = f"{fault.file.relative_to(ROOT)}:{fault.line}: not ({' '.join(fault.text.split())})"
                if is_caught(fault, row, copy):
                    print(f"{number:3} caught    {row.name}: {place}", flush=True)
                    break
                print(f"{number:3} survived  {row.name}: {place}", flush=True)
            else:
                print(f"{number:3} NOT CAUGHT {row.name} ({len(faults)} faults known)", flush=True)
                failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
