"""Real stores that speak S3, on the loopback, each in a process of its own.

``Weed``: SeaweedFS, which authenticates and keeps conditions. ``Moto``: takes any credentials. ``Rclone``: a store that
ignores conditions and answers a range with the whole object.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import pytest

from tests.servers.chroma_process import find_program, free_port

KEY, SECRET, BUCKET = "test-access-key", "test-secret-key", "packs"
READER_KEY, READER_SECRET = "reader-access-key", "reader-secret-key"
STARTING = 60.0  # seconds


class S3Server(ABC):
    """A server with one bucket. ``environment`` is what leads a client there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    @abstractmethod
    def make_bucket(self) -> None:
        """Make the bucket, once it answers."""

    def store(self, prefix: str = "", **options: Any) -> Any:
        """A client of obstore's own."""
        from obstore.store import S3Store

        return S3Store(
            BUCKET, prefix=prefix or None, endpoint=self.endpoint, access_key_id=KEY, secret_access_key=SECRET,
            region="us-east-1", client_options={"allow_http": True}, **options,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self.start()
        self.make_bucket()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )
        until = time.monotonic() + STARTING
        while time.monotonic() < until:
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            try:
                with urllib.request.urlopen(self.endpoint, timeout=5):
                    return
            except urllib.error.HTTPError:
                return  # it answers
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class Weed(S3Server):
    """SeaweedFS. ``READER_KEY`` may read alone."""

    def command(self) -> list[str]:
        program = find_program("weed")
        config = self.folder / "s3.json"
        identities = [
            {
                "name": name,
                "credentials": [{"accessKey": key, "secretKey": secret}],
                "actions": actions,
            }
            for name, key, secret, actions in (
                ("kb", KEY, SECRET, ["Admin", "Read", "Write", "List", "Tagging"]),
                ("reader", READER_KEY, READER_SECRET, ["Read", "List"]),
            )
        ]
        config.write_text(json.dumps({"identities": identities}))
        (self.folder / "data").mkdir(exist_ok=True)
        ports = [free_port() for _ in range(3)]  # it takes those 10,000 above them too, for gRPC
        self._filer_port = ports[2]
        return [
            program, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}",
            f"-master.port={ports[0]}", f"-volume.port={ports[1]}", "-filer", f"-filer.port={ports[2]}",
            "-s3", f"-s3.port={self.port}", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={config}",
            "-master.volumeSizeLimitMB=64", "-volume.max=50",
        ]  # fmt: skip

    def make_bucket(self) -> None:
        # Its buckets are folders of its filer, which asks for no signature.
        _make_bucket(f"http://127.0.0.1:{self._filer_port}/buckets/{BUCKET}/", "POST")
        _wait_until_it_takes_objects(self)


class Moto(S3Server):
    """moto's server."""

    def command(self) -> list[str]:
        program = find_program("moto_server")
        return [program, "-H", "127.0.0.1", "-p", str(self.port)]

    def make_bucket(self) -> None:
        _make_bucket(f"{self.endpoint}/{BUCKET}", "PUT")
        _wait_until_it_takes_objects(self)


class Rclone(S3Server):
    """``rclone serve s3`` on a folder."""

    def command(self) -> list[str]:
        program = find_program("rclone")
        (self.folder / "data" / BUCKET).mkdir(parents=True, exist_ok=True)
        return [
            program, "serve", "s3", "--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{KEY},{SECRET}",
            str(self.folder / "data"),
        ]  # fmt: skip

    def make_bucket(self) -> None:
        assert (self.folder / "data" / BUCKET).is_dir()


KINDS: dict[str, type[S3Server]] = {"weed": Weed, "moto": Moto, "rclone": Rclone}
STORES = ("folder", "weed", *(pytest.param(name, marks=pytest.mark.full) for name in ("moto", "rclone")))
"""All kinds of store, as parameters of a test: a folder, and the servers."""


class StartedServers(dict[str, S3Server]):
    """The servers that were asked for so far, by name; each is started once, in a folder of its own below one."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def __missing__(self, name: str) -> S3Server:
        self[name] = server = KINDS[name](self._folder / name).__enter__()
        return server

    def kill(self) -> None:
        for server in self.values():
            server.kill()


def use(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program find a server, with the rights to write."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def _make_bucket(address: str, method: str) -> None:
    """Make the bucket by one request; it may be there."""
    with (
        contextlib.suppress(urllib.error.HTTPError),
        urllib.request.urlopen(urllib.request.Request(address, b"", method=method)),
    ):
        pass


def _wait_until_it_takes_objects(server: S3Server) -> None:
    """A fresh SeaweedFS refuses them for a moment."""
    import obstore
    from obstore.exceptions import BaseError

    store = server.store(retry_config={"max_retries": 0})
    until = time.monotonic() + STARTING
    while True:
        try:
            obstore.put(store, "ready", b"1")
            obstore.delete(store, "ready")
        except BaseError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return
