"""Commands, the daemon and its workers within the process of pytest: the program's own code, without starting Pythons.

A command is the Typer app called with streams of its own. The daemon is the real supervisor in a thread, and a worker
is the real ``run_jobs`` in another; what the operating system does between processes (signals, locks that are freed by
a death, streams, the environment a process begins with) is left to tests that are marked ``processes``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest

from kbjobs.cli import app
from kbjobs.commands._errors import run_app
from kbjobs.config.home import Home
from kbjobs.content.zim_report import PageService
from kbjobs.daemon import launching, progress_writer, worker
from kbjobs.daemon.next_jobs import WorkerProcess
from kbjobs.daemon.progress_writer import LOST
from kbjobs.daemon.supervisor import Supervisor
from kbjobs.daemon.wake_pipe import nudge
from kbjobs.daemon.worker import run_jobs
from kbjobs.embedding import choose
from kbjobs.embedding.choose import load_folder
from kbjobs.embedding.embedder import Embedder
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.scanning.reading_pool import ReadingService
from kbjobs.scraping.parsing_service import ParsingService
from kbjobs.store.jobs import Job
from kbjobs.system.child_process import UNLIMITED, ChildError, ChildLimits, ChildLost, ChildProcess, ChildProgram
from kbjobs.system.crashpoints import VARIABLE as CRASH_VARIABLE
from kbjobs.vectors.chroma_service import ChromaService

START_SECONDS = 30.0
END_SECONDS = 60.0
start_process = launching._start
kill_process = os.kill
FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(message)s")


def run_command(arguments: Sequence[str], stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``kbjobs`` with arguments to its end, and return what a process would have left."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(stdin.encode())
        files[0].seek(0)
        streams = [io.TextIOWrapper(file, encoding="utf-8") for file in files]
        before = sys.argv, sys.stdin, sys.stdout, sys.stderr, os.umask(0o077), Path.cwd()
        sys.argv = ["kbjobs", *arguments]
        sys.stdin, sys.stdout, sys.stderr = streams
        try:
            if cwd is not None:
                os.chdir(cwd)
            run_app(app)
            code: Any = 0
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            for stream in streams[1:]:
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            sys.argv, sys.stdin, sys.stdout, sys.stderr = before[:4]
            os.umask(before[4])
            os.chdir(before[5])
        texts = []
        for file in files[1:]:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        for stream in streams:
            stream.detach()
    return subprocess.CompletedProcess(["kbjobs", *arguments], int(code), *texts)


class ThreadWorker:
    """A worker in a thread, with what the supervisor asks of a process."""

    def __init__(self, home: Home, job: Job, run_id: str, slots: int) -> None:
        self.pid = os.getpid()
        self._home, self._job, self._run_id, self._slots = home, job, run_id, slots
        self._handler: logging.FileHandler | None = None
        self._stop = threading.Event()
        self._status: int | None = None
        self.thread = threading.Thread(target=self._run, name=f"worker-{job.id}", daemon=True)
        self.thread.start()

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._status

    def terminate(self) -> None:
        """What SIGTERM does."""
        self._stop.set()

    def _run(self) -> None:
        status = 1
        root = logging.getLogger()
        level = root.level
        self._switch_log(self._home.log_file(self._job.id, self._job.attempt))
        root.setLevel(logging.INFO)
        process = WorkerProcess(self._stop, self._slots, lambda pid: pid == os.getpid(), self._switch_log)
        try:
            status = run_jobs(self._home, self._job.id, self._run_id, process)
        finally:
            self._switch_log(None)
            root.setLevel(level)
            self._status = status
            nudge(self._home.wake_pipe)

    def _switch_log(self, path: Path | None) -> None:
        root = logging.getLogger()
        if self._handler is not None:
            root.removeHandler(self._handler)
            self._handler.close()
        self._handler = None if path is None else logging.FileHandler(path, encoding="utf-8")
        if self._handler is not None:
            self._handler.setFormatter(FORMAT)
            root.addHandler(self._handler)


class ThreadSupervisor(Supervisor):
    """The daemon in a thread: its workers are threads, and signals reach it by ``end``."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.workers: list[ThreadWorker] = []
        self._signal_read, self._signal_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve_in_thread, name="daemon", daemon=True)

    def start(self) -> None:
        """Serve in a thread; returns once it is ready, or raises what it failed with."""
        self._thread.start()
        assert self._ready.wait(START_SECONDS)
        if self._failure is not None:
            raise self._failure

    def _serve_in_thread(self) -> None:
        try:
            self.run(self._ready.set)
        except BaseException as error:  # told by start, or by join
            self._failure = error
        finally:
            self._ready.set()

    def end(self, number: int = signal.SIGTERM) -> None:
        """What SIGTERM, SIGINT or SIGQUIT does."""
        self._on_stop(number, None)
        with contextlib.suppress(OSError):
            os.write(self._signal_write, b"x")

    def join(self) -> None:
        """Wait until it has ended, and its workers."""
        self._thread.join(END_SECONDS)
        for one in self.workers:
            one.thread.join(END_SECONDS)
        left = [thread.name for thread in (self._thread, *(one.thread for one in self.workers)) if thread.is_alive()]
        assert not left, f"still at work: {left}"
        os.close(self._signal_read)
        os.close(self._signal_write)
        if self._failure is not None:  # after its start, of which ``start`` has told
            raise self._failure

    def _install_signals(self) -> None:
        """The pipe is there; ``Daemons.kill`` calls ``end``."""

    def _spawn(self, job: Job, run_id: str) -> Any:
        started = ThreadWorker(self.home, job, run_id, self.settings.integer("workers"))
        self.workers.append(started)
        return started


