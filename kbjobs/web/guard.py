"""The checks that every request must pass: host, token or cookie, origin, size of the body, and rate.

A page elsewhere that makes the browser send a request (CSRF), or that rebinds its name to this machine (DNS
rebinding), has neither the cookie, which is ``SameSite=Strict``, nor the builder's own Host or Origin.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kbjobs.web.maps import ASK_AGAIN, ASK_AGAIN_POLICY, is_asked_by_map
from kbjobs.web.problems import refuse

MAX_BODY = 2**20  # bytes; a chain file may have 256 KB
TOO_LARGE = f"the body is larger than {MAX_BODY // 1024} KB"
HANG_UP = {"Connection": "close"}  # the rest of the body is not read
PAUSE_SECONDS = 10.0  # longest time between two parts of a body
SAFE = frozenset({"GET", "HEAD"})
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
WRITES = (30, 10.0)
"""The burst of writing requests that is allowed, and their number per second after it."""
WRONG_TOKENS = (20, 0.5)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " frame-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class RequestThrottle:
    """A token bucket: lets ``burst`` requests pass at once, then ``rate`` per second."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst, self._rate = float(burst), rate
        self._left, self._seen = float(burst), time.monotonic()

    def takes(self) -> bool:
        """Take a token if there is one; returns whether the request may pass."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._seen) * self._rate)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    @property
    def wait(self) -> int:
        """Seconds until another request may pass, rounded up."""
        return max(1, int((1 - self._left) / self._rate) + 1)


class RequestGuard:
    """Guards the whole application.

    Args:
        app: the application.
        token: the token in the address that is printed at the start.
        port: the port it listens on; part of the cookie's name, so that servers on two ports do not interfere.
        hosts: the host names that requests may use, without port; others than the loopback's are accepted without a
            port too, since that is how a proxy at the usual port names them.
        read_only: whether to refuse all writing requests.
    """

    def __init__(
        self, app: ASGIApp, token: str, port: int, hosts: Iterable[str] = LOOPBACK, read_only: bool = False
    ) -> None:
        self._app, self._token, self._read_only = app, token, read_only
        self._cookie = f"kbjobs_{port}"
        self._session = secrets.token_urlsafe(32)
        self._hosts = {
            one for host in hosts for one in (f"{host}:{port}", *([host] if port == 80 or host not in LOOPBACK else []))
        }
        self._writes, self._wrong = RequestThrottle(*WRITES), RequestThrottle(*WRONG_TOKENS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in HEADERS if one[0] not in given)]
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        await _Bounded(self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if headers.get("host", "") not in self._hosts:
            return refuse(
                421,
                "kbjobs builder does not answer to the host name of this address",
                "Open the address that it printed, or start it with --name HOST.",
            )
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if given and scope["method"] in SAFE:
            return self._let_in(scope, given[0], [one for one in query if one[0] != "token"])
        has_token, is_in = self._knows_token(headers), self._knows_cookie(headers)
        if not (has_token or is_in):
            if scope["method"] in SAFE and is_asked_by_map(scope["path"], headers):
                return HTMLResponse(ASK_AGAIN, 401, {"Content-Security-Policy": ASK_AGAIN_POLICY})
            reason = "no token was given, or another server's" if self._wrong.takes() else "too many wrong tokens"
            if "text/html" in headers.get("accept", ""):
                return PlainTextResponse(
                    f"kbjobs builder: {reason}. Open the address that it printed at its start.", 401
                )
            return refuse(
                401,
                reason,
                "Open the address that kbjobs builder printed at its start.",
                {"WWW-Authenticate": "Bearer"},
            )
        if scope["method"] in SAFE:
            return None
        return self._refuse_write(headers, has_token)

    def _refuse_write(self, headers: Headers, has_token: bool) -> Response | None:
        origin = headers.get("origin")
        if origin is None and not has_token:
            return refuse(403, "the request does not say from which page it comes", "Send the header Origin.")
        if origin is not None and origin.partition("://")[2] not in self._hosts:
            return refuse(403, "the request comes from another site", "Open the address that kbjobs builder printed.")
        if self._read_only:
            return refuse(
                403, "nothing can be changed here: kbjobs builder was started with --read-only", "Use the command line."
            )
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if has_body and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return refuse(
                415, "the body of the request is not declared as JSON", "Send Content-Type: application/json."
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return refuse(413, TOO_LARGE, headers=HANG_UP)
        if not self._writes.takes():
            wait = self._writes.wait
            return refuse(429, "too many requests that write", "Wait a moment.", {"Retry-After": str(wait)})
        return None

    def _let_in(self, scope: Scope, token: str, query: list[tuple[str, str]]) -> Response:
        """Exchange the token for the cookie, and redirect to the address without it, since others may see addresses."""
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            reason = "the token is wrong" if self._wrong.takes() else "too many wrong tokens"
            return PlainTextResponse(f"kbjobs builder: {reason}. Open the address that it printed at its start.", 401)
        path = "/" + scope["path"].lstrip("/")  # "//host" would lead to another host
        response = RedirectResponse(path + (f"?{urlencode(query)}" if query else ""), 303)
        response.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
        return response

    def _knows_token(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token.encode())

    def _knows_cookie(self, headers: Headers) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        found = cookies.get(self._cookie)
        return found is not None and hmac.compare_digest(found.value.encode(), self._session.encode())


class _Bounded:
    """Ends a request whose body is too large, or does not arrive in time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, is_whole = 0, False

        async def receive_bounded() -> Message:
            nonlocal size, is_whole
            if is_whole:  # the next message is the client's disconnect
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), PAUSE_SECONDS)
            except TimeoutError:
                raise HTTPException(408, "the body did not come in time", HANG_UP) from None
            size += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if size > MAX_BODY:
                raise HTTPException(413, TOO_LARGE, HANG_UP)
            return message

        await self._app(scope, receive_bounded, send)
