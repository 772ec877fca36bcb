"""Several documents read at once, each process with a batch of its own; given back in the order in which they came."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from kbjobs.embedding.cores import count_usable_cores
from kbjobs.errors import KbjobsError
from kbjobs.scanning import reading_child
from kbjobs.scanning.reading import Read, Reader, Task, Unread

MOST_PROCESSES = 8
"""One process writes what all others read: more than so many wait for it."""

MOST_LOSSES = 10
"""Documents in a row whose reading ends its process: then it is not the documents that are to blame."""

Outcomes = list[Read | Unread]


def read_all(reader: Reader, batches: Iterable[list[Task]], is_large: bool) -> Iterator[tuple[list[Task], Outcomes]]:
    """Read batches of tasks; each comes with its outcomes, in order.

    A process is started for each core where there is much to read: ``is_large`` says so. A document whose reading
    crashes or hangs costs its process, and is named among the outcomes.
    """
    processes = min(count_usable_cores(), MOST_PROCESSES)
    if not is_large or processes == 1:
        for batch in batches:
            yield batch, [reader.read(task) for task in batch]
        return
    waiting: deque[tuple[list[Task], Future[Outcomes]]] = deque()
    children: SimpleQueue[_Child] = SimpleQueue()
    started = [_Child(reader) for _ in range(processes)]
    for child in started:
        children.put(child)

    def read(batch: list[Task]) -> Outcomes:
        child = children.get()
        try:
            return child.read(batch)
        finally:
            children.put(child)

    pool = ThreadPoolExecutor(processes, "reading")
    try:
        for batch in batches:
            waiting.append((batch, pool.submit(read, batch)))
            # One batch more than there are processes: each has its next one at once.
            if len(waiting) > processes:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        for child in started:  # first, so that no thread waits for an answer that nobody wants
            child.stop()
        pool.shutdown(cancel_futures=True)


class _Child:
    """A reading process, started when it is first needed and anew when it is gone."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._process: subprocess.Popen[bytes] | None = None
        self._losses = 0
        self._is_stopped = False

    def read(self, batch: list[Task]) -> Outcomes:
        """The outcomes of a batch; where that ends the process, of one task after the other."""
        try:
            return self._ask(batch)
        except (OSError, EOFError, pickle.UnpicklingError):
            self._end()
        outcomes: Outcomes = []
        for task in batch:
            try:
                outcomes += self._ask([task])
                self._losses = 0
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                reason = self._end()
                self._losses += 1
                if self._is_stopped or self._losses > MOST_LOSSES:
                    raise KbjobsError(
                        f"the process that reads documents ended {self._losses} times in a row: {reason}",
                        "Check that enough memory is free; the job's log shows what was read last.",
                    ) from error
                outcomes.append(Unread(task.key, reason))
        return outcomes

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._is_stopped = True
        self._end()

    def _ask(self, batch: list[Task]) -> Outcomes:
        if self._process is None:
            self._start()
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise EOFError
        pickle.dump(batch, process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        process.stdin.flush()
        outcomes: Outcomes = pickle.load(process.stdout)  # noqa: S301 — from our own process
        return outcomes

    def _start(self) -> None:
        if self._is_stopped:
            return
        # With -P: the code of this version, and no module from the folder the caller is in.
        program = f"import sys; sys.path[:] = sys.argv[1:]; from {reading_child.__name__} import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", program, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        if self._process.stdin is not None:
            pickle.dump(self._reader, self._process.stdin)

    def _end(self) -> str:
        """End the process, if it has not ended; say why it has."""
        process, self._process = self._process, None
        if process is None:
            return "its reader could not be started"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0 if self._is_stopped else 1)
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if -code == signal.SIGPROF:
            return f"reading it took more than {reading_child.SECONDS} s"
        return f"its reader crashed ({signal.strsignal(-code)})" if code < 0 else f"its reader ended (exit code {code})"
