"""Errors as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse

from kbjobs.errors import ExitCode, KbjobsError

TYPE = "application/problem+json"
STATUSES = {
    ExitCode.USAGE: 422,
    ExitCode.NOT_FOUND: 404,
    ExitCode.CONFLICT: 409,
    ExitCode.MISSING_REQUIREMENT: 424,
    ExitCode.UNAVAILABLE: 503,
}
"""The HTTP status of an error, by its exit code. For others it is 409: the request conflicts with the current state."""
ALWAYS = (400, 401, 403, 421, 422, 429, 503)
"""The error statuses of every operation."""


def refuse(status: int, detail: str, hint: str = "", headers: dict[str, str] | None = None) -> JSONResponse:
    """Answer a request with a problem.

    Args:
        status: the HTTP status.
        detail: what happened.
        hint: what to do next.
        headers: headers of the answer.
    """
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(problem | ({"hint": hint} if hint else {}), status, headers, TYPE)


def problem_of(error: KbjobsError) -> JSONResponse:
    """Turn an error of the program into a problem; ``exit_code`` is the exit code of the command line."""
    status = STATUSES.get(error.exit_code, 409)
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "hint": error.hint,
        "exit_code": int(error.exit_code),
    }
    return JSONResponse(problem, status, media_type=TYPE)
