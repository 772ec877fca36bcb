"""What a page may ask for: the rules for methods, hosts and headers, and a POST to the site."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from kbjobs.scraping.page_fetch import Question
from kbjobs.scraping.rendering.resources import MAX_HEADERS, ResourceRefused, Resources, choose_headers
from kbjobs.scraping.robots import Robots
from kbjobs.scraping.site_scope import SiteScope
from tests.scraping.conftest import AGENT, fetcher_for


async def allow(url: str) -> Robots:
    return Robots("", AGENT)


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that answers a POST with its body and type; its address without http://."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.path == "/moved":
                self.send_response(307)
                self.send_header("Location", "/echo")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            body = json.dumps([self.headers["Content-Type"], sent]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_script_may_post_to_its_site(echo: str) -> None:
    async def post(path: str) -> bytes:
        async with fetcher_for() as fetcher:
            resources = Resources(fetcher, SiteScope(frozenset({echo})), allow)
            headers = (("content-type", "application/json"),)
            question = Question(f"http://{echo}{path}", "POST", headers, b'{"query": "{ pages }"}')
            resources.check(question)
            try:
                return (await resources.start(question, "fetch").task).body
            finally:
                await resources.close()

    assert json.loads(asyncio.run(post("/echo"))) == ["application/json", '{"query": "{ pages }"}']
    with pytest.raises(ResourceRefused, match="POST is redirected"):
        asyncio.run(post("/moved"))


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("PUT", "http://127.0.0.1:8000/x"),
        ("DELETE", "http://127.0.0.1:8000/x"),
        ("POST", "https://elsewhere.example.org/x"),
        ("GET", "http://127.0.0.1:9/other-port"),
        ("GET", "file:///etc/passwd"),
        ("GET", "ftp://127.0.0.1:8000/x"),
    ],
)
def test_other_requests_are_refused(method: str, url: str) -> None:
    async def check() -> None:
        async with fetcher_for() as fetcher:
            Resources(fetcher, SiteScope(frozenset({"127.0.0.1:8000"})), allow).check(Question(url, method))

    with pytest.raises(ResourceRefused):
        asyncio.run(check())


def test_headers_that_are_the_workers_own_are_not_taken_from_a_script() -> None:
    given = {
        "Accept": "application/json", "Authorization": "Bearer x", "Cookie": "a=b", "Host": "evil", "User-Agent": "x",
        "Proxy-Authorization": "x", "Sec-Fetch-Mode": "cors", "If-None-Match": '"x"', "Transfer-Encoding": "chunked",
        "X-Line": "a\r\nHost: evil", "X-Long": "x" * 5_000, ":authority": "evil",
    }  # fmt: skip
    assert choose_headers(given) == (("Accept", "application/json"), ("Authorization", "Bearer x"))
    assert len(choose_headers({f"x-{number}": "1" for number in range(500)})) == MAX_HEADERS
