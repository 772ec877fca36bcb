"""Reading in several processes gives what reading in one gives, whatever becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kbjobs.content.document_reading import Origin
from kbjobs.content.source_files import FoundFile, find_files
from kbjobs.content.titles import NO_SITE
from kbjobs.errors import KbjobsError
from kbjobs.scanning import reading_pool
from kbjobs.scanning.file_reading import ArchiveEntry, Read, Reader, Task, Unread
from kbjobs.scanning.reading_pool import read_all
from tests.conftest import ROOT, wait_until, write_pages

pytestmark = pytest.mark.processes

READER = Reader("docs", None, NO_SITE, True, True)
SIGNALS = {"segv": signal.SIGSEGV, "hang": signal.SIGPROF, "kill": signal.SIGKILL}


@dataclass(frozen=True, slots=True)
class Deadly(Reader):
    """Some of what it reads ends the process."""

    def read(self, task: Task) -> Read | Unread:
        for name, number in SIGNALS.items():
            if name in task.key:
                os.kill(os.getpid(), number)
        return Reader.read(self, task)


DEADLY = Deadly("docs", None, NO_SITE, True, True)


def go_on() -> None:
    """Nobody wants the reading to stop."""


def entry(key: str) -> ArchiveEntry:
    page = f"<title>{key}</title><p>The kettle sings of {key}.</p>".encode()
    return ArchiveEntry(Origin(key, key, "", f"file:///{key}", None), page, ".html", "1")


def in_batches(tasks: list[Task], size: int = 7) -> Iterator[list[Task]]:
    for start in range(0, len(tasks), size):
        yield tasks[start : start + size]


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_pool, "count_usable_cores", lambda: 2)


def test_the_same_as_in_one_process(python_docs: Path, tmp_path: Path) -> None:
    found = find_files([python_docs / "library"])
    tasks: list[Task] = [*[file for file in found if isinstance(file, FoundFile)][:60]]
    (tmp_path / "empty.html").write_text("<title></title>")
    (tmp_path / "picture.html").write_bytes(b"\x89PNG\r\n\0\0")
    tasks += [file for file in find_files([tmp_path]) if isinstance(file, FoundFile)]
    tasks += [entry(f"entry {number}") for number in range(20)]
    here = list(read_all(READER, in_batches(tasks), False, go_on))
    there = list(read_all(READER, in_batches(tasks), True, go_on))
    assert here == there
    assert sum(len(outcomes) for _, outcomes in there) == len(tasks)
    unread = [one for _, outcomes in there for one in outcomes if isinstance(one, Unread)]
    assert [(Path(one.key).name, one.is_empty) for one in unread] == [("empty.html", True), ("picture.html", False)]


def test_what_ends_its_process_is_named_and_the_rest_is_read() -> None:
    tasks: list[Task] = [entry(f"{'segv' if number == 9 else 'hang' if number == 20 else 'page'} {number}")
                         for number in range(40)]  # fmt: skip
    outcomes = [one for _, batch in read_all(DEADLY, in_batches(tasks), True, go_on) for one in batch]
    assert [one.document.path if isinstance(one, Read) else one.key for one in outcomes] == [task.key for task in tasks]
    failed = {one.key: one.reason for one in outcomes if isinstance(one, Unread)}
    assert failed == {
        "segv 9": "its reader crashed (Segmentation fault)", "hang 20": "reading it takes more than 30 s",
    }  # fmt: skip


def test_a_process_that_ends_each_time_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_pool, "MAX_LOSSES", 3)
    tasks: list[Task] = [entry(f"kill {number}") for number in range(60)]
    others = children_of(os.getpid())  # of other tests in this process
    with pytest.raises(KbjobsError, match="times in a row: its reader crashed"):
        list(read_all(DEADLY, in_batches(tasks), True, go_on))
    assert children_of(os.getpid()) <= others


def test_no_process_is_left_by_a_run_that_is_stopped() -> None:
    others = children_of(os.getpid())
    reading = read_all(READER, in_batches([entry(f"page {number}") for number in range(900)]), True, go_on)
    assert isinstance(reading, Generator)
    next(reading)
    assert len(children_of(os.getpid()) - others) == 2
    reading.close()
    assert children_of(os.getpid()) <= others


def test_no_process_outlives_its_parent(tmp_path: Path) -> None:
    write_pages(tmp_path / "pages", 2_000)
    script = (
        "import sys; from pathlib import Path; from tests.scanning.test_reading_pool import *\n"
        "reading_pool.count_usable_cores = lambda: 2\n"
        "tasks = [file for file in find_files([Path(sys.argv[1])]) if isinstance(file, FoundFile)]\n"
        "for batch in read_all(READER, in_batches(tasks), True, go_on): print('read', flush=True)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, env=os.environ
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"read\n"
    children = children_of(parent.pid)
    assert len(children) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), 20)


QUOTED = "<p " + " ".join(f"a{number}='>'" for number in range(120_000)) + ">The kettle sings.</p>"
"""A parser takes a minute for it: each attribute looks like the end of the tag, and is compared with all before it."""


def test_a_document_that_takes_too_long_is_named_and_the_next_one_is_read() -> None:
    tasks: list[Task] = [entry("one"), replace(entry("long"), data=QUOTED.encode()), entry("two")]
    slow = replace(READER, document_seconds=3.0)  # the first takes the imports, too
    ((_, outcomes),) = read_all(slow, [tasks], False, go_on)
    assert [isinstance(one, Read) for one in outcomes] == [True, False, True]
    assert outcomes[1] == Unread("long", f"reading it takes more than {slow.seconds(tasks[1]):.0f} s")


class Stop(Exception):
    """Raised by a check."""


@pytest.mark.parametrize("is_large", [False, True])
def test_a_wish_to_stop_is_heard_in_the_middle_of_a_document(is_large: bool) -> None:
    others = children_of(os.getpid())
    asked = time.monotonic() + 1.0

    def check() -> None:
        if time.monotonic() > asked:
            raise Stop

    with pytest.raises(Stop):
        list(read_all(READER, [[replace(entry("long"), data=QUOTED.encode())]], is_large, check))
    assert time.monotonic() - asked < 2
    assert children_of(os.getpid()) <= others


def children_of(pid: int) -> set[int]:
    """Ids of the processes that a process has started and not yet waited for."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(status.parent.name))
    return found
