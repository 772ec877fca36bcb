"""What tests cost is counted for the test that caused it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.conftest import ROOT
from tests.tools import costs
from tests.tools.promises import Promise

DEAR = """
import socket, subprocess, sys, time

def test_dear():
    time.sleep(0.05)
    subprocess.run([sys.executable, "-m", "kbjobs", "--version"], check=True)
    subprocess.run(["true"], check=True)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))

def test_cheap():
    pass
"""


def test_each_kind_is_counted(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(DEAR)
    tool = [sys.executable, "-m", "tests.tools.costs"]
    arguments = [str(tmp_path / "costs.tsv"), "--rootdir", str(tmp_path), "-c", "/dev/null", str(tmp_path)]
    subprocess.run([*tool, "run", *arguments], cwd=ROOT, check=True, capture_output=True)
    found = costs.read(tmp_path / "costs.tsv")
    dear, cheap = found["test_two.py::test_dear"], found["test_two.py::test_cheap"]
    assert (dear["commands"], dear["programs"], dear["servers"]) == (1, 1, 1)
    assert 0.05 <= dear["slept"] <= dear["seconds"] and set(cheap) == {"seconds"}
    shown = subprocess.check_output([*tool, "show", tmp_path / "costs.tsv"], cwd=ROOT, text=True)
    assert "| test_two.py::test_dear | " in shown and "| test_two.py | 2 | " in shown


def test_dear_tests_are_left_to_the_full_suite_but_for_some_of_each_promise() -> None:
    seconds = {"a::cheap": 0.1, "a::one": 8.0, "a::two": 9.0, "a::three": 10.0, "b::only": 12.0, "b::huge": 300.0}
    found = {f"tests/{test}": Counter({"seconds": amount}) for test, amount in seconds.items()}
    rows = [Promise("first", "x", ("a",)), Promise("second", "x", ("b",))]
    assert costs.choose(found, rows) == ["tests/a::three", "tests/b::huge"]
