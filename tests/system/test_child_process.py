"""Child processes: what they answer, how they are limited, and that none outlives its parent."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.system import child_service
from kbjobs.system.child_process import ChildError, ChildLimits, ChildLost, ChildProcess, ChildProgram
from tests.conftest import FACTOR, ROOT, is_alive, wait_until

pytestmark = pytest.mark.processes

KILLS = 5 * FACTOR


class Service:
    """What the tests ask for."""

    def __init__(self, *given: object) -> None:
        if "fail" in given:
            raise ValueError("it cannot be made")
        self._given = given

    def echo(self, value: object) -> tuple[object, ...]:
        return (*self._given, value)

    def fail(self) -> None:
        raise KeyError("nothing there")

    def spin(self) -> None:
        while True:
            pass

    def spin_natively(self) -> int:
        """In one call of C, which hears no signal that Python would handle."""
        return len(str(10**8_000_000))

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def crash(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def leave(self) -> None:
        os._exit(7)

    def take_memory(self, size: int) -> int:
        return len(bytearray(size))

    def count(self, most: int, pause: float = 0.0) -> Iterator[int]:
        for number in range(most):
            time.sleep(pause)
            yield number

    def beat(self, times: int) -> Iterator[int]:
        for _ in range(times):
            end = time.process_time() + 0.2
            while time.process_time() < end:
                pass
            child_service.beat()
        yield times

    def look_around(self) -> tuple[list[str], dict[str, str], str]:
        return sys.path, dict(os.environ), os.fspath(Path.cwd())

    def shout(self) -> str:
        print("what a library prints is no answer", flush=True)
        return "answer"


def program(*given: object, **options: object) -> ChildProgram:
    return ChildProgram(f"{__name__}:Service", given, **options)  # type: ignore[arg-type]


@pytest.fixture
def child() -> Iterator[ChildProcess]:
    made = ChildProcess(program("a", 1), "the process")
    yield made
    made.stop()


def test_what_a_method_returns_yields_and_raises(child: ChildProcess) -> None:
    assert child.ask("echo", {"b": b"\0" * 3_000_000}) == ("a", 1, {"b": b"\0" * 3_000_000})
    first = child.pid
    assert list(child.stream("count", 1000)) == list(range(1000))
    with pytest.raises(ChildError, match="KeyError: 'nothing there'"):
        child.ask("fail")
    assert child.ask("shout") == "answer"
    assert child.pid == first


def test_a_service_that_cannot_be_made() -> None:
    failing = ChildProcess(program("fail"), "the process")
    try:
        with pytest.raises(ChildError, match="it cannot be made"):
            failing.ask("echo", 1)
    finally:
        failing.stop()


@pytest.mark.parametrize("method", ["spin", "spin_natively"])
def test_processor_time_is_limited(child: ChildProcess, method: str) -> None:
    began = time.monotonic()
    with pytest.raises(ChildLost) as lost:
        child.ask(method, limits=ChildLimits(0.5))
    assert lost.value.is_late
    assert time.monotonic() - began < 10
    assert child.ask("echo", 2) == ("a", 1, 2)  # another one is there


def test_waiting_is_limited(child: ChildProcess) -> None:
    with pytest.raises(ChildLost) as lost:
        child.ask("sleep", 1000, limits=ChildLimits(wait=0.5))
    assert lost.value.is_late


def test_each_of_a_stream_has_its_time(child: ChildProcess) -> None:
    assert list(child.stream("count", 5, 0.2, limits=ChildLimits(wait=15))) == [0, 1, 2, 3, 4]
    assert list(child.stream("beat", 5, limits=ChildLimits(0.6, 15))) == [5]
    with pytest.raises(ChildLost):
        list(child.stream("count", 1, 1000, limits=ChildLimits(wait=0.5)))


def test_a_stream_that_is_left_does_not_answer_the_next_request(child: ChildProcess) -> None:
    older = child.stream("count", 1_000_000)
    assert next(older) == 0
    assert child.ask("echo", 3) == ("a", 1, 3)
    with pytest.raises(ChildLost):
        next(older)


@pytest.mark.parametrize(
    ("method", "reason"), [("crash", r"crashed \(Segmentation fault\)"), ("leave", r"ended \(exit code 7\)")]
)
def test_its_end_is_told_and_the_next_one_answers(child: ChildProcess, method: str, reason: str) -> None:
    with pytest.raises(ChildLost, match=f"the process {reason}") as lost:
        child.ask(method)
    assert not lost.value.is_late
    assert child.ask("echo", 4) == ("a", 1, 4)


def test_memory_is_limited(child: ChildProcess) -> None:
    with pytest.raises(ChildError, match="MemoryError"):
        child.ask("take_memory", 4 * 2**30)


class Stop(Exception):
    """Raised by a check."""


@pytest.mark.parametrize("method", ["spin_natively", "sleep"])
def test_a_wish_to_stop_is_heard_in_the_middle(child: ChildProcess, method: str) -> None:
    asked = time.monotonic() + 0.5

    def check() -> None:
        if time.monotonic() > asked:
            raise Stop

    with pytest.raises(Stop):
        child.ask(method, *([1000] if method == "sleep" else []), limits=ChildLimits(100, check=check))
    assert time.monotonic() - asked < 2


def test_another_thread_can_stop_it(child: ChildProcess) -> None:
    lost: list[ChildLost] = []

    def ask() -> None:
        try:
            child.ask("sleep", 1000)
        except ChildLost as error:
            lost.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: child.pid is not None)
    child.stop()
    thread.join(5)
    assert [str(error) for error in lost] == ["the process was stopped"]
    with pytest.raises(ChildLost, match="was stopped"):
        child.ask("echo", 5)


def test_it_has_no_secret_and_nothing_of_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("json.py", "pickle.py", "kbjobs.py", "struct.py"):
        (tmp_path / module).write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("KBJOBS_RUN_ID", "run")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = ChildProcess(program(), "the process")
    try:
        path, environment, _ = child.ask("look_around")
    finally:
        child.stop()
    assert path == sys.path and str(tmp_path) not in path
    assert environment["KBJOBS_RUN_ID"] == "run"
    assert not {"OPENAI_API_KEY", "PYTHONPATH"} & set(environment)


def test_it_lives_on_when_the_thread_that_asked_first_has_ended(child: ChildProcess) -> None:
    thread = threading.Thread(target=child.ask, args=("echo", 6))
    thread.start()
    thread.join()
    pid = child.pid
    assert child.ask("echo", 7) == ("a", 1, 7)
    assert child.pid == pid


PARENT = """
import sys, threading
from kbjobs.system.child_process import ChildProcess, ChildProgram
children = [ChildProcess(ChildProgram("tests.system.test_child_process:Service"), "it") for _ in range(2)]
for child, method in zip(children, ["spin_natively", "sleep"]):
    child.start()
    threading.Thread(target=child.ask, args=(method, *([1000] if method == "sleep" else [])), daemon=True).start()
print(*(child.pid for child in children), flush=True)
sys.stdin.read()
"""


def test_none_outlives_its_parent_whenever_that_is_killed() -> None:
    """Also in the middle of a native call, and while it starts."""
    chance = random.Random(0)
    for _ in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as parent:
            assert parent.stdout is not None
            children = [int(pid) for pid in parent.stdout.readline().split()]
            assert len(children) == 2
            time.sleep(chance.random() * 0.3)  # a random moment is what is tried
            parent.kill()
        wait_until(lambda pids=children: not any(map(is_alive, pids)), 1)
