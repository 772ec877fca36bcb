"""The pages, each a view and a template of the same name. They show their lists even without scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError, UsageError
from kbjobs.phases.registry import job_types
from kbjobs.retrieval.hits import Query
from kbjobs.services import chain_files, sources
from kbjobs.services.documents import (
    DocumentText,
    count_by_year,
    find_document,
    list_document_passages,
    list_left_out,
    read_text,
)
from kbjobs.services.documents import documents as list_documents
from kbjobs.services.job_commands import can_be_written, chosen_parameters, describe_command
from kbjobs.services.jobs import JobManager
from kbjobs.services.search import search_home
from kbjobs.services.tags import review_tags
from kbjobs.store.document_filter import DocumentFilter
from kbjobs.store.jobs import Job
from kbjobs.store.sources import is_source_id
from kbjobs.store.transitions import Status
from kbjobs.web import template_filters
from kbjobs.web.drawing import draw_day, draw_segments, draw_timeline, draw_years
from kbjobs.web.maps import show_map
from kbjobs.web.problems import STATUSES

SHOWN = 100  # most entries of a list; of more, only the number is shown
MAX_LEFT_OUT_SHOWN = 500  # most parts left out of a document, or files of a source, that are shown
SEND_NOW = "\0"  # a mark in a template: the page before it is sent without waiting for the rest
FILTERS = ("type", "source", "status", "text", "days")
FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect y="2" width="16" height="3" fill="#1d5f8a"/>'
    '<rect y="7" width="11" height="3" fill="#1d5f8a"/><rect y="12" width="6" height="3" fill="#1d5f8a"/></svg>'
)

View = Callable[[Request, JobManager], dict[str, Any]]

_templates = Environment(
    loader=PackageLoader("kbjobs.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(template_filters.FILTERS)

STATES = {"running": "running", "waiting": "waiting", "resumable": "to resume", "ended": "done"}
"""The lists of the page of jobs: their names in filters, and their labels."""


def jobs(request: Request, manager: JobManager) -> dict[str, Any]:
    """Show the running, waiting, resumable and recently ended jobs."""
    given = {name: request.query_params.get(name, "").strip()[:200] for name in ("type", "source", "state", "text")}
    seen = manager.get_overview()
    running = [job for job in seen.running if _matches(job, "running", given)]
    waiting = [one for one in seen.waiting if _matches(one.job, "waiting", given)]
    return {
        "running": running,
        "segments": {job.id: draw_segments(job) for job in running},
        "dead": seen.dead,
        "waiting": waiting[:SHOWN],
        "waiting_count": len(waiting),
        "pauses": seen.pauses,
        "resumable": [job for job in seen.resumable if _matches(job, "resumable", given)][:SHOWN],
        "ended": [job for job in seen.ended if _matches(job, "ended", given)],
        "day": draw_day(seen.runs),
        "filters": given,
        "is_filtered": any(given.values()),
        "states": STATES,
        **_known(manager),
    }


def _matches(job: Job, state: str, wanted: dict[str, str]) -> bool:
    """Whether a job in the list of a state matches the filters."""
    said = f"{job.id} {job.type} {job.source or ''} {job.error or ''} {job.message}".casefold()
    return (
        wanted["state"] in ("", state)
        and wanted["type"].replace("-", "_") in ("", job.type)
        and wanted["source"] in ("", job.source)
        and wanted["text"].casefold() in said
    )


def _known(manager: JobManager) -> dict[str, Any]:
    """The types and sources that filters offer."""
    names = {*(one.name for one in job_types()), *(one["name"] for one in chain_files.list_chains(manager.home))}
    return {"types": sorted(names), "source_ids": sources.list_ids(manager.home)}


def job(request: Request, manager: JobManager) -> dict[str, Any]:
    """Show one job."""
    found = manager.get_status(request.path_params["job"])
    attempts = manager.get_attempts(found.id)
    command = describe_command(found)
    chosen = [(f"{phase.name}: " if len(found.phases) > 1 else "", chosen_parameters(phase)) for phase in found.phases]
    return {
        "job": found,
        "is_dead": manager.is_worker_dead(found),
        "attempts": attempts,
        "segments": draw_segments(found),
        "timeline": draw_timeline(found, attempts),
        "command": command or "No command does the same: it was composed on a page, or submitted from Python.",
        "can_change": can_be_written(found) and found.has_ended,
        "parameters": [
            (f"{phase}{name}".replace("_", " "), value) for phase, params in chosen for name, value in params.items()
        ],
    }


def history(request: Request, manager: JobManager) -> dict[str, Any]:
    """Show the history of jobs, with the filters in the address."""
    given = {name: request.query_params.get(name, "").strip() for name in FILTERS}
    try:
        days = float(given["days"] or 7)
        if not 0 <= days <= 36_500:  # also refuses nan
            raise ValueError
        status = Status(given["status"]) if given["status"] else None
    except ValueError:
        raise UsageError(
            "the filter cannot be used", "Days are a number up to 36,500; choose a status of the list."
        ) from None
    kind = given["type"].replace("-", "_") or None
    found = manager.get_job_history(SHOWN + 1, days, kind, given["source"] or None, status, given["text"] or None)
    return {
        "jobs": found[:SHOWN],
        "has_more": len(found) > SHOWN,
        "filters": given,
        "is_filtered": any(given[name] for name in FILTERS if name != "days"),
        "statuses": [str(one) for one in Status],
        **_known(manager),
        "query": urlencode({name: value for name, value in given.items() if value}),
    }


def builder(request: Request, manager: JobManager) -> dict[str, Any]:
    """Show the page to compose a chain."""
    by_category: dict[str, list[Any]] = {}
    for one in job_types():
        by_category.setdefault(one.category, []).append(one)
    return {
        "categories": by_category,
        "chains": chain_files.list_chains(manager.home),
        "source_ids": sources.list_ids(manager.home),
    }


def all_sources(request: Request, manager: JobManager) -> dict[str, Any]:
    """Show all sources."""
    damaged: list[tuple[str, str]] = []
    found = sources.describe_all(manager.home, lambda name, error: damaged.append((name, error.message)))
    sizes = {one.source.id: sources.measure(manager.home, one.source.id) for one in found}
    return {"sources": found, "damaged": damaged, "sizes": sizes, "has_map": manager.home.map_page(None).exists()}


def source(request: Request, manager: JobManager) -> dict[str, Any]:
    """Show one source."""
    name = request.path_params["source"]
    found = sources.describe(manager.home, name)
    return {
        "state": found,
        "indexes": sources.list_indexes(manager.home, name),
        "size": sources.measure(manager.home, name),
        "suggestions": review_tags(manager.home, name).as_dict()["suggested_tags"],
        "has_map": manager.home.map_page(name).exists(),
        "years": draw_years(count_by_year(manager.home, name)),
        "jobs": manager.get_job_history(10, None, None, name),
    }


def documents(request: Request, manager: JobManager) -> dict[str, Any]:
    """Show the documents of a source, page by page."""
    name = request.path_params["source"]
    sources.describe(manager.home, name)
    language = request.query_params.get("language", "").strip().lower()[:40] or None
    start = request.query_params.get("from", "")
    first = int(start[:9]) if start.isdecimal() else 0
    found = list(list_documents(manager.home, name, DocumentFilter(language=language)))
    return {
        "source": name,
        "language": language,
        "documents": found[first : first + SHOWN],
        "first": first,
        "count": len(found),
        "shown": SHOWN,
    }


def document(request: Request, manager: JobManager) -> dict[str, Any]:
    """Show one document: its facts and passages and, if requested, the parts that were left out.

    Its text is read again from its file, when the template gets to it.
    """
    name, by_id = request.path_params["source"], request.query_params.get("doc", "")
    is_explained = "why" in request.query_params
    facts = find_document(manager.home, name, str(request.path_params.get("number") or by_id))

    def read() -> DocumentText:
        try:
            return read_text(manager.home, name, facts["path"], explains=is_explained)
        except KbjobsError as error:  # too late for an error page: the beginning of the page has been sent
            return DocumentText(problem=error.message)

    return {
        "source": name,
        "facts": facts,
        "passages": list_document_passages(manager.home, name, facts["doc_id"]),
        "by_id": by_id,
        "is_explained": is_explained,
        "read": read,
        "max_left_out": MAX_LEFT_OUT_SHOWN,
        "send_now": SEND_NOW,
    }


def skipped(request: Request, manager: JobManager) -> dict[str, Any]:
    """Show what was left out of a source, and why."""
    name = request.path_params["source"]
    found = list_left_out(manager.home, name)
    return {"source": name, "left_out": found[:MAX_LEFT_OUT_SHOWN], "count": len(found)}


def search(request: Request, manager: JobManager) -> dict[str, Any]:
    """Search one source, or all sources."""
    words = request.query_params.get("words", "").strip()[:2_000]
    wanted = request.query_params.get("source") or None
    notices: list[str] = []
    hits, problem = [], ""
    if words:
        try:
            hits = search_home(manager.home, Query(words, (wanted,) if wanted else (), 20), notices)
        except KbjobsError as error:
            problem = f"{error.message} {error.hint}".strip()
    return {
        "words": words,
        "source": wanted,
        "hits": hits,
        "notices": notices,
        "problem": problem,
        "source_ids": sources.list_ids(manager.home),
    }


def _page(path: str, name: str, view: View) -> Route:
    async def serve(request: Request) -> Response:
        return await run_in_threadpool(_render, request, name, view)

    return Route(path, serve, methods=["GET"], name=name)


def _render(request: Request, name: str, view: View) -> Response:
    home: Home = request.app.state.home
    with JobManager(home) as manager:
        about = {
            "page": name,
            "home": str(home.path),
            "daemon": manager.get_daemon(),
            "read_only": request.app.state.read_only,
            "is_search": request.app.state.is_search,
        }
        try:
            shown, status = view(request, manager), 200
        except KbjobsError as error:
            name, status = "problem", STATUSES.get(error.exit_code, 409)
            shown = {"message": error.message, "hint": error.hint}
        template = _templates.get_template(f"{name}.html")
        if "send_now" in shown:
            return StreamingResponse(_send_early(template.generate({**about, **shown})), status, media_type="text/html")
        return HTMLResponse(template.render({**about, **shown}), status)


def _send_early(pieces: Iterator[str]) -> Iterator[str]:
    """Split a page at SEND_NOW, so that the browser shows the first part while the second is made."""
    gathered: list[str] = []
    for piece in pieces:
        if piece == SEND_NOW:
            yield "".join(gathered)
            gathered.clear()
        else:
            gathered.append(piece)
    yield "".join(gathered)


async def _start(request: Request) -> Response:
    return RedirectResponse("/search" if request.app.state.is_search else "/jobs", 303)


async def _map(request: Request) -> Response:
    name, home = request.path_params["name"], request.app.state.home
    path = home.map_page(None) if name == "map" else home.map_page(name) if is_source_id(name) else None
    if path is None or not path.is_file():
        return HTMLResponse(_templates.get_template("nomap.html").render(name=name), 404)
    return await run_in_threadpool(show_map, path)


async def _favicon(request: Request) -> Response:
    return Response(FAVICON, media_type="image/svg+xml")


PAGES_OF_SEARCH = (
    Route("/", _start),
    Route("/favicon.ico", _favicon),
    _page("/sources/{source}/documents", "documents", documents),
    _page("/sources/{source}/documents/by-id", "document", document),
    _page("/sources/{source}/documents/{number:int}", "document", document),
    _page("/search", "search", search),
)
PAGES = (
    *PAGES_OF_SEARCH,
    Route("/maps/{name}", _map),
    _page("/jobs", "jobs", jobs),
    _page("/jobs/{job:int}", "job", job),
    _page("/history", "history", history),
    _page("/builder", "builder", builder),
    _page("/sources", "sources", all_sources),
    _page("/sources/{source}", "source", source),
    _page("/sources/{source}/skipped", "skipped", skipped),
)
