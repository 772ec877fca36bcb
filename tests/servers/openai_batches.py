"""The Files and the Batch API of the loopback server: real shapes, real limits, and faults on demand.

Shapes and limits are those of the API's reference as the library's own types and docstrings give them; the lines of
output and error files are those of its guide to batches. A batch moves on when it is asked for, or when a test says so.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from tests.servers.openai_server import OpenAIServer

ENDPOINT = "/v1/embeddings"
MAX_REQUESTS = 50_000
MAX_BYTES = 200 * 1024 * 1024
BAD = "invalid_request_error"


@dataclass
class File:
    id: str
    filename: str
    purpose: str
    content: bytes
    created_at: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "expires_at": self.created_at + 30 * 86400,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


@dataclass
class Answer:
    """``content`` as it is where it is bytes. ``is_lost``: all was done, but the connection breaks without a word."""

    status: int
    content: Any
    is_lost: bool = False


def refuse(status: int, message: str, code: str | None = None) -> Answer:
    error = {"message": message, "type": BAD if status < 500 else "server_error", "param": None, "code": code}
    return Answer(status, {"error": error})


@dataclass
class Ledger:
    """What a test may look at: each request as (method, path without its query, status)."""

    requests: list[tuple[str, str, int]] = field(default_factory=list)

    def count(self, method: str, path: str) -> int:
        return sum(one[0] == method and one[1] == path for one in self.requests)


class BatchDesk:
    """Files and batches of one server, and how they are to fail."""

    def __init__(self, api: OpenAIServer, count_tokens: Callable[[str], int]) -> None:
        self.api, self._count = api, count_tokens
        self.log = Ledger()
        self.files: dict[str, File] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.is_there = True
        """Cleared, there is no such API."""
        self.is_slow = False
        """Set, batches end when the test calls :meth:`end`; else when they are first asked for."""
        self.page = 100
        """The most that a page of a list holds."""
        self.faults: list[tuple[str, str, int]] = []
        """(method, path, status) of answers that fail, one each; status 0 loses the answer after the deed."""
        self.before: Callable[[str, str], None] = lambda method, path: None
        """Called before a request is looked at, with method and path."""
        self.after: Callable[[str, str], None] = lambda method, path: None
        """Called when a request was worked on and before it is answered: where a test may kill the client."""
        self.refuse_batch: list[tuple[str, str]] = []
        """Code and message with which the next batches fail as a whole, one each."""
        self.token_limit: int | None = None
        """Tokens that may be out at a time."""
        self.expire_after: list[int] = []
        """How many requests the next batches do before they expire, one each."""
        self.fail: Callable[[str], tuple[int, dict[str, Any]] | None] = lambda text: None
        """Status and error with which the request for a text fails."""
        self.alter: Callable[[list[dict[str, Any]]], list[Any]] = lambda lines: lines
        """Changes the lines of an output file; what is bytes is written as it is."""

    # -- requests ---------------------------------------------------------------------------------

    def answer(self, method: str, url: str, authorization: str, kind: str, body: bytes) -> Answer:
        path = urlsplit(url).path.removeprefix("/v1")
        query = {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
        self.before(method, path)
        if authorization != f"Bearer {self.api.key}":
            given = authorization.removeprefix("Bearer ")
            found = refuse(401, f"Incorrect API key provided: {given}.", "invalid_api_key")
        elif not self.is_there:
            found = refuse(404, f"Invalid URL ({method} /v1{path})")
        else:
            with self.api.lock:
                fault = next((one for one in self.faults if one[0] == method and path.startswith(one[1])), None)
                if fault is not None:
                    self.faults.remove(fault)
                if fault is not None and fault[2]:
                    found = refuse(fault[2], "The server had an error while processing your request.")
                else:
                    found = self._work(method, path, query, kind, body)
                    found.is_lost = fault is not None
        self.log.requests.append((method, path, found.status))
        self.after(method, path)
        return found

    def _work(self, method: str, path: str, query: dict[str, str], kind: str, body: bytes) -> Answer:
        parts = path.strip("/").split("/")
        if (method, path) == ("POST", "/files"):
            return self._upload(kind, body)
        if (method, path) == ("POST", "/batches"):
            return self._create(json.loads(body))
        if (method, path) == ("GET", "/files"):
            files = [one.as_dict() for one in self.files.values() if query.get("purpose", one.purpose) == one.purpose]
            return self._list(files, query)
        if (method, path) == ("GET", "/batches"):
            return self._list([_shown(one) for one in self.batches.values()], query)
        if parts[0] == "files" and len(parts) > 1:
            return self._work_on_file(method, parts)
        if parts[0] == "batches" and len(parts) > 1:
            batch = self.batches.get(parts[1])
            if batch is None:
                return refuse(404, f"No batch found with id '{parts[1]}'.")
            if parts[2:] == ["cancel"]:
                self._end(batch, "cancelled", done=0)
            elif not self.is_slow:
                self._end(batch)
            return Answer(200, _shown(batch))
        return refuse(404, f"Invalid URL ({method} /v1{path})")

    def _work_on_file(self, method: str, parts: list[str]) -> Answer:
        file = self.files.get(parts[1])
        if file is None:
            return refuse(404, f"No such File object: {parts[1]}")
        if method == "DELETE":
            del self.files[file.id]
            return Answer(200, {"id": file.id, "object": "file", "deleted": True})
        return Answer(200, file.content if parts[2:] == ["content"] else file.as_dict())

    def _list(self, rows: list[dict[str, Any]], query: dict[str, str]) -> Answer:
        rows = rows[::-1]  # the newest first
        ids = [row["id"] for row in rows]
        if query.get("after"):
            rows = rows[ids.index(query["after"]) + 1 :]
        count = min(self.page, int(query.get("limit", 20)))
        page = rows[:count]
        first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
        more = len(rows) > count
        return Answer(200, {"object": "list", "data": page, "first_id": first, "last_id": last, "has_more": more})

    def _upload(self, kind: str, body: bytes) -> Answer:
        message = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        fields: dict[str, Any] = {}
        for part in message.walk():
            name = part.get_param("name", header="content-disposition")
            if name is not None:
                fields[str(name)] = (part.get_filename(), part.get_payload(decode=True))
        filename, content = fields["file"]
        purpose = fields["purpose"][1].decode()
        if purpose == "batch" and not filename.endswith(".jsonl"):
            return refuse(400, f"Invalid file format for Batch API. Must be .jsonl, got {filename}")
        if len(content) > MAX_BYTES:
            return refuse(413, "File is too large.")
        return Answer(200, self._store(filename, purpose, content).as_dict())

    def _store(self, filename: str, purpose: str, content: bytes) -> File:
        file = File(f"file-{random.getrandbits(80):020x}", filename, purpose, content, int(time.time()))
        self.files[file.id] = file
        return file

    def _create(self, body: dict[str, Any]) -> Answer:
        if body.get("input_file_id") not in self.files:
            return refuse(400, f"Invalid 'input_file_id': no file {body.get('input_file_id')}", "invalid_value")
        if body.get("endpoint") != ENDPOINT or body.get("completion_window") != "24h":
            return refuse(400, "Invalid value", "invalid_value")
        moment = int(time.time())
        batch = {
            "id": f"batch_{random.getrandbits(80):020x}",
            "object": "batch",
            "endpoint": ENDPOINT,
            "errors": None,
            "input_file_id": body["input_file_id"],
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": moment,
            "expires_at": moment + 86400,
            "metadata": body.get("metadata"),
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "lines": [],
        }
        self.batches[batch["id"]] = batch
        self._validate(batch)
        return Answer(200, _shown(batch) | {"status": "validating", "errors": None})

    def _validate(self, batch: dict[str, Any]) -> None:
        problem = self.refuse_batch.pop(0) if self.refuse_batch else None
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].content.splitlines()]
        texts = [text for line in lines for text in line["body"]["input"]]
        tokens = sum(map(self._count, texts))
        out = sum(one["tokens"] for one in self.batches.values() if "tokens" in one and one["status"] == "in_progress")
        if problem is None and (len(lines) > MAX_REQUESTS or len(texts) > MAX_REQUESTS):
            problem = ("too_many_tasks", "The batch input file contains more requests than the limit of 50000.")
        if problem is None and len({line["custom_id"] for line in lines}) < len(lines):
            problem = ("duplicate_custom_id", "The custom_id is used twice.")
        if problem is None and {(line["method"], line["url"]) for line in lines} != {("POST", ENDPOINT)}:
            problem = ("mismatched_endpoint", "The url of a request is not that of the batch.")
        if problem is None and self.token_limit is not None and out + tokens > self.token_limit:
            problem = (
                "token_limit_exceeded",
                "Enqueued token limit reached for text-embedding-3-small in organization org-x. Limit:"
                f" {self.token_limit:,} enqueued tokens. Please try again once some in_progress batches have been"
                " completed.",
            )
        if problem is not None:
            batch["status"], batch["failed_at"] = "failed", int(time.time())
            error = {"code": problem[0], "line": None, "message": problem[1], "param": None}
            batch["errors"] = {"object": "list", "data": [error]}
            return
        batch |= {"status": "in_progress", "tokens": tokens, "lines": lines}
        batch["request_counts"]["total"] = len(lines)

    # -- the work ---------------------------------------------------------------------------------

    def end(self, batch_id: str | None = None, status: str = "completed", done: int | None = None) -> None:
        """End a batch, or all that are out: with all its requests done, or so many."""
        with self.api.lock:
            for batch in list(self.batches.values()):
                if batch_id in (None, batch["id"]):
                    self._end(batch, status, done)

    def progress(self, batch_id: str, completed: int) -> None:
        """Let a batch tell that so many of its requests are done."""
        self.batches[batch_id]["request_counts"]["completed"] = completed

    def _end(self, batch: dict[str, Any], status: str = "completed", done: int | None = None) -> None:
        if batch["status"] != "in_progress":
            return
        if self.expire_after and done is None:
            status, done = "expired", self.expire_after.pop(0)
        output: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for number, line in enumerate(batch["lines"]):
            if done is not None and number >= done:
                undone = "batch_expired" if status == "expired" else "batch_cancelled"
                message = "This request could not be executed before the completion window expired."
                errors.append(_line(line, None, {"code": undone, "message": message}))
            elif (failure := self.fail(line["body"]["input"][0])) is not None:
                code, error = failure
                response = {"status_code": code, "request_id": "req_x", "body": {"error": error}}
                errors.append(_line(line, response, None))
            else:
                output.append(_line(line, {"status_code": 200, "request_id": "req_x", "body": self._sell(line)}, None))
        counts = {"total": len(batch["lines"]), "completed": len(output), "failed": len(errors)}
        batch |= {"status": status, f"{status}_at": int(time.time()), "request_counts": counts}
        for name, lines in (("output", self.alter(output)), ("error", errors)):
            if lines:
                content = b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines)
                batch[f"{name}_file_id"] = self._store(f"{batch['id']}_{name}.jsonl", "batch_output", content).id

    def _sell(self, line: dict[str, Any]) -> dict[str, Any]:
        texts = line["body"]["input"]
        tokens = sum(map(self._count, texts))
        self.api.sold_texts.extend(texts)
        self.api.sold_tokens += tokens
        return self.api.embed(line["body"], texts, tokens)


def _shown(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name not in ("lines", "tokens")}


def _line(request: dict[str, Any], response: Any, error: Any) -> dict[str, Any]:
    name = f"batch_req_{random.getrandbits(64):016x}"
    return {"id": name, "custom_id": request["custom_id"], "response": response, "error": error}
