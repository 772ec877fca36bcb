"""An API endpoint is declared once; its route, its part of the OpenAPI document and its checks derive from that."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.services.jobs import JobManager
from kbjobs.web.problems import problem_of, refuse


class Body(BaseModel):
    """Base of request bodies; undeclared fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class QueryParams(BaseModel):
    """Base of query parameters, given as text; undeclared ones are refused."""

    model_config = ConfigDict(extra="forbid")


class NoQuery(QueryParams):
    """No query parameters."""


@dataclass(frozen=True, slots=True)
class Call:
    """A checked request: the home, its jobs, the path parameters, the query and the body."""

    home: Home
    manager: JobManager
    path: dict[str, Any]
    query: Any
    body: Any


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of the API.

    ``answer`` performs it in a thread, and returns a JSON value or a Response. ``errors`` are the error statuses of
    this operation; the statuses in :data:`kbjobs.web.problems.ALWAYS` are possible for every operation.
    """

    method: str
    path: str
    summary: str
    answer: Callable[[Call], Any]
    query: type[QueryParams] = NoQuery
    body: type[Body] | None = None
    status: int = 200
    errors: tuple[int, ...] = ()

    def route(self) -> Route:
        """Its route."""
        return Route(self.path, self._serve, methods=[self.method])

    async def _serve(self, request: Request) -> Response:
        given = dict(request.query_params)
        if len(given) != len(request.query_params.multi_items()):
            return refuse(422, "a parameter is given twice", "Give each once.")
        try:
            query = self.query.model_validate(given)
            body = None if self.body is None else self.body.model_validate(_read_json(await request.body()))
        except ValidationError as error:
            return refuse(422, _describe(error))
        except ValueError as error:
            return refuse(400, f"the body is not JSON: {error}")
        home: Home = request.app.state.home
        return await run_in_threadpool(self._do, home, dict(request.path_params), query, body)

    def _do(self, home: Home, path: dict[str, Any], query: QueryParams, body: Body | None) -> Response:
        try:
            with JobManager(home) as manager:
                found = self.answer(Call(home, manager, path, query, body))
        except KbjobsError as error:
            return problem_of(error)
        return found if isinstance(found, Response) else JSONResponse(found, self.status)


def _read_json(raw: bytes) -> Any:
    def refuse_constant(name: str) -> Any:
        raise ValueError(f"{name} is no number")

    try:
        return json.loads(raw, parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _describe(error: ValidationError) -> str:
    """Describe the errors, each with its place."""
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'the body'}: {one['msg']}" for one in error.errors()[:10])
