"""Reach a Ray cluster, or start one on this machine for the job alone."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from kbjobs.embedding.cluster.address import LOCAL, RAY_AUTH_TOKEN, split_address
from kbjobs.embedding.cores import count_usable_cores
from kbjobs.errors import JobInterrupted, KbjobsError, MissingRequirementError

OnStep = Callable[[str], None]
"""Takes a line for people about the current step; raises if the job must stop."""

_MODE = "RAY_AUTH_MODE"
_OBJECT_STORE_BYTES = 100 * 1024 * 1024  # for our own cluster: holds blocks of text and vectors, but no model
_START_SECONDS = 120.0  # within which a cluster that answers must have let this machine in
_END_SECONDS = 10.0
_LOOK_SECONDS = 0.2
_FOLDER = "kbjobs-ray-"
_PATIENCE = {
    # If the cluster's head did not answer, Ray would end this process after a minute. The job has its own limit, the
    # setting ray.wait, and must be able to record its end.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "86400",
}
_ALONE = {
    # As Ray does on macOS: every port only on the loopback. Elsewhere Ray treats 127.0.0.1 as the machine's network
    # address, and listens on all interfaces (ray/_private/services.py, resolve_ip_for_localhost).
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # sends no report to Ray's makers
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a late thread starts no cluster
}

_kinds: set[str] = set()  # of clusters that this process has used: at most one


class Connection:
    """A cluster that can be used. Ray allows only one per process."""

    def __init__(self, session: _Session, address: str, folder: _LocalFolder | None = None) -> None:
        self.ray = session.ray
        self.address = address
        self._session = session
        self._folder = folder
        self.is_lost = False
        """Whether the cluster has gone away. Ray is then left alone, since leaving the cluster would end this
        process."""

    def describe(self) -> str:
        """The cluster's name for people."""
        return f"the Ray cluster at {self.address}" if self._folder is None else "the local Ray cluster"

    def close(self) -> None:
        """Leave the cluster; if it was started for the job, it ends."""
        if not self.is_lost:
            self._session.end()
        if self._folder is not None:
            self._folder.remove()


def connect(address: str, token: str | None, wait: float, on_step: OnStep) -> Connection:
    """Reach the cluster at ``address``, or start one if it is ``local``.

    Args:
        address: ``HOST:PORT`` or ``local``.
        token: the token of a cluster with token authentication (Ray 2.52), or None.
        wait: seconds within which the cluster must be there.
        on_step: called with the current step; may raise to stop.

    Raises:
        MissingRequirementError: ray is not installed, or differs from the cluster's version.
        JobInterrupted: there is no cluster, or this process can no longer reach it.
    """
    os.environ.update(_QUIET)
    _fix_kind(LOCAL if address == LOCAL else f"with a token {token}" if token else "without a token")
    if address == LOCAL:
        return _start_local(on_step)
    _await_head(address, wait, on_step)
    os.environ.update(_PATIENCE)
    if token:
        os.environ[RAY_AUTH_TOKEN] = token
        os.environ.setdefault(_MODE, "token")
    # Nodes run this copy of kbjobs, whichever version they have, so versions never mix.
    code = {"py_modules": [str(Path(__file__).parents[2])]}
    return Connection(_begin(on_step, address=address, runtime_env=code), address)


def _fix_kind(kind: str) -> None:
    """Allow one kind of cluster per process, since Ray reads its environment only once."""
    _kinds.add(kind)
    if len(_kinds) > 1:
        _kinds.remove(kind)
        raise JobInterrupted(
            "this job has used a Ray cluster with another token, and Ray takes one for each process",
            "What was done is kept; kbjobs resume goes on with this phase in a process of its own.",
        )


def _start_local(on_step: OnStep) -> Connection:
    on_step("starting a local Ray cluster")
    # Access to a port of Ray means running code: ports are open only to this machine, and only with the token.
    os.environ.update(_ALONE)
    os.environ[_MODE] = "token"
    os.environ[RAY_AUTH_TOKEN] = _own_token()
    folder = _LocalFolder()
    try:
        session = _begin(
            on_step,
            address="local",
            num_cpus=count_usable_cores(),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder.path),
        )
    except BaseException:
        folder.remove()
        raise
    return Connection(session, LOCAL, folder)


