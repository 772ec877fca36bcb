"""Requests to friendly and to hostile servers."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kbjobs.scraping import page_fetch
from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.page_fetch import MAX_REDIRECTS, FetchLimits, read_content_type
from kbjobs.scraping.reply import MAX_ASIDE, Reply
from kbjobs.scraping.throttle import HostThrottle
from kbjobs.scraping.transport import Route
from tests.scraping.conftest import AGENT, fail, fetcher_for, get
from tests.servers.site_server import Page, Request, SiteServer, make_certificate

HTML = "<h1>Grüße</h1>" + "<p>Text of the page.</p>" * 100
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
HASTY = FetchLimits(connect=1, idle=0.3, whole=1, slow_for=0.3)


# -- what a page is -----------------------------------------------------------------------------------


def test_a_page(site: SiteServer) -> None:
    site.pages["/a"] = Page(HTML, type="Text/HTML; Charset='utf-8'", headers={"X-Name": "1", "Vary": "a"}, etag='"1"')
    reply = get(f"{site.url}/a")
    assert (reply.url, reply.status, reply.moved_from) == (f"{site.url}/a", 200, ())
    assert (reply.body.decode(), reply.media_type, reply.charset) == (HTML, "text/html", "utf-8")
    assert reply.headers["etag"] == '"1"' and reply.headers["x-name"] == "1"


def test_what_is_sent(site: SiteServer) -> None:
    get(site.url)
    headers = site.requests[0].headers
    assert headers["user-agent"] == AGENT
    assert headers["accept-encoding"] == "gzip, deflate"
    assert not {"if-none-match", "if-modified-since", "cookie", "authorization"} & set(headers)


@pytest.mark.parametrize("status", [204, 400, 404, 410, 429, 500, 503])
def test_an_error_status_is_a_reply(site: SiteServer, status: int) -> None:
    site.pages["/"] = Page("" if status == 204 else "no", status, headers={"Retry-After": "7"})
    reply = get(f"{site.url}/")
    assert (reply.status, reply.headers["retry-after"]) == (status, "7")


def test_an_error_page_may_be_endless(site: SiteServer) -> None:
    site.pages["/"] = Page("gone " * 1000, 404, endless=True)
    reply = get(f"{site.url}/")
    assert (reply.status, len(reply.body)) == (404, MAX_ASIDE)


def test_an_unchanged_page(site: SiteServer) -> None:
    site.pages |= {"/tag": Page(HTML, etag='"x"'), "/date": Page(HTML, last_modified=DATE)}
    assert get(f"{site.url}/tag", '"x"', DATE).status == 304
    assert get(f"{site.url}/tag", '"x"', DATE).body == b""
    assert get(f"{site.url}/date", "", DATE).status == 304
    assert get(f"{site.url}/tag", '"y"', DATE).status == get(f"{site.url}/date", "", "yesterday").status == 200


def test_a_long_url(site: SiteServer) -> None:
    path = "/" + "a" * 4000 + "?q=" + "b" * 4000
    site.pages[path] = "found"
    assert get(site.url + path).body == b"found"


def test_urls_are_left_as_they_are(site: SiteServer) -> None:
    for path in ("/a%20b", "/a%2Fb", "/%7Ea/b", "/double//a//", "/q?", "/q?a=1&a=%C3%A4;b", "/a;b=(c)'*!,:@"):
        get(site.url + path)
        assert site.paths()[-1] in (path, path.rstrip("?"))
    get(f"{site.url}/ä b?ö#part")
    assert site.paths()[-1] == "/%C3%A4%20b?%C3%B6"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/", "file:///etc/passwd", "mailto:a@example.org", "http://", "http:///a", "",
         "a/b", "http://[::1", "http://a b/", "http://x:99999/", "http://127.0.0.1/\x00", "http://" + "a" * 70_000,
    ],
)  # fmt: skip
def test_no_usable_url(url: str) -> None:
    with pytest.raises(FetchError) as error:
        get(url)
    assert error.value.cause == "not a usable URL" or (url, error.value.cause) == ("http://a b/", "name not found")


def test_a_content_type() -> None:
    assert read_content_type("") == ("", "")
    assert read_content_type("text/html") == ("text/html", "")
    assert read_content_type('TEXT/HTML;level=1; CHARSET = "Shift_JIS"') == ("text/html", "Shift_JIS")
    assert read_content_type(";charset=latin1;") == ("", "latin1")


# -- encodings ----------------------------------------------------------------------------------------


def test_a_compressed_page(site: SiteServer) -> None:
    site.pages |= {
        "/gzip": Page(HTML, gzip=True),
        "/deflate": Page(zlib.compress(HTML.encode()), headers={"Content-Encoding": "Deflate"}),
        "/undeclared": Page(gzip.compress(HTML.encode())),
        "/untrue": Page(HTML, headers={"Content-Encoding": "gzip"}),
        "/identity": Page(HTML, headers={"Content-Encoding": "identity"}),
    }
    for path in site.pages:
        assert get(site.url + path).body.decode() == HTML, path


def test_a_file_that_is_gzip_is_left_alone(site: SiteServer) -> None:
    packed = gzip.compress(HTML.encode())
    site.pages["/sitemap.xml.gz"] = Page(packed, type="application/gzip")
    assert get(f"{site.url}/sitemap.xml.gz").body == packed


def test_an_encoding_that_was_not_asked_for(site: SiteServer) -> None:
    site.pages["/"] = Page(b"\x1b\x00", headers={"Content-Encoding": "br"})
    error = fail(f"{site.url}/")
    assert (error.cause, error.is_temporary) == ("broken reply", False)


def test_damaged_gzip(site: SiteServer) -> None:
    packed = gzip.compress(HTML.encode())
    site.pages |= {
        "/cut": Page(packed[:-9], headers={"Content-Encoding": "gzip"}),
        "/changed": Page(packed[:40] + b"????" + packed[44:], headers={"Content-Encoding": "gzip"}),
    }
    for path in site.pages:
        error = fail(site.url + path)
        assert (error.cause, error.is_temporary) == ("broken reply", True)


def test_a_gzip_bomb(site: SiteServer) -> None:
    site.pages["/"] = Page(gzip.compress(bytes(200 << 20), 1), headers={"Content-Encoding": "gzip"})
    assert fail(f"{site.url}/").cause == "body too large"
    assert fail(f"{site.url}/", max_bytes=10_000, cuts=False).cause == "body too large"
    assert get(f"{site.url}/", max_bytes=10_000, cuts=True).body == bytes(10_000)


# -- lengths and connections --------------------------------------------------------------------------


def test_a_body_that_is_too_large(site: SiteServer) -> None:
    site.pages |= {"/declared": "x" * 10_001, "/endless": Page("x" * 1000, endless=True)}
    for path in site.pages:
        error = fail(site.url + path, max_bytes=10_000)
        assert (error.cause, error.is_temporary) == ("body too large", False)
        assert get(site.url + path, max_bytes=10_000, cuts=True).body == b"x" * 10_000
    site.pages["/just"] = "x" * 10_000
    assert len(get(f"{site.url}/just", max_bytes=10_000).body) == 10_000


def test_an_endless_body_ends_at_the_usual_limit(site: SiteServer) -> None:
    site.pages["/"] = Page(b"x" * 100_000, endless=True)
    assert fail(f"{site.url}/").cause == "body too large"


def test_a_declared_size_is_believed_before_it_is_read(site: SiteServer) -> None:
    site.pages["/"] = Page("x", declared_length=10**12)
    assert fail(f"{site.url}/").cause == "body too large"


def test_a_length_that_is_not_true(site: SiteServer) -> None:
    site.pages |= {"/long": Page("x" * 100, declared_length=200), "/short": Page("x" * 100, declared_length=50)}
    error = fail(f"{site.url}/long")
    assert (error.cause, error.is_temporary) == ("broken reply", True)
    assert get(f"{site.url}/short").body == b"x" * 50

    async def ask_again() -> Reply:
        async with fetcher_for() as fetcher:
            await fetcher.get(f"{site.url}/short")
            # It may meet what was left of the body; then that connection is not used again.
            with contextlib.suppress(FetchError):
                return await fetcher.get(f"{site.url}/next")
            return await fetcher.get(f"{site.url}/next")

    site.pages["/next"] = "next"
    assert asyncio.run(ask_again()).body == b"next"


@pytest.mark.parametrize("after", [0, 5000])
def test_a_connection_that_is_reset(site: SiteServer, after: int) -> None:
    site.pages["/"] = Page("x" * 1_000_000, reset_after=after)
    error = fail(f"{site.url}/")
    assert (error.cause, error.is_temporary) == ("connection lost", True)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\n\xff\xfe: \x00\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://a:b:c/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    ],
)  # fmt: skip
def test_no_http(site: SiteServer, raw: bytes) -> None:
    site.pages["/"] = Page(raw=raw)
    assert fail(f"{site.url}/").cause == "broken reply"


@pytest.mark.parametrize(
    "headers",
    [
        {"Set-Cookie": "\xff\xfe=1; expires=never; Max-Age=x; domain=..; path=\xe9"},
        {"Location": "/x"}, {"ETag": "\xe4"},
        {"Set-Cookie": "a=b; expires=Fri, 99 Foo 99999 99:99:99 GMT; domain=.org"},
        {"Content-Type": "\xff;;;charset=;="},
        {"Content-Encoding": ""}, {"Content-Type": "text/html; charset=no-such"},
    ],
)  # fmt: skip
def test_headers_that_mean_nothing(site: SiteServer, headers: dict[str, str]) -> None:
    site.pages["/"] = Page("text", headers=headers)
    assert get(f"{site.url}/").body == b"text"


# -- time ---------------------------------------------------------------------------------------------


def test_a_server_that_does_not_answer(site: SiteServer) -> None:
    site.gate.clear()
    error = fail(f"{site.url}/", limits=HASTY)
    assert (error.cause, error.is_temporary) == ("timeout", True)


def test_a_body_that_stops(site: SiteServer) -> None:
    site.pages["/"] = Page("x" * 100, drip=2)
    assert fail(f"{site.url}/", limits=HASTY).cause == "timeout"


def test_a_slow_drip(site: SiteServer) -> None:
    """No pause is as long as the limit between two pieces; still it ends."""
    site.pages["/"] = Page("x" * 1000, drip=0.01)
    began = time.monotonic()
    error = fail(f"{site.url}/", limits=FetchLimits(slow_for=0.3))
    assert (error.cause, error.is_temporary) == ("too slow", True)
    assert time.monotonic() - began < 5


def test_a_body_that_takes_too_long(site: SiteServer) -> None:
    site.pages["/"] = Page("x" * 1000, drip=0.01)
    assert fail(f"{site.url}/", limits=FetchLimits(whole=0.5, min_rate=0)).message.endswith(
        "too slow (more than 0.5 s)"
    )


def test_headers_that_drip() -> None:
    with serving(drip_headers) as port:
        assert fail(f"http://127.0.0.1:{port}/", limits=FetchLimits(whole=0.5)).cause == "too slow"


def drip_headers(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        client.sendall(b"X-%d: x\r\n" % number)
        time.sleep(0.02)


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port at which a function is given the one client that comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError), server.accept()[0] as client:
                answer(client)

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


def test_a_port_at_which_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = fail(f"http://127.0.0.1:{port}/")
    assert (error.cause, error.is_temporary) == ("connection refused", True)


def test_a_name_that_nobody_has() -> None:
    assert fail("http://no-such-host.invalid/").cause == "name not found"
    assert fail(f"http://{'a' * 64}.example/").cause in ("name not found", "not a usable URL")


# -- redirects ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(site: SiteServer, status: int) -> None:
    site.pages |= {
        "/a": Page(status=status, location="/b?x"),
        "/b?x": Page("moved", status=status, location=f"{site.url}/d/e#part"),
        "/d/e": Page(location="../f"),
        "/f": HTML,
    }
    reply = get(f"{site.url}/a")
    assert (reply.url, reply.status, reply.body.decode()) == (f"{site.url}/f", 200, HTML)
    assert reply.moved_from == (f"{site.url}/a", f"{site.url}/b?x", f"{site.url}/d/e")


def test_a_redirect_to_nowhere_is_a_reply(site: SiteServer) -> None:
    site.pages["/"] = Page("where to?", 302)
    assert get(f"{site.url}/").status == 302


def test_validators_are_of_the_url_that_was_asked_for(site: SiteServer) -> None:
    """A page that now redirects to another must not be taken for unchanged because the other is old."""
    site.pages |= {"/a": Page(location="/b"), "/b": Page(HTML, last_modified=DATE, etag='"x"')}
    assert get(f"{site.url}/a", '"x"', DATE).status == 200
    assert "if-none-match" not in site.requests[1].headers


@pytest.mark.parametrize("pages", [{"/a": "/a"}, {"/a": "/b", "/b": "/a"}, {"/a": "/b", "/b": "/c", "/c": "/b#x"}])
def test_a_redirect_loop(site: SiteServer, pages: dict[str, str]) -> None:
    site.pages |= {path: Page(location=target) for path, target in pages.items()}
    error = fail(f"{site.url}/a")
    assert (error.cause, error.url) == ("redirect loop", f"{site.url}/a")
    assert len(site.requests) == len(pages)


def test_redirects_without_an_end(site: SiteServer) -> None:
    site.pages["/a"] = lambda request: Page(location=f"/a?{request.path}x")
    assert fail(f"{site.url}/a").cause == "too many redirects"
    assert len(site.requests) == MAX_REDIRECTS + 1


def test_a_redirect_that_sets_a_cookie_is_no_loop(site: SiteServer) -> None:
    site.pages["/a"] = lambda request: (
        Page("welcome") if "cookie" in request.headers else Page(location="/a", headers={"Set-Cookie": "seen=1"})
    )
    reply = get(f"{site.url}/a")
    assert (reply.body, reply.moved_from) == (b"welcome", (f"{site.url}/a",))


def test_a_redirect_that_leaves_the_site(site: SiteServer) -> None:
    with SiteServer({"/": "other"}) as other:
        site.pages["/"] = Page(location=f"{other.url}/")
        error = fail(f"{site.url}/", is_allowed=lambda url: url.startswith(site.url))
        assert (error.cause, error.is_temporary) == ("leaves the site", False)
        assert not other.requests
        assert get(f"{site.url}/", is_allowed=lambda url: url.startswith(other.url)).body == b"other"


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/", "javascript:alert(1)", "data:text/html,x", "//a:b/"]
)
def test_a_redirect_to_no_website(site: SiteServer, target: str) -> None:
    site.pages["/"] = Page(location=target)
    error = fail(f"{site.url}/")
    assert error.cause == "broken reply"
    assert not error.is_temporary
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "2130706433", "0"]
)
def test_a_redirect_to_a_private_address(site: SiteServer, host: str) -> None:
    """The site itself is at one, but that gives it no right to others, nor to itself by another name."""
    site.pages |= {"/": Page(location=f"http://{host}:{site.port}/secret"), "/secret": "secret"}
    error = fail(f"{site.url}/")
    assert (error.cause, error.is_temporary) == ("private address", False)
    assert site.paths() == ["/"]


def test_a_private_address_that_nobody_asked_for(site: SiteServer) -> None:
    assert fail(f"{site.url}/", private_hosts=()).cause == "private address"
    assert not site.requests


# -- cookies and passwords ----------------------------------------------------------------------------


def test_cookies_live_as_long_as_the_run(site: SiteServer) -> None:
    site.pages["/"] = Page("x", headers={"Set-Cookie": "id=7"})

    async def ask() -> None:
        async with fetcher_for() as fetcher:
            await fetcher.get(f"{site.url}/")
            await fetcher.get(f"{site.url}/")

    asyncio.run(ask())
    asyncio.run(ask())
    assert [request.headers.get("cookie") for request in site.requests] == [None, "id=7", None, "id=7"]


def test_cookies_do_not_pile_up(site: SiteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_fetch, "MAX_COOKIES", 10)

    def set_cookies(request: Request) -> Page:
        return Page("x", headers={"Set-Cookie": f"id{len(site.requests)}=1; path={request.path}"})

    site.pages |= {f"/{number}": set_cookies for number in range(25)}

    async def ask() -> int:
        async with fetcher_for() as fetcher:
            for path in list(site.pages):
                await fetcher.get(site.url + path)
            return len(fetcher._client.cookies.jar)

    assert asyncio.run(ask()) <= 11


def test_a_password_is_used_and_not_shown(site: SiteServer) -> None:
    get(site.url.replace("//", "//user:secret@") + "/")
    assert site.requests[0].headers["authorization"].startswith("Basic ")
    site.pages["/"] = "x"
    with pytest.raises(FetchError, match="too large") as error:
        get(site.url.replace("//", "//user:secret@") + "/", max_bytes=0)
    assert "secret" not in str(error.value)


# -- TLS, proxies, pace -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_a_certificate_that_nobody_has_signed(certificate: Path) -> None:
    with SiteServer({"/": "x"}, certificate=certificate) as server:
        error = fail(f"{server.url}/")
        assert (error.cause, error.is_temporary) == ("TLS certificate is not valid", False)
        assert "self-signed" in error.message
        context = ssl.create_default_context(cafile=str(certificate))
        assert get(f"{server.url}/", options={"route": Route(ssl_context=context)}).body == b"x"


def test_no_tls_where_there_should_be(site: SiteServer) -> None:
    assert fail(site.url.replace("http:", "https:")).cause in ("TLS failure", "no connection")


def test_the_environment_is_not_asked_for_a_proxy(site: SiteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    site.pages["/"] = "direct"
    assert get(f"{site.url}/").body == b"direct"


def test_a_proxy(site: SiteServer) -> None:
    site.pages["http://example.org/a"] = "by proxy"
    options = {"route": Route(site.url)}
    assert get("http://example.org/a", options=options).body == b"by proxy"
    assert fail("http://10.0.0.1/", options=options).cause == "private address"
    assert fail("http://localhost/", options=options).cause == "private address"


def test_a_proxy_that_is_not_there() -> None:
    assert fail("http://example.org/", options={"route": Route("http://127.0.0.1:9")}).is_temporary
    with pytest.raises(ValueError, match="scheme"):
        fetcher_for(route=Route("gopher://127.0.0.1"))


@pytest.mark.slow
def test_every_request_waits_for_its_turn(site: SiteServer) -> None:
    """Those of redirects too, as the server sees them; its threads may be a little late."""
    site.pages |= {"/a": Page(location="/b"), "/b": Page("x", delay=0.3)}

    async def ask() -> None:
        async with fetcher_for(pace=HostThrottle(0.2)) as fetcher:
            await asyncio.gather(*(fetcher.get(f"{site.url}/a") for _ in range(4)))

    asyncio.run(ask())
    times = [request.time for request in site.requests]
    assert len(times) == 8
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 0.15
    assert site.most_at_once > 1


def test_many_at_once_but_not_too_many(site: SiteServer) -> None:
    site.pages["/"] = Page("x", delay=0.02)

    async def ask() -> None:
        async with fetcher_for(pace=HostThrottle(0, connections=5)) as fetcher:
            await asyncio.gather(*(fetcher.get(f"{site.url}/?{number}") for number in range(40)))

    asyncio.run(ask())
    assert len(site.requests) == 40
    assert site.most_at_once == 5


def test_a_cancelled_request_gives_its_place_back(site: SiteServer) -> None:
    async def ask() -> Reply:
        async with fetcher_for(pace=HostThrottle(0, connections=1)) as fetcher:
            site.gate.clear()
            task = asyncio.create_task(fetcher.get(f"{site.url}/"))
            while not site.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            site.gate.set()
            return await fetcher.get(f"{site.url}/")

    assert asyncio.run(ask()).status == 404
