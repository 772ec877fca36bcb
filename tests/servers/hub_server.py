"""A model hub on the loopback, as huggingface.co answers, with misbehaviours that a test gives.

``with HubServer() as hub: hub.add("acme/words", folder)``; ``hub.url`` is for HF_ENDPOINT. Revisions, listings with
``lfs.oid`` for large files and git's hash for small ones, ranges, tags, errors with ``X-Error-Code``: as
https://huggingface.co/docs/hub/api and the client huggingface_hub 2.4 expect them.

``hub.faults["onnx/model.onnx"] = [Fault(...), …]``: one for each request of that file, None for a good answer; the
last is for ever where it is ``lasting``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

LARGE = 100_000
"""Bytes from which on a file is listed with its sha256."""
_PIECE = 64 * 1024


@dataclass(frozen=True)
class Fault:
    """What is wrong with an answer."""

    status: int = 0
    """Instead of the file."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Bytes of the body after which the connection is reset."""
    alter: bool = False
    """One byte of the body is another."""
    ignores_range: bool = False
    """Answers with the whole file, and 200."""
    location: str = ""
    """A redirect to there; ``{path}`` is what was asked for."""
    silent: bool = False
    """Nothing is sent after the headers, until the client goes."""
    body: bytes | None = None
    """Instead of the file's content."""
    lasting: bool = False
    """The same for every later request."""


@dataclass(frozen=True)
class Asked:
    """A request: its path, its headers by lower-case names, and from which byte on it wants the file."""

    path: str
    headers: dict[str, str]
    start: int


@dataclass
class Revision:
    """A commit: its files by path."""

    commit: str
    files: dict[str, bytes | Path]
    licence: str


