"""A server that speaks Pinecone's API as its library 10.2 asks it, with the service's documented limits and failures.

What is written is shown to reads only after ``lag`` seconds. Indexes of the control plane are at ``/indexes``; each has
its own address, ``/data/NAME``. Run as a program it serves on the port given and prints its address.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import orjson

KEY = "pcsk-test-0123456789abcdef"
API_VERSION = "2026-07"
MAX_BYTES, MAX_RECORDS, MAX_IDS, MAX_METADATA, MAX_ID, MAX_PAGE = 2_000_000, 1000, 1000, 40_000, 512, 100


@dataclass
class Fault:
    """What to do with one request whose path ends so, instead of the usual."""

    path: str
    status: int = 0
    message: str = "the service stumbled"
    headers: dict[str, str] = field(default_factory=dict)
    lose_reply: bool = False
    """Do the work, then close the connection without an answer."""
    delay: float = 0.0
    take: int | None = None
    """Of an upsert take only so many records."""
    times: int = 1
    body: bytes | None = None
    """Answer with this, which is no JSON of the API."""


@dataclass
class Refusal(Exception):
    status: int
    message: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Record:
    values: Any
    metadata: dict[str, Any]


class Window:
    """At most so much within any second."""

    def __init__(self, limit: float) -> None:
        self.limit, self.taken = limit, deque[tuple[float, float]]()

    def take(self, amount: float) -> bool:
        now = time.monotonic()
        while self.taken and self.taken[0][0] <= now - 1.0:
            self.taken.popleft()
        if self.taken and sum(one for _, one in self.taken) + amount > self.limit:
            return False
        self.taken.append((now, amount))
        return True


class Space:
    """A namespace: what it holds, and what reads are shown of it."""

    def __init__(self) -> None:
        self.held: dict[str, Record] = {}
        self.shown: dict[str, Record] = {}
        self.late = deque[tuple[float, str, Record | None]]()
        self.windows = {"upsert": Window(100), "bytes": Window(50_000_000), "delete": Window(100), "list": Window(200)}

    def write(self, name: str, record: Record | None, lag: float) -> None:
        if record is None:
            self.held.pop(name, None)
        else:
            self.held[name] = record
        self.late.append((time.monotonic() + lag, name, record))

    def read(self) -> dict[str, Record]:
        now = time.monotonic()
        while self.late and self.late[0][0] <= now:
            _, name, record = self.late.popleft()
            if record is None:
                self.shown.pop(name, None)
            else:
                self.shown[name] = record
        return self.shown


@dataclass
class Index:
    name: str
    dimension: int = 1536
    metric: str = "cosine"
    ready_at: float = 0.0
    spaces: dict[str, Space] = field(default_factory=dict)
    place: str = ""
    """The last part of its address, where that is not its name."""


class PineconeServer:
    """The server; answers from its construction until :meth:`close`."""

    def __init__(self, port: int = 0, key: str = KEY) -> None:
        self.key = key
        self.lock = threading.RLock()
        self.indexes: dict[str, Index] = {}
        self.latency = 0.0
        self.lag = 0.0
        """Seconds until what was written is shown to reads."""
        self.readies_after = 0.0
        """Seconds until a new index is ready."""
        self.enforces_rates = True
        self.write_units: int | None = None
        """Records that may still be written this month."""
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, int]] = []
        """Path below the index, and status, of each request."""
        self.upserted: list[str] = []
        """Each id that was written, as often as it was."""
        self.deleted: list[str] = []
        self.on_request: Callable[[str], None] = lambda path: None
        self.most_at_once = self._at_once = 0
        server = self

        class Handler(_Handler):
            api = server

        self.http = _Server(("127.0.0.1", port), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    @property
    def writes(self) -> int:
        """Requests that change something, whatever came of them."""
        changing = ("/vectors/upsert", "/vectors/delete", "/vectors/update", "POST /indexes")
        return sum(path.endswith(changing) for path, _ in self.requests)

    def make(self, name: str = "kb", **more: Any) -> Index:
        index = self.indexes[name] = Index(name, **more)
        return index

    def held(self, namespace: str, name: str = "kb") -> dict[str, Record]:
        """What a namespace holds, whatever reads are shown."""
        space = self.indexes[name].spaces.get(namespace)
        return {} if space is None else dict(space.held)

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- answering --------------------------------------------------------------------------------

    def find_fault(self, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if path.endswith(fault.path):
                    fault.times -= 1
                    if not fault.times:
                        self.faults.remove(fault)
                    return fault
        return None

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], headers: Any, body: bytes, fault: Fault | None
    ) -> tuple[int, Any]:
        if headers.get("Api-Key") != self.key:
            # The real one does not quote the key; one that does must not bring it into a log either.
            raise Refusal(401, f"Invalid API Key {headers.get('Api-Key')}")
        if headers.get("X-Pinecone-Api-Version") != API_VERSION:
            raise Refusal(400, f"unknown API version {headers.get('X-Pinecone-Api-Version')}")
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[0] == "indexes":
            return self._control(method, parts[1:], body)
        index = next((one for one in self.indexes.values() if parts[1] == (one.place or one.name)), None)
        if parts[0] != "data" or index is None:
            raise Refusal(404, f"no such index: {path}")
        return 200, self._data(index, "/".join(parts[2:]), query, body, fault)

    def _control(self, method: str, parts: list[str], body: bytes) -> tuple[int, Any]:
        if method == "POST" and not parts:
            wanted = json.loads(body)
            (vector,) = wanted["schema"]["fields"].values()
            if wanted["name"] in self.indexes:
                raise Refusal(409, f"Resource {wanted['name']} already exists")
            if wanted["deployment"]["deployment_type"] != "managed" or vector["type"] != "dense_vector":
                raise Refusal(400, "unknown deployment or vector type")
            ready = time.monotonic() + self.readies_after
            self.make(wanted["name"], dimension=vector["dimension"], metric=vector["metric"], ready_at=ready)
            return 201, self._describe(self.indexes[wanted["name"]])
        if method == "GET" and not parts:
            return 200, {"indexes": [self._describe(index) for index in self.indexes.values()]}
        if method == "GET" and parts[0] in self.indexes:
            return 200, self._describe(self.indexes[parts[0]])
        raise Refusal(404, f"Resource {'/'.join(parts)} not found")

    def _describe(self, index: Index) -> dict[str, Any]:
        ready = time.monotonic() >= index.ready_at
        return {
            "name": index.name,
            "host": f"{self.url}/data/{index.place or index.name}",
            "status": {"ready": ready, "state": "Ready" if ready else "Initializing"},
            "deletion_protection": "disabled",
            "deployment": {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"},
            "schema": {
                "fields": {"_values": {"type": "dense_vector", "dimension": index.dimension, "metric": index.metric}}
            },
        }

    def _data(self, index: Index, verb: str, query: dict[str, list[str]], body: bytes, fault: Fault | None) -> Any:
        content = orjson.loads(body) if body else {}
        name = content.get("namespace", query.get("namespace", [""])[0])
        with self.lock:
            space = index.spaces.get(name)
            if verb == "vectors/upsert":
                return self._upsert(index, index.spaces.setdefault(name, Space()), content, len(body), fault)
            if verb == "describe_index_stats":
                spaces = {key: {"vectorCount": len(one.read())} for key, one in index.spaces.items()}
                total = sum(one["vectorCount"] for one in spaces.values())
                return {
                    "namespaces": spaces,
                    "dimension": index.dimension,
                    "indexFullness": 0,
                    "totalVectorCount": total,
                }
            if verb == "vectors/delete" and space is None:
                raise Refusal(404, "Namespace not found")
            space = space or Space()
            if verb == "vectors/delete":
                return self._delete(space, content)
            if verb == "vectors/list":
                return self._list(space, name, query)
            if verb == "vectors/fetch":
                ids = query.get("ids", [])
                if len(ids) > MAX_IDS:
                    raise Refusal(400, f"Cannot fetch more than {MAX_IDS} records")
                found = {one: _as_json(one, space.read()[one], True) for one in ids if one in space.read()}
                return {"vectors": found, "namespace": name, "usage": {"readUnits": 1}}
            if verb == "query":
                return self._query(index, space, name, content)
        raise Refusal(404, f"unknown path {verb}")

    def _rate(self, space: Space, kind: str, amount: float = 1) -> None:
        if self.enforces_rates and not space.windows[kind].take(amount):
            raise Refusal(429, f"Too many requests per second: {kind}", {"retry-after": "1"})

    def _upsert(self, index: Index, space: Space, content: Any, size: int, fault: Fault | None) -> Any:
        vectors = content["vectors"]
        if size > MAX_BYTES:
            raise Refusal(400, f"Error, message length too large: found {size} bytes, the limit is: {MAX_BYTES} bytes")
        if not 1 <= len(vectors) <= MAX_RECORDS:
            raise Refusal(400, f"an upsert has 1 to {MAX_RECORDS} records, not {len(vectors)}")
        stored = 0
        for one in vectors:
            _check_id(one["id"])
            metadata = orjson.dumps(one.get("metadata", {}))
            if len(metadata) > MAX_METADATA:
                raise Refusal(400, f"metadata of {len(metadata)} bytes, the limit is {MAX_METADATA}")
            if len(one["values"]) != index.dimension:
                raise Refusal(400, f"Vector dimension {len(one['values'])} does not match {index.dimension}")
            if not any(one["values"]):
                raise Refusal(400, "Dense vectors must contain at least one non-zero value.")
            stored += len(one["id"]) + len(metadata) + 4 * index.dimension
        self._rate(space, "upsert")
        self._rate(space, "bytes", stored)
        if self.write_units is not None:
            if self.write_units < len(vectors):
                raise Refusal(
                    429,
                    "Request failed. You've reached your write unit limit for the current month (2000000)."
                    " To continue writing data, upgrade your plan.",
                )
            self.write_units -= len(vectors)
        taken = vectors if fault is None or fault.take is None else vectors[: fault.take]
        for one in taken:
            record = Record(np.array(one["values"], "<f4"), one.get("metadata", {}))
            space.write(one["id"], record, self.lag)
            self.upserted.append(one["id"])
        return {"upsertedCount": len(taken)}

    def _delete(self, space: Space, content: Any) -> Any:
        ids = content.get("ids", [])
        if not 1 <= len(ids) <= MAX_IDS:
            raise Refusal(400, f"a delete has 1 to {MAX_IDS} ids, not {len(ids)}")
        self._rate(space, "delete")
        for one in ids:
            _check_id(one)
            space.write(one, None, self.lag)
            self.deleted.append(one)
        return {}

    def _list(self, space: Space, name: str, query: dict[str, list[str]]) -> Any:
        limit = int(query.get("limit", ["100"])[0])
        if not 1 <= limit <= MAX_PAGE:
            raise Refusal(400, f"limit must be 1 to {MAX_PAGE}")
        self._rate(space, "list")
        prefix, after = query.get("prefix", [""])[0], query.get("paginationToken", [""])[0]
        found = sorted(one for one in space.read() if one.startswith(prefix) and one > after)
        page = found[:limit]
        answer: dict[str, Any] = {
            "vectors": [{"id": one} for one in page],
            "namespace": name,
            "usage": {"readUnits": 1},
        }
        if len(found) > limit:
            answer["pagination"] = {"next": page[-1]}
        return answer

    def _query(self, index: Index, space: Space, name: str, content: Any) -> Any:
        if not 1 <= content["topK"] <= 10_000 or len(content["vector"]) != index.dimension:
            raise Refusal(400, "topK or dimension is wrong")
        wanted = np.array(content["vector"], "<f4")
        scored = [
            (float(record.values @ wanted / (np.linalg.norm(record.values) * np.linalg.norm(wanted))), one, record)
            for one, record in space.read().items()
            if _passes(record.metadata, content.get("filter") or {})
        ]
        scored.sort(key=lambda one: -one[0])
        has_metadata = content.get("includeMetadata", False)
        matches = [
            {"id": one, "score": score, "values": []} | ({"metadata": record.metadata} if has_metadata else {})
            for score, one, record in scored[: content["topK"]]
        ]
        return {"matches": matches, "namespace": name, "usage": {"readUnits": 1}}


def _check_id(name: Any) -> None:
    if not isinstance(name, str) or not name.isascii() or not 1 <= len(name) <= MAX_ID:
        raise Refusal(400, f"a record's id has 1 to {MAX_ID} ASCII characters")


def _as_json(name: str, record: Record, has_values: bool) -> dict[str, Any]:
    return {"id": name, "values": record.values.tolist() if has_values else [], "metadata": record.metadata}


def _passes(metadata: dict[str, Any], which: dict[str, Any]) -> bool:
    """Whether metadata pass a filter; of the operators those that are used here."""
    for key, condition in which.items():
        value = metadata.get(key)
        values = value if isinstance(value, list) else [value]
        for operator, wanted in condition.items():
            if operator not in ("$eq", "$in"):
                raise Refusal(400, f"unknown operator {operator}")
            if not set(values) & set(wanted if operator == "$in" else [wanted]):
                return False
    return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # that is a client which a test has killed
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: PineconeServer

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def _serve(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = urlsplit(self.path)
        fault = self.api.find_fault(parts.path)
        with self.api.lock:
            self.api._at_once += 1
            self.api.most_at_once = max(self.api.most_at_once, self.api._at_once)
        more: dict[str, str] = {}
        try:
            time.sleep(self.api.latency + (fault.delay if fault else 0.0))
            self.api.on_request(parts.path)
            if fault is not None and fault.status:
                raise Refusal(fault.status, fault.message, fault.headers)
            status, answer = self.api.answer(method, parts.path, parse_qs(parts.query), self.headers, body, fault)
        except Refusal as refusal:
            status, more = refusal.status, refusal.headers
            answer = {"code": 3, "message": refusal.message, "details": []}
            if parts.path.startswith("/indexes"):
                answer = {"error": {"code": "REFUSED", "message": refusal.message}, "status": status}
        finally:
            with self.api.lock:
                self.api._at_once -= 1
        with self.api.lock:
            self.api.requests.append((f"{method} {parts.path}", status))
        if fault is not None and fault.lose_reply:
            self.close_connection = True
            return
        content = orjson.dumps(answer) if fault is None or fault.body is None else fault.body
        try:
            self.send_response(status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(content)),
                **more,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            pass  # the client is gone, killed by a test

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def main() -> None:
    server = PineconeServer(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(server.url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
