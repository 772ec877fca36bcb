"""A real Chroma server on the loopback, in a process of its own that can be killed, and a proxy before it.

``with ChromaProcess(folder) as chroma``: ``chroma.url`` is its address; ``kill`` and ``start`` may be called at any
time, the port stays the same. ``with Proxy(chroma.url, token="t") as proxy``: passes on what carries the token.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

STARTING = 30.0  # seconds
# Headers of answers that a proxy passes on.
KEPT = ("ETag", "Last-Modified", "Content-Range", "Accept-Ranges")


def find_program(name: str) -> str:
    """A program of the environment that runs the tests, which need not be on the PATH; else one of the PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found is not None, f"the program {name} is not here"
    return found


_ports = count(random.randrange(10_000))


def free_port() -> int:
    """A port nobody listens on, nor on the one 10,000 above it.

    Both are below those that Linux gives to whoever asks for any (ip(7)): between this and its use nobody gets them by
    chance, and no other call in this process.
    """
    while True:
        port = 10_000 + next(_ports) % 10_000
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port


class ChromaProcess:
    """``chroma run`` on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = find_program("chroma")
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / "chroma.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "run", "--host", "127.0.0.1", "--port", str(self.port), "--path", str(self.folder)],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + STARTING
        while time.monotonic() < until:
            assert self._process.poll() is None, "chroma has ended"
            try:
                with urllib.request.urlopen(f"{self.url}/api/v2/heartbeat", timeout=2):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("chroma does not answer")

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def client(self) -> Any:
        """A client of Chroma's own, as another program uses it."""
        import chromadb
        from chromadb.config import Settings

        return chromadb.HttpClient("127.0.0.1", self.port, settings=Settings(anonymized_telemetry=False))


class Proxy:
    """Passes requests on to a server, where they carry the token.

    ``fault`` is asked before each with method and path: None passes it on; a status and a text are answered instead;
    "lost" passes it on and breaks off the answer.
    """

    def __init__(self, target: str, token: str | None = None) -> None:
        self.fault: Callable[[str, str], tuple[int, str] | str | None] = lambda method, path: None
        self.seen: list[tuple[str, str]] = []
        outer = self
        where = urlsplit(target)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.seen.append((self.command, self.path))
                if token is not None and self.headers.get("Authorization") != f"Bearer {token}":
                    self.answer(401, b"<html>who is " + str(self.headers.get("Authorization")).encode(), "text/html")
                    return
                fault = outer.fault(self.command, self.path)
                if isinstance(fault, tuple):
                    self.answer(fault[0], fault[1].encode(), "text/html")
                    return
                connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
                try:
                    connection.request(
                        self.command,
                        self.path,
                        body,
                        {name: value for name, value in self.headers.items() if name.lower() != "connection"},
                    )
                    found = connection.getresponse()
                    content, kind = found.read(), found.headers.get("Content-Type") or ""
                    kept = {name: found.headers[name] for name in KEPT if name in found.headers}
                    length = found.headers.get("Content-Length")
                except OSError:
                    self.answer(502, b"<html>bad gateway</html>", "text/html")
                    return
                finally:
                    connection.close()
                if fault == "lost":
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.answer(found.status, content, kind, kept, length if self.command == "HEAD" else None)

            def answer(
                self,
                status: int,
                content: bytes,
                kind: str,
                more: dict[str, str] | None = None,
                length: str | None = None,
            ) -> None:
                self.send_response(status)
                for name, value in {"Content-Type": kind, **(more or {})}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", length or str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
