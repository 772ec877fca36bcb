"""An index of language packs and the packs themselves on the loopback, and what can be wrong with them.

``with LanguagesServer() as server``: ``server.index_url`` is what the setting ``languages_index`` takes. ``offer()``
adds a pack; ``files`` are the bodies by path and may be changed while it runs. ``requests`` is what was asked, with the
range that was wanted and the bytes that were sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.servers.language_packs import pack_members, zip_up

INDEX = "/index.json"


@dataclass
class Asked:
    """A request: its path, the range it wanted, and how many bytes of a body went to the socket."""

    path: str
    range: str | None
    sent: int = 0


class LanguagesServer:
    """The server; answers from its construction until :meth:`close`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.index: Any = []
        """What the index says; bytes are sent as they are."""
        self.status: dict[str, int] = {}
        """A path that is answered with this status, whatever lies there."""
        self.break_after: dict[str, list[int]] = {}
        """Bytes of the body after which a connection is reset, for each of the next requests of a path."""
        self.pause_at: dict[str, int] = {}
        """The byte of a file before which its sending waits for ``gate``."""
        self.gate = threading.Event()
        self.paused = threading.Event()
        """Set when a body waits."""
        self.requests: list[Asked] = []
        server = self

        class Handler(_Handler):
            languages = server

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is, without a slash at its end."""
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    @property
    def index_url(self) -> str:
        """The address of the index."""
        return self.url + INDEX

    def offer(self, source: str, target: str, version: str = "1.0", *, filler: int = 0, **metadata: Any) -> str:
        """Add a pack to the index; ``filler`` bytes that cannot be packed make it larger. Returns its path."""
        members = pack_members(source, target, version, **metadata)
        if filler:
            top = next(iter(members)).partition("/")[0]
            members[f"{top}/model/filler.bin"] = noise(filler)
        return self.offer_file(source, target, zip_up(members), version)

    def offer_file(self, source: str, target: str, content: bytes, version: str = "1.0") -> str:
        """Add any bytes to the index as a pack. Returns their path."""
        path = f"/v1/translate-{source}_{target}-{version.replace('.', '_')}.argosmodel"
        self.files[path] = content
        self.index.append(self.entry(source, target, version, [self.url + path]))
        return path

    @staticmethod
    def entry(source: str, target: str, version: str, links: list[str], **more: Any) -> dict[str, Any]:
        """An entry of the index."""
        return {
            "package_version": version,
            "argos_version": "1.9.0",
            "from_code": source,
            "from_name": source,
            "to_code": target,
            "to_name": target,
            "links": links,
            "code": f"translate-{source}_{target}",
            **more,
        }

    def body(self, path: str) -> bytes | None:
        """What lies at a path."""
        if path == INDEX:
            return self.index if isinstance(self.index, bytes) else json.dumps(self.index).encode()
        return self.files.get(path)

    def asked_for(self, path: str) -> list[Asked]:
        """The requests for a path."""
        return [asked for asked in self.requests if asked.path == path]

    def close(self) -> None:
        """End it."""
        self.gate.set()
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def noise(size: int) -> bytes:
    """Bytes that no packing makes smaller, always the same."""
    return b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(-(-size // 32)))[:size]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    languages: LanguagesServer

    def do_GET(self) -> None:
        server = self.languages
        asked = Asked(self.path, self.headers.get("Range"))
        server.requests.append(asked)
        content = server.body(self.path)
        status = server.status.get(self.path, 404 if content is None else 200)
        if status != 200 or content is None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", asked.range or "")
        if wanted and self.headers.get("If-Range", etag) == etag:
            start = int(wanted[1])
        if start >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has gone
            self._send(asked, content[start:], start)

    def _send(self, asked: Asked, body: bytes, start: int) -> None:
        server = self.languages
        breaks = server.break_after.get(self.path)
        end = breaks.pop(0) if breaks else None
        pause = server.pause_at.get(self.path, 0) - start
        gate = server.gate
        while asked.sent < len(body):
            stops = [place for place in (end, pause) if place is not None and place > asked.sent]
            stop = min([asked.sent + 64 * 1024, len(body), *stops])
            self.wfile.write(body[asked.sent : stop])
            asked.sent = stop
            if asked.sent == pause:
                server.paused.set()
                gate.wait(60)
            if asked.sent == end:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
                return

    def log_message(self, format: str, *arguments: Any) -> None:
        pass