class HubServer:
    """The hub; answers from its construction until :meth:`close`."""

    def __init__(self, token: str | None = None, rate: float | None = None) -> None:
        self.token = token
        """What a client must send for each model; None: nobody is asked."""
        self.rate = rate
        """Bytes a second of a file; None: as fast as it goes."""
        self.gated: set[str] = set()
        self.faults: dict[str, list[Fault | None]] = {}
        self.extra: list[Any] = []
        """Entries that every listing has too."""
        self.page = 1000
        """Entries of a page of a listing."""
        self.asked: list[Asked] = []
        self.sent: dict[str, int] = {}
        """Bytes of each file that have gone out."""
        self.models: dict[str, dict[str, Revision]] = {}
        self._lock = threading.Lock()
        server = self

        class Handler(_Handler):
            hub = server

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering."""
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()

    def add(
        self,
        hub_id: str,
        files: Path | Mapping[str, bytes | Path],
        revision: str = "main",
        licence: str = "apache-2.0",
    ) -> str:
        """Put a commit under a revision: the files of a folder, or given by their paths. Returns the commit."""
        if isinstance(files, Path):
            files = {file.relative_to(files).as_posix(): file for file in files.rglob("*") if file.is_file()}
        listing = "\n".join(f"{path} {_sha256(content)}" for path, content in sorted(files.items()))
        commit = hashlib.sha1(listing.encode()).hexdigest()
        added = Revision(commit, dict(files), licence)
        self.models.setdefault(hub_id, {}).update({revision: added, commit: added})
        return commit

    def next_fault(self, path: str) -> Fault | None:
        """What is wrong with the next answer for a file."""
        with self._lock:
            waiting = self.faults.get(path, [])
            if not waiting:
                return None
            first = waiting[0]
            return first if first is not None and first.lasting else waiting.pop(0)

    def count(self, path: str, size: int) -> None:
        with self._lock:
            self.sent[path] = self.sent.get(path, 0) + size

    def starts(self, path: str) -> list[int]:
        """From which byte on a file was asked for, each time."""
        return [one.start for one in self.asked if one.path.endswith(f"/{path}")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *arguments: object) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        start = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        self.hub.asked.append(Asked(path, headers, int(start[1]) if start else 0))
        with contextlib.suppress(ConnectionError, TimeoutError):
            self._answer(path)

    def _answer(self, path: str) -> None:
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
            if revision := self._find(found[1], found[2]):
                self._json(
                    {
                        "id": found[1],
                        "sha": revision.commit,
                        "cardData": {"license": revision.licence},
                        "gated": "manual" if found[1] in self.hub.gated else False,
                        "siblings": [{"rfilename": name} for name in revision.files],
                    }
                )
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/(.+)", path):
            if revision := self._find(found[1], found[2]):
                self._list(revision)
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            if revision := self._find(found[1], found[2]):
                self._file(revision, found[3])
        else:
            self._refuse(404, "")

    def _find(self, hub_id: str, name: str) -> Revision | None:
        """The revision that is asked for; where the hub refuses it, that is said."""
        revisions = self.hub.models.get(hub_id)
        if fault := self.hub.next_fault("api" if "/api/" in self.path else ""):
            self._refuse(fault.status, "", fault.headers)
        elif self.hub.token is not None and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._refuse(401, "RepoNotFound")
        elif hub_id in self.hub.gated:
            self._refuse(403, "GatedRepo")
        elif revisions is None:
            self._refuse(401 if "Authorization" not in self.headers else 404, "RepoNotFound")
        elif name not in revisions:
            self._refuse(404, "RevisionNotFound")
        else:
            return revisions[name]
        return None

    def _list(self, revision: Revision) -> None:
        entries: list[dict[str, Any]] = [{"type": "directory", "path": "onnx", "size": 0, "oid": "0" * 40}]
        for path, content in sorted(revision.files.items()):
            size = len(_bytes(content)) if isinstance(content, bytes) else content.stat().st_size
            entry: dict[str, Any] = {"type": "file", "path": path, "size": size, "oid": "1" * 40}
            if size >= LARGE:
                entry["lfs"] = {"oid": _sha256(content), "size": size, "pointerSize": 134}
            else:
                entry["oid"] = hashlib.sha1(b"blob %d\0" % size + _bytes(content)).hexdigest()
            entries.append(entry)
        entries += self.hub.extra
        cursor = re.search(r"cursor=(\d+)", self.path)
        begin = int(cursor[1]) if cursor else 0
        end = begin + self.hub.page
        base = self.hub.url + self.path.partition("&cursor")[0]
        more = {"Link": f'<{base}&cursor={end}>; rel="next"'} if end < len(entries) else {}
        self._json(entries[begin:end], more)

    def _file(self, revision: Revision, path: str) -> None:
        fault = self.hub.next_fault(path) or Fault()
        if fault.location:
            self.send_response(302)
            self.send_header("Location", fault.location.format(path=self.path))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault.status:
            self._refuse(fault.status, "", fault.headers)
            return
        if path not in revision.files:
            self._refuse(404, "EntryNotFound")
            return
        content = revision.files[path]
        body = _bytes(content) if fault.body is None else fault.body
        self._send(path, body, f'"{_sha256(content)}"', revision.commit, fault)

    def _send(self, path: str, body: bytes, etag: str, commit: str, fault: Fault) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and not fault.ignores_range else 0
        if start and start >= len(body):
            self._refuse(416, "")
            return
        if start:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", etag)
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        self.wfile.flush()
        if fault.silent:
            self.connection.recv(1)
            return
        if fault.alter:
            middle = start + (len(body) - start) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        self._write(path, memoryview(body)[start:], fault.cut_after)

    def _write(self, path: str, body: memoryview, cut_after: int | None) -> None:
        began, sent = time.monotonic(), 0
        end = len(body) if cut_after is None else min(cut_after, len(body))
        while sent < end:
            piece = body[sent : min(sent + _PIECE, end)]
            self.connection.sendall(piece)
            sent += len(piece)
            self.hub.count(path, len(piece))
            if self.hub.rate is not None:
                time.sleep(max(0.0, sent / self.hub.rate - (time.monotonic() - began)))
        if cut_after is not None:
            # A reset, not an end: the client must not take what it has for the whole.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

    def _json(self, content: Any, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _bytes(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _sha256(content: bytes | Path) -> str:
    return hashlib.sha256(_bytes(content)).hexdigest()
