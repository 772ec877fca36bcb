"""The promises of ``tests/promises.toml``: which tests prove each, and which shard of ``make test-all`` runs them.

python -m tests.tools.promises shards     the names of all shards
python -m tests.tools.promises today      the shard whose turn it is today, for continuous integration
python -m tests.tools.promises docs       write the table of CONTRIBUTING.md
"""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "CONTRIBUTING.md"
# Ids of tests that make test leaves to make test-all, chosen by what they cost (tests/tools/costs.py).
LEFT = TESTS / "full_only.txt"
BEGIN, END = "<!-- generated: promises -->", "<!-- end of promises -->"


@dataclass(frozen=True, slots=True)
class Promise:
    """A row: what is promised, the files that prove it, their shard, and whether ``make test`` runs any of them.

    ``code``: modules below ``kbjobs/`` behind the promise, where no test file is named after one.
    """

    name: str
    shard: str
    tests: tuple[str, ...]
    everyday: bool = True
    code: tuple[str, ...] = ()


def read() -> tuple[Promise, ...]:
    """All promises, in the order of the file."""
    found = tomllib.loads((TESTS / "promises.toml").read_text())["promise"]
    return tuple(Promise(**{**row, "tests": tuple(row["tests"]), "code": tuple(row.get("code", ()))}) for row in found)


def shards() -> tuple[str, ...]:
    """The names of the shards, sorted."""
    return tuple(sorted({promise.shard for promise in read()}))


def shard_of() -> dict[Path, str]:
    """The shard of each test file."""
    return {TESTS / test: promise.shard for promise in read() for test in promise.tests}


def shard_of_day(day: date) -> str:
    """The shard of a day: each comes round once in as many days as there are shards."""
    return shards()[day.toordinal() % len(shards())]


def table() -> str:
    """The promises as a table in Markdown."""
    rows = ["| promise | tests (below `tests/`) | `make test` | shard |", "|---|---|---|---|"]
    for promise in read():
        tests = ", ".join(f"`{_shorten(test)}`" for test in promise.tests)
        rows.append(f"| {promise.name} | {tests} | {'yes' if promise.everyday else '—'} | {promise.shard} |")
    return "\n".join(rows)


def with_table(text: str) -> str:
    """The text with the table in its place."""
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{table()}\n{END}", text, flags=re.DOTALL)


def _shorten(test: str) -> str:
    return test.replace("/test_", "/").removeprefix("test_").removesuffix(".py")


def main() -> None:
    """Entry point: ``shards``, ``today`` or ``docs``."""
    match sys.argv[1:]:
        case ["shards"]:
            print(*shards())
        case ["today"]:
            print(shard_of_day(datetime.now(UTC).date()))
        case ["docs"]:
            PAGE.write_text(with_table(PAGE.read_text()))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
