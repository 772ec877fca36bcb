"""Documents are read in processes of their own, several at once, and given back in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue

from kbjobs.embedding.cores import count_usable_cores
from kbjobs.errors import KbjobsError
from kbjobs.scanning.file_reading import Read, Reader, Task, Unread
from kbjobs.system.child_process import LOOK, ChildError, ChildLimits, ChildLost, ChildProcess, ChildProgram
from kbjobs.system.child_service import limit_time

MAX_PROCESSES = 8
"""One process writes what all others read: more than so many wait for it."""

MAX_LOSSES = 10
"""Documents in a row whose reading ends its process: then it is not the documents that are to blame."""

Outcomes = list[Read | Unread]


def read_all(
    reader: Reader, batches: Iterable[list[Task]], is_large: bool, check: Callable[[], None]
) -> Iterator[tuple[list[Task], Outcomes]]:
    """Read batches of tasks in processes, and give each batch with its outcomes, in order.

    A document whose reading crashes or takes too long costs its process, and becomes one of the outcomes.

    Args:
        reader: reads a document.
        batches: the tasks; taken one batch at a time.
        is_large: whether a process for each core is worth its start; otherwise one is started.
        check: called while waiting, also in the middle of a document; may raise to end the reading.

    Raises:
        KbjobsError: the processes ended MAX_LOSSES times in a row.
    """
    processes = min(count_usable_cores(), MAX_PROCESSES) if is_large else 1
    # One batch more than there are processes: each has its next one at once. Where there is little to read none is made
    # before the one before it was given: whoever makes them may count.
    ahead = processes if is_large else 0
    waiting: deque[tuple[list[Task], Future[Outcomes]]] = deque()
    idle: SimpleQueue[_BatchReader] = SimpleQueue()
    started = [_BatchReader(reader) for _ in range(processes)]
    for one in started:
        idle.put(one)

    def read(batch: list[Task]) -> Outcomes:
        one = idle.get()
        try:
            return one.read(batch)
        finally:
            idle.put(one)

    def take() -> tuple[list[Task], Outcomes]:
        batch, future = waiting.popleft()
        while not wait([future], LOOK).done:
            check()
        return batch, future.result()

    pool = ThreadPoolExecutor(processes, "reading")
    try:
        for batch in batches:
            waiting.append((batch, pool.submit(read, batch)))
            if len(waiting) > ahead:
                yield take()
        while waiting:
            yield take()
    finally:
        for one in started:  # first, so that no thread waits for an answer that nobody wants
            one.stop()
        pool.shutdown(cancel_futures=True)


class ReadingService:
    """What runs in the process: reads a batch, one document after the other."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def read(self, batch: Sequence[Task]) -> Iterator[Read | Unread]:
        """The outcome of each, or this process ends by the time that it takes."""
        for task in batch:
            limit_time(self._reader.seconds(task))
            yield self._reader.read(task)


class _BatchReader:
    """Reads batches in a process, whatever becomes of that."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        service = f"{ReadingService.__module__}:{ReadingService.__name__}"
        self._child = ChildProcess(ChildProgram(service, (reader,)), "its reader")
        self._losses = 0  # in a row
        self._is_stopped = False

    def read(self, batch: list[Task]) -> Outcomes:
        """The outcomes of a batch."""
        outcomes: Outcomes = []
        is_second_try = False
        while len(outcomes) < len(batch):
            tasks = batch[len(outcomes) :]
            limits = ChildLimits(max(map(self._reader.seconds, tasks)))
            try:
                for outcome in self._child.stream("read", tasks, limits=limits):
                    outcomes.append(outcome)
                    self._losses, is_second_try = 0, False
            except (ChildError, ChildLost) as error:
                loss = error if isinstance(error, ChildLost) else ChildLost(f"its reader failed: {error}")
                if len(outcomes) == len(batch):
                    break
                task = batch[len(outcomes)]
                # It may have been ended from outside, for want of memory: the document gets a second try.
                if not loss.is_late and not is_second_try and not self._is_stopped:
                    is_second_try = True
                    continue
                is_second_try = False
                self._losses += 1
                if self._is_stopped or self._losses > MAX_LOSSES:
                    raise KbjobsError(
                        f"the process that reads documents ended {self._losses} times in a row: {loss.reason}",
                        "Check that enough memory is free; the job's log shows what was read last.",
                    ) from loss
                seconds = self._reader.seconds(task)
                reason = f"reading it takes more than {seconds:.0f} s" if loss.is_late else loss.reason
                outcomes.append(Unread(task.key, reason))
        return outcomes

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._is_stopped = True
        self._child.stop()
