"""Every promise has its tests, every test its promise, and a shard of ``make test-all`` comes round for each."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, timedelta

from tests.conftest import ROOT
from tests.tools import promises


def test_each_test_file_proves_one_promise() -> None:
    """One that stands in no row is redundant, or the table lacks a promise."""
    listed = Counter(test for promise in promises.read() for test in promise.tests)
    tests = ROOT / "tests"
    assert {test for test, count in listed.items() if count > 1} == set()
    assert listed.keys() == {path.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")}


def test_the_table_is_that_of_the_file() -> None:
    """Otherwise: make docs."""
    text = promises.PAGE.read_text()
    assert promises.BEGIN in text and text == promises.with_table(text)


def test_each_everyday_promise_has_a_test_that_make_test_runs() -> None:
    """A whole file is left to make test-all by its ``pytestmark``."""
    left = re.compile(r"^pytestmark = .*pytest\.mark\.full\b", re.MULTILINE)
    for promise in promises.read():
        everyday = [test for test in promise.tests if not left.search((ROOT / "tests" / test).read_text())]
        assert bool(everyday) is promise.everyday, promise.name


def test_every_shard_comes_round() -> None:
    days = [date(2026, 12, 30) + timedelta(days=number) for number in range(len(promises.shards()))]
    assert {promises.shard_of_day(day) for day in days} == set(promises.shards())
