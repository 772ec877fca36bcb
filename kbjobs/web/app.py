"""The web application: API, events and pages, behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.services.metrics import CONTENT_TYPE, describe_metrics
from kbjobs.web.endpoint import Endpoint
from kbjobs.web.endpoints import builder, chains, jobs, sources
from kbjobs.web.events import EventHub
from kbjobs.web.guard import LOOPBACK, RequestGuard
from kbjobs.web.openapi import describe_api
from kbjobs.web.pages import PAGES
from kbjobs.web.problems import problem_of, refuse

ENDPOINTS: tuple[Endpoint, ...] = (*builder.ENDPOINTS, *chains.ENDPOINTS, *jobs.ENDPOINTS, *sources.ENDPOINTS)
PING_SECONDS = 15
GRACE_SECONDS = 0.5  # how long a stream may take to end when the server stops


@dataclass(frozen=True, slots=True)
class Access:
    """Who may send which requests: see :class:`kbjobs.web.guard.RequestGuard`."""

    token: str
    port: int
    hosts: Sequence[str] = LOOPBACK
    read_only: bool = False


def make_app(home: Home, hub: EventHub, access: Access) -> ASGIApp:
    """Make the builder's web application.

    Args:
        home: the home that it shows.
        hub: passes on the home's events.
        access: who may send which requests.
    """
    app = Starlette(
        routes=[
            *(one.route() for one in ENDPOINTS),
            Route("/api/events", _serve_events),
            Route("/openapi.json", _serve_openapi),
            Route("/metrics", _serve_metrics),
            *PAGES,
            Mount("/static", StaticFiles(directory=str(resources.files("kbjobs.web") / "static"))),
        ],
        exception_handlers={HTTPException: _refuse_http, Exception: _refuse_unexpected},
    )
    app.state.home = home
    app.state.hub = hub
    app.state.read_only = access.read_only
    return RequestGuard(app, access.token, access.port, access.hosts, access.read_only)


async def _serve_events(request: Request) -> Response:
    last_id = request.headers.get("last-event-id")

    async def events() -> AsyncIterator[ServerSentEvent]:
        async for event in request.app.state.hub.listen(last_id):
            yield ServerSentEvent(**event.as_sse(), retry=1000)

    return EventSourceResponse(events(), ping=PING_SECONDS, shutdown_grace_period=GRACE_SECONDS)


async def _serve_openapi(request: Request) -> Response:
    return JSONResponse(describe_api(ENDPOINTS))


async def _serve_metrics(request: Request) -> Response:
    try:
        text = await run_in_threadpool(describe_metrics, request.app.state.home)
    except KbjobsError as error:
        return problem_of(error)
    return Response(text, media_type=CONTENT_TYPE)


async def _refuse_http(request: Request, error: Any) -> Response:
    detail = (
        f"there is no {request.method} {request.url.path}" if error.status_code in (404, 405) else str(error.detail)
    )
    return refuse(error.status_code, detail, headers=error.headers)


async def _refuse_unexpected(request: Request, error: Exception) -> Response:
    return refuse(500, f"unexpected: {type(error).__name__}", "See the terminal in which kbjobs builder runs.")
