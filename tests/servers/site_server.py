"""A website on the loopback, friendly or hostile, whose pages and misbehaviours a test gives.

``with SiteServer({"/": "<p>Hello</p>"}) as server``: ``server.url`` is where it starts, without a slash at its end;
``server.requests`` what was asked of it. A page is text (HTML), bytes, a :class:`Page`, a list of these that are given
one after the other (the last for ever), or a function that is given the :class:`Request` and returns one of these.
Pages may be changed while the server runs. A path is looked up with its query first, then without; what is not there is
the page ``*``, or a 404.

With ``certificate=make_certificate(folder)`` it speaks TLS, with a certificate that nobody knows.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, TypeAlias, cast


@dataclass(frozen=True)
class Request:
    """What was asked: when it came (``time.monotonic``), its path with the query, its headers by lower-case names."""

    time: float
    path: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Page:
    """An answer, and what is wrong with it."""

    body: bytes | str = b""
    status: int = 200
    type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    etag: str = ""
    """With its quotes. A request that names it is answered with 304."""
    last_modified: str = ""
    location: str = ""
    """A redirect to there, with 302 unless ``status`` says another."""
    gzip: bool = False
    """Compressed, and declared so."""
    delay: float = 0.0
    """Seconds before the answer begins."""
    drip: float = 0.0
    """Seconds between any two bytes of the body."""
    endless: bool = False
    """The body is sent again and again, until the client goes."""
    declared_length: int | None = None
    """A Content-Length that is not the body's."""
    reset_after: int | None = None
    """Bytes of the body after which the connection is reset."""
    raw: bytes = b""
    """Sent instead of all else: an answer that is none."""


Answer: TypeAlias = "Page | bytes | str | list[Answer] | Callable[[Request], Answer]"


def make_certificate(folder: Path, host: str = "127.0.0.1") -> Path:
    """A file with a key and a certificate that it has signed itself, for an address and ``localhost``."""
    file = folder / "certificate.pem"
    names = f"subjectAltName=IP:{host},DNS:localhost"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=site"]
    command += ["-addext", names, "-keyout", str(file), "-out", str(folder / "public.pem")]
    subprocess.run(command, check=True, capture_output=True)
    file.write_text(file.read_text() + (folder / "public.pem").read_text())
    return file


class SiteServer:
    """The server; answers from its construction until :meth:`close`."""

    def __init__(
        self,
        pages: Mapping[str, Answer] | None = None,
        *,
        certificate: Path | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        # The caller's own: a test changes what is served.
        self.pages = {} if pages is None else cast("dict[str, Answer]", pages)
        self.requests: list[Request] = []
        """Every request in the order of arrival."""
        self.most_at_once = 0
        """The most requests that were being answered at the same time."""
        self.gate = threading.Event()
        """Cleared, requests wait before they are answered; they are in ``requests`` already."""
        self.gate.set()
        self._at_once = 0
        self._lock = threading.Lock()
        server = self

        class Handler(_Handler):
            site = server

        self.http = _Server((host, port), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # The handshake is the handler's thread's, so that a client that gives up does not stop the server.
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self.http.server_address[1]
        self.url = f"{'https' if certificate else 'http'}://{host}:{self.port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def paths(self) -> list[str]:
        """The paths that were asked for, in the order of arrival."""
        return [request.path for request in self.requests]

    def close(self) -> None:
        """Stop answering."""
        self.gate.set()
        self.http.shutdown()
        self.http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def find_page(self, request: Request) -> Page:
        """The page for a request."""
        path = next((path for path in (request.path, request.path.partition("?")[0], "*") if path in self.pages), None)
        answer = Page("", 404) if path is None else self.pages[path]
        while not isinstance(answer, Page):
            if isinstance(answer, (str, bytes)):
                answer = Page(answer)
            elif isinstance(answer, list):
                with self._lock:
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
            else:
                answer = answer(request)
        return answer

    @contextlib.contextmanager
    def counting(self, request: Request) -> Any:
        """Notes a request while it is being answered."""
        with self._lock:
            self.requests.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # that is a client which has had enough
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise each body waits 40 ms for the acknowledgement of its head
    site: SiteServer

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(time.monotonic(), self.path, headers)
        with self.site.counting(request):
            page = self.site.find_page(request)
            self.site.gate.wait()
            time.sleep(page.delay)
            if page.raw:
                self.wfile.write(page.raw)
                self.close_connection = True
            elif is_unchanged(page, headers):
                self.send_head(304, page, None)
            else:
                self.send_page(page)

    def send_page(self, page: Page) -> None:
        body = page.body.encode() if isinstance(page.body, str) else page.body
        body = gzip.compress(body) if page.gzip else body
        length = len(body) if page.declared_length is None else page.declared_length
        status = page.status if page.status != 200 or not page.location else 302
        self.send_head(status, page, None if page.endless else length)
        if page.endless or page.declared_length is not None:
            self.close_connection = True
        self.wfile.flush()
        if page.reset_after is not None:
            self.wfile.write(body[: page.reset_after])
            # A linger of no time: the close sends a reset instead of what is waiting.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        for _ in iter(lambda: page.endless, False) if page.endless else range(1):
            if page.drip:
                for byte in body:
                    time.sleep(page.drip)
                    self.wfile.write(bytes([byte]))
            else:
                self.wfile.write(body)

    def send_head(self, status: int, page: Page, length: int | None) -> None:
        headers = {"content-type": page.type, "etag": page.etag, "last-modified": page.last_modified}
        headers |= {"location": page.location, "content-encoding": "gzip" if page.gzip else ""}
        headers |= {"content-length": "" if length is None else str(length)}
        if length is None and status != 304:
            headers["connection"] = "close"
        self.send_response(status)
        for name, value in ({name: value for name, value in headers.items() if value} | page.headers).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def is_unchanged(page: Page, headers: dict[str, str]) -> bool:
    """Whether a request names what the page still is; an ETag counts before a date (RFC 9110, 13.2.2)."""
    if "if-none-match" in headers:
        return bool(page.etag) and page.etag in headers["if-none-match"]
    return bool(page.last_modified) and headers.get("if-modified-since") == page.last_modified
