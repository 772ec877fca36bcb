"""One request: its redirects, its limits, and its reply."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import httpx

from kbjobs.net.addresses import PrivateAddressError
from kbjobs.scraping.address_guard import AddressGuard
from kbjobs.scraping.decompression import ENCODINGS, BombError, Unpacker
from kbjobs.scraping.failures import FetchError, explain
from kbjobs.scraping.parsing import Parser
from kbjobs.scraping.reply import MAX_ASIDE, Reply
from kbjobs.scraping.site_login import SiteLogin
from kbjobs.scraping.throttle import HostThrottle
from kbjobs.scraping.transport import Route, make_transport
from kbjobs.scraping.web_urls import host_of, is_web_url

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a body, unpacked."""
MAX_REDIRECTS = 10
MAX_COOKIES = 500
"""With more cookies, all are dropped: a site that sets a new one with each page would fill the memory."""
MAX_COOKIE_BYTES = 4096
"""If a request would send more bytes of cookies, all are dropped, because servers refuse long headers."""
MAX_VALIDATOR = 1024
"""Most characters of an ETag or date that is sent back."""
LEAVES = "leaves the site"
"""The cause of an error: a redirect that may not be followed."""
REDIRECTS = (301, 302, 303, 307, 308)
# The types under which a server may send gzip without declaring it.
PAGE_TYPES = re.compile(r"text/|application/(xhtml\+xml|xml|json|rss\+xml|atom\+xml)$|$")


@dataclass(frozen=True)
class FetchLimits:
    """How long a request may take, in seconds, and how slow it may be, in bytes per second."""

    connect: float = 10.0
    idle: float = 20.0
    """Between two pieces of a reply."""
    whole: float = 120.0
    """From connecting to the last byte, for each request of a chain of redirects."""
    min_rate: float = 1024.0
    slow_for: float = 20.0
    """How long a body may arrive at less than ``min_rate``, on average since its start."""


def allow_all(url: str) -> bool:
    """Allow every URL."""
    return True


