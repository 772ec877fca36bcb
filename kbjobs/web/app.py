"""The web application: API, events and pages, behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
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
from kbjobs.web.endpoints import builder, chains, documents, jobs, sources
from kbjobs.web.events import EventHub
from kbjobs.web.guard import LOOPBACK, RequestGuard
from kbjobs.web.openapi import describe_api
from kbjobs.web.pages import PAGES, PAGES_OF_SEARCH
from kbjobs.web.problems import problem_of, refuse

ENDPOINTS: tuple[Endpoint, ...] = (
    *builder.ENDPOINTS, *chains.ENDPOINTS, *jobs.ENDPOINTS, *sources.ENDPOINTS, *documents.ENDPOINTS,
)  # fmt: skip
OF_SEARCH: tuple[Endpoint, ...] = (*sources.OF_SEARCH, *documents.ENDPOINTS)
PING_SECONDS = 15
GRACE_SECONDS = 0.5  # how long a stream may take to end when the server stops


class ServerOffer(StrEnum):
    """What the server offers: all, all without changes, or only search and documents."""

    ALL = "all"
    READ_ONLY = "read only"
    SEARCH = "search"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may send which requests: see :class:`kbjobs.web.guard.RequestGuard`."""

    token: str
    port: int
    hosts: Sequence[str] = LOOPBACK
    offer: ServerOffer = ServerOffer.ALL


def make_app(home: Home, hub: EventHub, access: Access) -> ASGIApp:
    """Make the builder's web application.

    Args:
        home: the home that it shows.
        hub: passes on the home's events.
        access: who may send which requests.
    """
    is_search = access.offer is ServerOffer.SEARCH
    app = Starlette(
        routes=[
            *(one.route() for one in (OF_SEARCH if is_search else ENDPOINTS)),
            *(() if is_search else OF_OPERATORS),
            *(PAGES_OF_SEARCH if is_search else PAGES),
            Mount("/static", StaticFiles(directory=str(resources.files("kbjobs.web") / "static"))),
        ],
        exception_handlers={HTTPException: _refuse_http, Exception: _refuse_unexpected},
    )
    app.state.home = home
    app.state.hub = hub
    app.state.is_search = is_search
    app.state.read_only = access.offer is ServerOffer.READ_ONLY
    return RequestGuard(app, access.token, access.port, access.hosts, app.state.read_only)


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


OF_OPERATORS = (
    Route("/api/events", _serve_events),
    Route("/openapi.json", _serve_openapi),
    Route("/metrics", _serve_metrics),
)
