"""Who may ask: attacks from another page, another name, without the token, too large, too slow, too often."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kbjobs.config.home import Home
from kbjobs.config.secrets import set_secret
from kbjobs.errors import ExitCode
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from tests.conftest import Kbjobs, wait_until, write_pages
from tests.web.conftest import Builder, running

CHAIN = '[[phase]]\njob = "metadata"\n'


@pytest.fixture
def bare(builder: Builder) -> httpx.Client:
    """A client that knows nothing."""
    return httpx.Client(base_url=builder.base, timeout=10, trust_env=False)


def cookie_of(bare: httpx.Client, builder: Builder) -> str:
    answer = bare.get("/jobs", params={"token": builder.token})
    assert answer.status_code == 303 and answer.headers["location"] == "/jobs"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"kbjobs_{builder.port}=") and builder.token not in cookie
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    return cookie.partition(";")[0]


def test_without_the_token_nothing_is_shown(builder: Builder, bare: httpx.Client) -> None:
    for path in ("/", "/jobs", "/api/jobs", "/api/events", "/openapi.json", "/static/live.js", "/maps/map"):
        answer = bare.get(path)
        assert answer.status_code == 401 and "kbjobs" not in answer.headers.get("set-cookie", "")
    assert bare.get("/jobs", params={"token": "wrong"}).status_code == 401
    assert bare.get("/jobs", headers={"Cookie": f"kbjobs_{builder.port}={builder.token}"}).status_code == 401
    cookie = cookie_of(bare, builder)
    assert bare.get("/jobs", headers={"Cookie": cookie}).status_code == 200


def test_the_token_leads_nowhere_else(builder: Builder, bare: httpx.Client) -> None:
    answer = bare.get(f"{builder.base}//evil.example/jobs?token={builder.token}&a=1")
    assert answer.headers["location"] == "/evil.example/jobs?a=1"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8737", "127.0.0.1.evil.example", "", "127.0.0.1:1"])
def test_under_a_foreign_name_it_is_not_there(api: httpx.Client, host: str) -> None:
    assert api.get("/api/jobs", headers={"Host": host}).status_code in (400, 421)


def test_another_page_cannot_write(home: Home, builder: Builder, bare: httpx.Client, tmp_path: Path) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    cookie = cookie_of(bare, builder)
    body = {"toml": CHAIN, "sources": ["wiki"]}
    own = {"Cookie": cookie, "Origin": builder.base}

    def status(headers: dict[str, str], **more: object) -> int:
        return bare.post("/api/job-builder/run", headers=headers, **(more or {"json": body})).status_code  # type: ignore[arg-type]

    assert status({"Cookie": cookie}) == 403  # says not from where
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"):
        assert status({**own, "Origin": origin}) == 403
    assert status({**own, "Content-Type": "text/plain"}, content=b'{"toml": ""}') == 415
    assert status({**own, "Content-Type": "application/x-www-form-urlencoded"}, content=b"a=1") == 415
    assert JobManager(home).get_active_jobs() == []
    assert status(own) == 201
    assert len(JobManager(home).get_job_history()) == 1


def test_answers_forbid_what_a_page_does_not_need(api: httpx.Client) -> None:
    for path in ("/jobs", "/api/jobs", "/nothing", "/static/live.js"):
        headers = api.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_a_large_body_is_not_taken(builder: Builder, api: httpx.Client) -> None:
    answer = api.post(
        "/api/job-builder/parse", content=b"x" * (50 * 2**20), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413

    def endless() -> Iterator[bytes]:
        while True:
            yield b" " * 65536

    try:
        answer = api.post(
            "/api/job-builder/parse",
            content=endless(),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 413
    except httpx.TransportError:  # it hung up before all was sent
        pass
    assert api.get("/api/jobs").status_code == 200
    assert memory(builder) < 150 * 2**20


def memory(builder: Builder) -> int:
    """Bytes that the process has in memory."""
    status = Path(f"/proc/{builder.process.pid}/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@pytest.mark.full
def test_a_thousand_slow_connections_keep_nobody_waiting(builder: Builder, api: httpx.Client) -> None:
    slow = []
    try:
        for _ in range(1_000):
            connection = socket.create_connection(("127.0.0.1", builder.port))
            connection.sendall(b"GET /jobs HTTP/1.1\r\nHost: 127")
            slow.append(connection)
        began = time.monotonic()
        assert api.get("/api/jobs").status_code == 200
        assert time.monotonic() - began < 2

        def hung_up() -> bool:
            slow[0].setblocking(False)
            try:
                return slow[0].recv(1000)[:12] in (b"", b"HTTP/1.1 400")
            except BlockingIOError:
                return False

        wait_until(hung_up, 20)
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.full
def test_a_body_that_does_not_come_is_not_waited_for(builder: Builder) -> None:
    with socket.create_connection(("127.0.0.1", builder.port)) as connection:
        connection.sendall(
            b"POST /api/job-builder/parse HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{" % (builder.port, builder.token.encode())
        )
        connection.settimeout(20)
        assert b"408" in connection.recv(1000)


def test_too_many_writes_are_slowed_down(api: httpx.Client) -> None:
    statuses = [api.post("/api/job-builder/parse", json={"toml": ""}).status_code for _ in range(60)]
    assert statuses.count(429) and statuses[0] == 200
    refused = next(
        answer
        for answer in (api.post("/api/job-builder/parse", json={"toml": ""}) for _ in range(60))
        if answer.status_code == 429
    )
    assert int(refused.headers["retry-after"]) >= 1
    assert api.get("/api/jobs").status_code == 200  # to look is not to write


def test_read_only_shows_and_changes_nothing(home: Home, tmp_path: Path) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    with running("--read-only") as builder, builder.client() as client:
        assert client.get("/jobs").status_code == 200
        assert client.post("/api/job-builder/run", json={"toml": CHAIN, "sources": ["wiki"]}).status_code == 403
        assert client.put("/api/chains/a", json={"toml": CHAIN}).status_code == 403
        assert client.delete("/api/chains/a").status_code == 403
    assert not home.state_file.exists()


def test_two_pages_on_two_ports_do_not_mix(home: Home, builder: Builder, bare: httpx.Client) -> None:
    cookie = cookie_of(bare, builder)
    with running() as other, httpx.Client(base_url=other.base, trust_env=False) as client:
        assert other.port != builder.port
        value = cookie.partition("=")[2]
        assert client.get("/jobs", headers={"Cookie": f"kbjobs_{other.port}={value}"}).status_code == 401
        assert client.get("/jobs", headers={"Origin": builder.base, "Cookie": cookie}).status_code == 401


def test_it_listens_elsewhere_only_if_that_is_meant(kbjobs: Kbjobs, builder: Builder) -> None:
    ended = kbjobs("builder", "--host", "0.0.0.0", check=ExitCode.USAGE)
    assert "can be reached from other machines without encryption" in ended.stderr
    assert "--allow-remote" in ended.stderr
    taken = kbjobs("builder", "--port", str(builder.port), check=ExitCode.UNAVAILABLE)
    assert f"port {builder.port} cannot be used" in taken.stderr
    options = ("--host", "0.0.0.0", "--allow-remote", "--name", "box.example")
    with running(*options) as open_to_all, open_to_all.client() as client:
        for host, status in (("box.example", 200), ("0.0.0.0", 200), ("127.0.0.1", 200), ("other.example", 421)):
            answer = client.get("/api/jobs", headers={"Host": f"{host}:{open_to_all.port}"})
            assert answer.status_code == status
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert f"0100007F:{builder.port:04X}" in listening and f"00000000:{builder.port:04X}" not in listening


def test_it_stops_at_once_while_pages_listen(builder: Builder) -> None:
    with builder.client() as client, client.stream("GET", "/api/events") as stream:
        lines = stream.iter_lines()
        assert next(lines)
        builder.stop()
        list(lines)  # raises if the server cut the stream off, which it does with those that have not ended in time
    assert builder.process.returncode in (0, 130, -2)
    assert builder.errors == ""


def test_secrets_are_never_shown(home: Home, kbjobs: Kbjobs, builder: Builder, api: httpx.Client) -> None:
    set_secret(home, "OPENAI_API_KEY", "sk-verysecret")
    kbjobs("daemon", "start")
    paths = ("/jobs", "/sources", "/builder", "/history", "/api/jobs", "/api/job-builder/schemas", "/openapi.json")
    for path in paths:
        assert "sk-verysecret" not in api.get(path).text
    assert '"secrets"' not in api.get("/api/jobs").text