@dataclass(frozen=True, slots=True)
class Question:
    """A request as a page's script makes it. ``on_turn`` is called when its host's throttle lets it start."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    on_turn: Callable[[], None] | None = None


class Fetcher:
    """Fetches pages; an async context manager that keeps connections and cookies until it is left.

    It ignores proxies, certificates and passwords from the environment. Every request waits for its turn, including
    redirects and robots.txt; the wait does not count towards its limits.

    Args:
        user_agent: the User-Agent header: a product token, then a contact.
        guard: the addresses it may connect to; by default public ones.
        pace: how often a host may be asked; by default without delay.
        route: the proxy to use, and the authorities to trust; by default no proxy, and those of certifi.
        limits: the time limits of a request.
        parser: parses the replies; it is closed with the fetcher.
    Raises:
        ValueError: the proxy is not a URL of a known kind.
    """

    def __init__(
        self,
        user_agent: str,
        guard: AddressGuard | None = None,
        pace: HostThrottle | None = None,
        *,
        route: Route | None = None,
        limits: FetchLimits | None = None,
        parser: Parser | None = None,
    ) -> None:
        # httpx logs every request with the whole URL, which may contain a password.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self.user_agent = user_agent
        self.pace = pace or HostThrottle(0)
        self.limits = limits or FetchLimits()
        self.parser = parser or Parser()
        self.guard = guard or AddressGuard()
        self.login: SiteLogin | None = None
        self._client = httpx.AsyncClient(
            headers={"User-Agent": user_agent, "Accept-Encoding": "gzip, deflate"},
            timeout=httpx.Timeout(self.limits.idle, connect=self.limits.connect, pool=None),
            transport=make_transport(self.guard, route or Route()),
            trust_env=False,
        )

    def log_in(self, login: SiteLogin) -> None:
        """Send a header and cookies to one site from now on."""
        self.login = login
        self._forget_cookies()

    def _forget_cookies(self) -> None:
        """Drop all cookies that sites have set; those of the login stay."""
        self._client.cookies.clear()
        for cookie in self.login.cookies if self.login is not None else ():
            self._client.cookies.jar.set_cookie(cookie)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        self.parser.close()
        await self._client.__aexit__(*error)

    async def get(
        self,
        url: str,
        etag: str = "",
        last_modified: str = "",
        is_allowed: Callable[[str], bool] = allow_all,
        *,
        max_bytes: int = MAX_BODY,
        cuts: bool = False,
    ) -> Reply:
        """Request a page and follow its redirects.

        Args:
            url: an http or https URL.
            etag: the ETag of an earlier reply from this very URL; with it, an unchanged page gives status 304.
            last_modified: the Last-Modified of that reply, likewise. Neither is sent to the target of a redirect.
            is_allowed: whether a redirect to a URL may be followed.
            max_bytes: the largest size of the body in bytes.
            cuts: whether to cut a longer body instead of refusing it.
        Raises:
            FetchError: there is no reply, or it may not be followed or kept. An error status is a reply.
        """
        validators = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        headers = {name: value for name, value in validators.items() if can_be_sent(value)}
        moved_from: list[str] = []
        asked = set()
        while True:
            request = self._make_request(url, headers)
            # A page may redirect to itself with a cookie to test that cookies work: that is not a loop.
            question = (str(request.url), request.headers.get("cookie"))
            if question in asked:
                raise FetchError(moved_from[0], "redirect loop", f"back to {url}")
            asked.add(question)
            reply = await self._send(request, url, max_bytes, cuts)
            location = reply.headers.get("location", "")
            if reply.status not in REDIRECTS or not location:
                return replace(reply, moved_from=tuple(moved_from))
            moved_from.append(url)
            url = find_target(request.url, location)
            if len(moved_from) > MAX_REDIRECTS:
                raise FetchError(moved_from[0], "too many redirects", f"more than {MAX_REDIRECTS}")
            if not is_allowed(url):
                raise FetchError(moved_from[0], LEAVES, f"redirects to {url}")
            headers = {}

    async def ask(self, question: Question, *, max_bytes: int = MAX_BODY) -> Reply:
        """Send a request of a page's script. A redirect is a reply, which is not followed.

        Args:
            question: the request.
            max_bytes: the largest size of the body in bytes.
        Raises:
            FetchError: there is no reply, or it may not be kept. An error status is a reply.
        """
        url = question.url
        request = self._make_request(url, dict(question.headers), question.method, question.body or None)
        if question.on_turn is not None:
            request.extensions["on_turn"] = question.on_turn
        return await self._send(request, url, max_bytes, False)

    def _make_request(
        self, url: str, headers: dict[str, str], method: str = "GET", body: bytes | None = None
    ) -> httpx.Request:
        if len(self._client.cookies.jar) > MAX_COOKIES:
            self._forget_cookies()
        if self.login is not None:
            headers = {**headers, **self.login.headers_for(url)}
        try:
            request = self._client.build_request(method, url, headers=headers, content=body)
            if len(request.headers.get("cookie", "")) > MAX_COOKIE_BYTES:
                self._forget_cookies()
                request = self._client.build_request(method, url, headers=headers, content=body)
        except (httpx.InvalidURL, ValueError) as error:
            raise FetchError(url, "not a usable URL", str(error)) from error
        if not is_web_url(str(request.url)):
            raise FetchError(url, "not a usable URL", "neither http nor https with a host")
        return request

    async def _send(self, request: httpx.Request, url: str, max_bytes: int, cuts: bool) -> Reply:
        try:
            self.guard.check_name(request.url.host)
            async with self.pace.turn(host_of(str(request.url))) as turn:

                async def mark_start(event: str, facts: dict[str, Any]) -> None:
                    if event.endswith("send_request_headers.started"):
                        turn.mark_start()

                if (on_turn := request.extensions.pop("on_turn", None)) is not None:
                    on_turn()
                request.extensions["trace"] = mark_start
                async with asyncio.timeout(self.limits.whole):
                    async with contextlib.aclosing(await self._client.send(request, stream=True)) as response:
                        return await self._read(response, url, max_bytes, cuts)
        except TimeoutError as error:
            detail = str(error) or f"more than {self.limits.whole:g} s"
            raise FetchError(url, "too slow", detail, is_temporary=True) from error
        except (httpx.HTTPError, httpx.InvalidURL, PrivateAddressError, OSError) as error:
            # httpx parses the target of a redirect even if it does not follow it, hence InvalidURL.
            raise explain(error, url) from error

    async def _read(self, response: httpx.Response, url: str, max_bytes: int, cuts: bool) -> Reply:
        headers = dict(response.headers.items())
        media_type, charset = read_content_type(headers.get("content-type", ""))
        encoding = headers.get("content-encoding", "").strip().lower().replace("identity", "")
        if encoding not in ENCODINGS:
            raise FetchError(url, "broken reply", f"in an encoding that was not asked for: {encoding}")
        if response.status_code >= 300:
            max_bytes, cuts = MAX_ASIDE, True
        declared = headers.get("content-length", "")
        if not cuts and declared.isdecimal() and int(declared) > max_bytes:
            raise FetchError(url, "body too large", f"{int(declared):,} bytes")
        unpacker = Unpacker(encoding, guesses=PAGE_TYPES.match(media_type) is not None)
        try:
            body = await self._read_body(response, unpacker, max_bytes, cuts)
        except BombError as error:
            raise FetchError(url, "body too large", str(error)) from error
        except ValueError as error:
            raise FetchError(url, "broken reply", str(error), is_temporary=True) from error
        return Reply(url, response.status_code, headers, body, media_type, charset)

    async def _read_body(self, response: httpx.Response, unpacker: Unpacker, max_bytes: int, cuts: bool) -> bytes:
        body = bytearray()
        began = time.monotonic()
        async for piece in response.aiter_raw():
            for part in unpacker.feed(piece):
                body += part
                if len(body) > max_bytes and cuts:
                    return bytes(body[:max_bytes])
                if len(body) > max_bytes:
                    raise BombError(f"more than {max_bytes:,} bytes")
            elapsed = time.monotonic() - began
            if elapsed > self.limits.slow_for and response.num_bytes_downloaded < elapsed * self.limits.min_rate:
                raise TimeoutError(f"less than {self.limits.min_rate:g} bytes a second")
        return bytes(body) + unpacker.finish()


def can_be_sent(validator: str) -> bool:
    """Whether a request may carry a validator; a server may have sent any bytes, and any number of them."""
    return 0 < len(validator) <= MAX_VALIDATOR and validator.isascii() and validator.isprintable()


def find_target(url: httpx.URL, location: str) -> str:
    """The target of a redirect, without its fragment.

    Raises:
        FetchError: the target is not a web URL.
    """
    with contextlib.suppress(httpx.InvalidURL, ValueError):
        target = str(url.join(location).copy_with(fragment=None))
        if is_web_url(target):
            return target
    raise FetchError(str(url), "broken reply", f"redirects to {location[:200]!r}")


def read_content_type(value: str) -> tuple[str, str]:
    """Media type and charset of a Content-Type, each empty if missing."""
    media_type, _, parameters = value.partition(";")
    charset = re.search(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", parameters, re.IGNORECASE)
    return media_type.strip().lower(), charset[1] if charset else ""
