"""Reading documents in separate processes, several at once, and returning them in their original order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue

from kbjobs.content.language import keep_detector_in
from kbjobs.embedding.cores import count_usable_cores
from kbjobs.errors import KbjobsError
from kbjobs.scanning.file_reading import Read, Reader, Task, Unread
from kbjobs.system.child_process import LOOK, ChildError, ChildLimits, ChildLost, ChildProcess, ChildProgram
from kbjobs.system.child_service import limit_time

MAX_PROCESSES = 8
"""One process writes what all others read; more of them would only wait for it."""

MAX_LOSSES = 10
"""If more documents in a row end the reading process, the cause is not the documents."""

Outcomes = list[Read | Unread]


def read_all(
    reader: Reader, batches: Iterable[list[Task]], is_large: bool, check: Callable[[], None]
) -> Iterator[tuple[list[Task], Outcomes]]:
    """Read batches of tasks in processes, and yield each batch with its outcomes, in order.

    A document that crashes the reader or takes too long ends its process, and becomes an Unread outcome.

    Args:
        reader: reads a document.
        batches: the tasks; taken one batch at a time.
        is_large: whether a process for each core is worth its start; otherwise one is started.
        check: called while waiting, even in the middle of a document; may raise to end the reading.

    Raises:
        KbjobsError: the processes ended more than MAX_LOSSES times in a row.
    """
    processes = min(count_usable_cores(), MAX_PROCESSES) if is_large else 1
    # One batch more than processes, so that each process gets its next batch at once. If there is little to read, a
    # batch is taken only after the previous one was yielded, because its producer may count.
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
        for one in started:  # first, so that no thread waits for a reply that nobody needs
            one.stop()
        pool.shutdown(cancel_futures=True)


class ReadingService:
    """The service in the reading process: reads a batch, one document after another."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        keep_detector_in(reader.engines)

    def read(self, batch: Sequence[Task]) -> Iterator[Read | Unread]:
        """Yield the outcome of each task; the process ends if one exceeds its time limit."""
        for task in batch:
            limit_time(self._reader.seconds(task))
            yield self._reader.read(task)


class _BatchReader:
    """Reads batches in a process, and survives the end of the process."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        service = f"{ReadingService.__module__}:{ReadingService.__name__}"
        self._child = ChildProcess(ChildProgram(service, (reader,)), "its reader")
        self._losses = 0  # in a row
        self._is_stopped = False

    def read(self, batch: list[Task]) -> Outcomes:
        """Read a batch; returns its outcomes."""
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
                # The process may have been killed from outside, for lack of memory: the document gets a second try.
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
        """Stop the process, even in the middle of a document."""
        self._is_stopped = True
        self._child.stop()