class Daemons:
    """The daemons of a test that are threads, by their homes."""

    def __init__(self) -> None:
        self.started: list[ThreadSupervisor] = []

    def start(self, home: Home) -> None:
        """Start one, in place of the process; where one is to be killed at a crash point, the process."""
        if CRASH_VARIABLE in os.environ:
            start_process(home)
            return
        home.prepare()
        supervisor = ThreadSupervisor(home)
        supervisor.start()
        self.started.append(supervisor)

    def kill(self, pid: int, number: int) -> None:
        """Stands for ``os.kill``: a signal to this process, which the state names as the daemon's, is for them."""
        if pid != os.getpid():
            kill_process(pid, number)
            return
        assert number not in (signal.SIGKILL, signal.SIGSTOP), "this test kills or stops processes: mark it so"
        if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            for supervisor in self.started:
                supervisor.end(number)

    def close(self) -> None:
        """End all of them."""
        for supervisor in self.started:
            supervisor.end(signal.SIGQUIT)
            for one in supervisor.workers:
                one.terminate()
        for supervisor in self.started:
            supervisor.join()


class DirectChild:
    """What stands for a child process whose service crashes nobody: the service, asked directly."""

    count = 0

    def __init__(self, program: ChildProgram) -> None:
        module, _, name = program.service.partition(":")
        self.service = getattr(import_module(module), name)(*program.given)
        DirectChild.count += 1
        self.pid = -DirectChild.count

    stdin = stdout = None

    def wait(self, seconds: float = 0) -> int:
        """It has ended."""
        return 0

    def kill(self) -> None:
        """Let go of what a process would let go of at its end."""
        if isinstance(self.service, ChromaService):
            for number in list(self.service._opened):
                self.service.close(number)

    @staticmethod
    def ask(child: ChildProcess, method: str, *given: object, limits: ChildLimits = UNLIMITED) -> Any:
        """Stands for ``ChildProcess.ask``."""
        if child._program.service not in DIRECT:
            return ask_child(child, method, *given, limits=limits)
        with child._turn:
            try:
                DirectChild.start(child)
                return getattr(child._process.service, method)(*given)  # type: ignore[union-attr]
            except Exception as error:
                raise ChildError(type(error).__name__, str(error)) from error

    @staticmethod
    def stream(child: ChildProcess, method: str, *given: object, limits: ChildLimits = UNLIMITED) -> Iterator[Any]:
        """Stands for ``ChildProcess.stream``."""
        if child._program.service not in DIRECT:
            yield from stream_from_child(child, method, *given, limits=limits)
            return
        for answer in DirectChild.ask(child, method, *given):
            if child._is_stopped:
                raise ChildLost("it was stopped")
            yield answer

    @staticmethod
    def start(child: ChildProcess) -> None:
        """Stands for ``ChildProcess.start``."""
        if child._program.service not in DIRECT:
            start_child(child)
        elif child._process is None:
            child._process = DirectChild(child._program)  # type: ignore[assignment]


DIRECT = frozenset(
    f"{service.__module__}:{service.__name__}"
    for service in (ChromaService, PageService, ParsingService, ReadingService)
)
ask_child, stream_from_child, start_child = ChildProcess.ask, ChildProcess.stream, ChildProcess.start


def stop_thread() -> NoReturn:
    """What stands for ``stop_at_once``, which ends the process of a worker that was declared dead."""
    raise SystemExit(LOST)


_loaded: dict[tuple[object, ...], Embedder] = {}


def load_once(folder: ModelFolder, cache_dir: Path, engine: str = "auto") -> Embedder:
    """Stands for ``load_folder``: a model stays loaded for the tests that come."""
    key = (folder.path, folder.weights.stat().st_mtime_ns, cache_dir.resolve(), engine)
    if key not in _loaded:
        _loaded[key] = load_folder(folder, cache_dir, engine)
        _loaded[key].close = lambda: None  # type: ignore[method-assign]
    return _loaded[key]


@contextlib.contextmanager
def threads_for_processes(patch: pytest.MonkeyPatch, keeps_models: bool = True) -> Iterator[None]:
    """Daemons and workers are threads until the end of the block; models that were loaded stay so, unless told."""
    daemons = Daemons()
    if keeps_models:
        patch.setattr(choose, "load_folder", load_once)
    for module in (progress_writer, worker):
        patch.setattr(module, "stop_at_once", stop_thread)
    patch.setattr(launching, "_start", daemons.start)
    patch.setattr(os, "kill", daemons.kill)
    for name in ("ask", "stream", "start"):
        patch.setattr(ChildProcess, name, getattr(DirectChild, name))
    try:
        yield
    finally:
        daemons.close()
