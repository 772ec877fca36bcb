"""Live events of a home's jobs for any number of pages, which share one poll of the state."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import Job
from kbjobs.store.transitions import Status

LOOK_SECONDS = 0.2  # between two polls of the state
KEPT = 1_000  # events kept for readers that reconnect
WAITING = 500  # events that may wait for a slow reader; then it gets a reset

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """An event. ``hello`` and ``reset`` mean that earlier events are unknown, and that the reader must reload."""

    id: str
    name: str
    data: dict[str, Any]

    def as_sse(self) -> dict[str, str]:
        """The event as a server-sent event."""
        return {"id": self.id, "event": self.name, "data": json.dumps(self.data, ensure_ascii=False)}


class EventHub:
    """Polls the state while anybody listens, and passes on changes.

    An event's id is ``BOOT-NUMBER``, because events from another start of the server are unknown.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._boot = secrets.token_hex(4)
        self._number = 0
        self._kept: deque[LiveEvent] = deque(maxlen=KEPT)
        self._readers: set[asyncio.Queue[LiveEvent | None]] = set()
        self._greetings: dict[asyncio.Queue[LiveEvent | None], str] = {}
        self._has_looked = False
        self._seen: dict[int, tuple[Any, ...]] = {}
        self._daemon: bool | None = None
        self._running: list[Job] = []
        self._dead: frozenset[int] = frozenset()
        self._task: asyncio.Task[None] | None = None

    def close(self) -> None:
        """End all streams when the server stops."""
        for queue in self._readers:
            _put(queue, None)

    async def listen(self, last_id: str | None) -> AsyncGenerator[LiveEvent]:
        """Yield the events since the one with ``last_id``, then new ones as they happen.

        If that event is unknown, a greeting comes first, after a poll: a reader that reloads then misses nothing.
        """
        queue: asyncio.Queue[LiveEvent | None] = asyncio.Queue(WAITING)
        missed = self._since(last_id) if self._has_looked and last_id is not None else None
        if missed is None:
            self._greetings[queue] = "hello" if last_id is None else "reset"
        self._readers.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        try:
            for event in missed or ():
                yield event
            while (event_or_end := await queue.get()) is not None:
                yield event_or_end
        finally:
            self._readers.discard(queue)
            self._greetings.pop(queue, None)

    def _since(self, last_id: str) -> list[LiveEvent] | None:
        """The events since the one with ``last_id``; None if it is unknown."""
        boot, _, number = last_id.partition("-")
        oldest = int(self._kept[0].id.partition("-")[2]) if self._kept else self._number + 1
        is_known = boot == self._boot and number.isdecimal() and oldest - 1 <= int(number) <= self._number
        if not is_known:
            return None
        return [event for event in self._kept if int(event.id.partition("-")[2]) > int(number)]

    def _id(self) -> str:
        return f"{self._boot}-{self._number}"

    async def _watch(self) -> None:
        """Poll until nobody listens."""
        manager = JobManager(self._home)
        version: Any = None
        try:
            while self._readers:
                try:
                    found = await asyncio.to_thread(_look, manager, version, self._running)
                except KbjobsError as error:  # such as a locked or missing state: the next poll may succeed
                    log.warning("%s", error.message)
                    manager.close()
                    version = None
                else:
                    version, jobs, daemon_runs, dead = found
                    self._compare(jobs, daemon_runs, dead)
                    self._has_looked = True
                    while self._greetings:
                        queue, name = self._greetings.popitem()
                        queue.put_nowait(LiveEvent(self._id(), name, {}))
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            manager.close()
            self._seen.clear()
            self._running, self._dead, self._daemon = [], frozenset(), None
            self._has_looked = False

    def _compare(self, jobs: list[Job] | None, daemon_runs: bool, dead: frozenset[int]) -> None:
        if daemon_runs != self._daemon:
            if self._daemon is not None:
                self._send("daemon", {"running": daemon_runs})
            self._daemon = daemon_runs
        for job in self._running:
            if job.id in dead and job.id not in self._dead:  # a worker's death writes nothing to the state
                self._send("job", _brief(job))
        self._dead = dead
        if jobs is None:
            return
        is_first = not self._has_looked
        now: dict[int, tuple[Any, ...]] = {}
        for job in jobs:
            shown = (job.status, job.attempt, job.progress, job.message, job.phase, job.cancel_requested, job.priority)
            now[job.id] = shown
            before = self._seen.get(job.id)
            if is_first or before == shown:
                continue
            name = "job" if before is None or before[:2] != shown[:2] or _phase(before) != _phase(shown) else "progress"
            self._send(name, _brief(job))
        self._seen = now
        self._running = [job for job in jobs if job.status is Status.RUNNING]

    def _send(self, name: str, data: dict[str, Any]) -> None:
        self._number += 1
        event = LiveEvent(self._id(), name, data)
        self._kept.append(event)
        for queue in self._readers:
            if queue.full():  # a slow reader
                _put(queue, LiveEvent(event.id, "reset", {}))
            else:
                queue.put_nowait(event)


def _put(queue: asyncio.Queue[LiveEvent | None], event: LiveEvent | None) -> None:
    """Replace all waiting events by one."""
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(event)


def _look(manager: JobManager, version: Any, running: list[Job]) -> tuple[Any, list[Job] | None, bool, frozenset[int]]:
    """Poll the state once.

    Returns its version, the jobs if the version has changed, whether the daemon is running, and the ids of those
    ``running`` jobs whose worker is dead.
    """
    now = manager.get_version()
    daemon_runs = manager.is_daemon_running()
    if now is None or now != version:
        jobs = [*manager.get_active_jobs(), *manager.get_just_ended_jobs(50, days=0.1)]
        return now, jobs, daemon_runs, frozenset()
    return now, None, daemon_runs, frozenset(job.id for job in running if manager.is_worker_dead(job))


def _phase(shown: tuple[Any, ...]) -> str | None:
    return shown[4].name if shown[4] is not None else None


def _brief(job: Job) -> dict[str, Any]:
    """The fields of a job that a row of a list shows."""
    fields = job.as_dict()
    wanted = ("id", "type", "source", "status", "progress", "phase", "message", "eta_seconds", "attempt", "error")
    return {name: fields[name] for name in wanted}