@cache
def _own_token() -> str:
    """The token of all clusters that this process starts, since Ray reads it only once."""
    return secrets.token_hex(32)


def _await_head(address: str, wait: float, on_step: OnStep) -> None:
    """Wait until the port of the cluster's head is open. Raises JobInterrupted."""
    place = split_address(address)
    assert place is not None  # noqa: S101 — the submit has seen to it
    deadline = time.monotonic() + wait
    while True:
        on_step(f"looking for the Ray cluster at {address}")
        try:
            socket.create_connection(place, timeout=max(1.0, min(5.0, wait))).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise JobInterrupted(
                    f"there is no Ray cluster at {address} ({error.strerror or error})",
                    "Start it there with ray start --head. A job that is submitted without RAY_ADDRESS, --ray-address"
                    " and ray.address has one started on this machine.",
                ) from error
            time.sleep(_LOOK_SECONDS)
        else:
            return


class _Session:
    """Ray, initialised in a thread of its own that lives as long: in the main thread it would take over SIGTERM.

    Ray has the kernel kill its processes when their parent ends, and for the kernel the parent is the thread.
    """

    def __init__(self, ray: Any, arguments: dict[str, Any]) -> None:
        self.ray = ray
        self.error: BaseException | None = None
        self.has_begun = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(arguments,), name="ray-session", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Leave the cluster, waiting a few seconds at most."""
        self._ending.set()
        self._thread.join(_END_SECONDS)

    def _run(self, arguments: dict[str, Any]) -> None:
        try:
            self.ray.init(log_to_driver=False, logging_level=logging.ERROR, **arguments)
        except BaseException as error:  # noqa: BLE001 — raised in the thread that waits for it
            self.error = error
        self.has_begun.set()
        self._ending.wait()
        self.ray.shutdown()


def _begin(on_step: OnStep, **arguments: Any) -> _Session:
    """Initialise Ray. That may hang, for example if this machine is not a node of the cluster."""
    try:
        import ray
    except ImportError as error:
        raise MissingRequirementError(f"ray cannot be imported: {error}", 'pip install "kbjobs[ray]"') from error
    if ray.is_initialized():
        raise JobInterrupted("a Ray cluster went away earlier in this job", "What was embedded is kept.")
    where = arguments["address"]
    session = _Session(ray, arguments)
    deadline = time.monotonic() + _START_SECONDS
    try:
        while not session.has_begun.wait(_LOOK_SECONDS):
            on_step("starting a local Ray cluster" if where == LOCAL else f"joining the Ray cluster at {where}")
            if time.monotonic() > deadline:
                raise JobInterrupted(
                    f"the Ray cluster at {where} did not let this machine in within {_START_SECONDS:.0f} s",
                    "Is this machine a node of it? ray status tells; if not: ray start --address=HOST:6379"
                    " --num-cpus=0.",
                )
        if session.error is not None:
            raise _explain(session.error, where) from session.error
    except BaseException:
        session.end()
        raise
    return session


def _explain(error: BaseException, where: str) -> KbjobsError:
    text = str(error).strip()
    if "ersion mismatch" in text:
        return MissingRequirementError(
            f"the Ray cluster at {where} has other versions than this machine: {' '.join(text.split())}",
            "Install the same versions of Python and ray here as there.",
        )
    first = next(iter(text.splitlines()), type(error).__name__)
    if where == LOCAL:
        return KbjobsError(
            f"a local Ray cluster cannot be started: {first}",
            f"It needs about 500 MB of memory, and a short path instead of {tempfile.gettempdir()} (TMPDIR)."
            " --engine auto needs neither.",
        )
    return JobInterrupted(
        f"the Ray cluster at {where} cannot be used: {first}",
        "Is this machine a node of it (ray start --address=HOST:6379 --num-cpus=0)? A cluster with token authentication"
        f" needs its token: kbjobs config set-secret {RAY_AUTH_TOKEN}.",
    )


class _LocalFolder:
    """The folder for the sockets and logs of our own cluster; removed with it, even if this process is killed."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_FOLDER))
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("reaper.py")), str(self.path), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={},  # so that it is not found, and killed, as a left-over of a worker
            start_new_session=True,
        )

    def remove(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._reaper.communicate(timeout=_END_SECONDS)
