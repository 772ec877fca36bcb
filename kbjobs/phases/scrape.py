"""Scrape: turn a site or a wiki into a source, politely; a later run brings it up to date.

The source's frontier records fetched and queued addresses, so a stop at any time costs only the fetches in flight.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field

from kbjobs.config.secrets import set_secret
from kbjobs.context import Context, PhaseResult
from kbjobs.errors import ConflictError, UsageError
from kbjobs.phases.job_type import JobType, Params, PhaseForecast, PhaseRequest, Plan, Target, filled


class ScrapeParams(Params):
    """Parameters of scrape."""

    url: str | None = Field(None, description="The start page of the site (default: the one of the last scrape).")
    sitemap: str | None = Field(None, description="A sitemap (default: those that robots.txt names).")
    page_limit: int | None = Field(
        None, ge=1, le=1_000_000, description="Fetch at most this many pages (default: 100)."
    )
    max_depth: int | None = Field(
        None, ge=0, le=1_000, description="Follow links at most this many steps from the start (default: 3)."
    )
    request_delay: float | None = Field(
        None, ge=0, le=3_600, description="Seconds between two requests to a host (default: 0.5)."
    )
    follow_links: bool | None = Field(
        None, description="Follow links, or read only the start page and the sitemap (default: follow)."
    )
    include_assets: bool | None = Field(None, description="Fetch pictures and styles too (default: no).")
    allow_subdomains: bool | None = Field(None, description="Fetch from subdomains of the site too (default: no).")
    include: str | None = Field(
        None, description="Only pages whose path matches one of these patterns: '/docs/*,/faq'."
    )
    exclude: str | None = Field(None, description="No pages whose path matches one of these patterns: '*?action=*'.")
    wiki: bool | None = Field(None, description="Read a MediaWiki through its API (default: yes, if the site is one).")
    render: Literal["never", "auto", "always"] | None = Field(
        None,
        description="Run the scripts of pages in Chromium (extra render); auto: if the site's first pages have less"
        " than half of their text without (default: never).",
    )
    render_wait: str | None = Field(
        None, description="A rendered page is complete once this CSS selector matches (default: a quiet network)."
    )
    render_routes: bool | None = Field(
        None, description="Follow links to hash routes such as /#/guide of rendered pages (default: no)."
    )
    header: str | None = Field(
        None,
        description="Send this header to the site: 'Name: value', 'bearer TOKEN'. It is kept with the secrets.",
    )
    cookies: str | None = Field(
        None, description="Send the site its cookies of this file, in Netscape's format (cookies.txt)."
    )
    allow_delete: bool = Field(False, description="Continue even if more than 20 % of the pages are gone.")
    dry_run: bool = Field(
        False, description="Read robots.txt and sitemaps and say what would be fetched; write nothing."
    )


DEFAULTS = {
    "page_limit": 100, "max_depth": 3, "request_delay": 0.5, "follow_links": True, "include_assets": False,
    "allow_subdomains": False, "wiki": True, "render": "never", "render_routes": False,
}  # fmt: skip
"""The defaults for a source that was not scraped yet; later, parameters default to those of the last scrape."""


def plan(request: PhaseRequest[ScrapeParams]) -> Plan[ScrapeParams]:
    """Check the addresses and the patterns; missing parameters are taken from the last scrape."""
    from kbjobs.scraping.site_scope import check_patterns, normalise

    header = request.params.header
    if request.is_general:
        if header is not None:
            raise UsageError("--header needs a source", "It is kept with the secrets of the home, under its name.")
        return Plan(request.params)
    source = request.source
    remembered = {name: value for name, value in source.read_scrape().items() if name in ScrapeParams.model_fields}
    if source.manifest.exists() and not remembered:
        raise ConflictError(f"source {source.id!r} exists, and was not scraped", "Choose another id for the scrape.")
    if not source.manifest.exists() and source.pages.is_dir() and any(source.pages.iterdir()):
        raise ConflictError(
            f"{source.pages} contains files that were kept from an earlier source",
            f"Move it away, or register it: kbjobs sources add ID {source.pages}",
        )
    given = {**DEFAULTS, **remembered, **request.params.model_dump(exclude_none=True, exclude={"header"})}
    planned = ScrapeParams.model_validate(given)
    if planned.url is None:
        raise UsageError("there is no start address", f"Give one: kbjobs run scrape {source.id} --url https://…")
    for name in ("url", "sitemap"):
        address = getattr(planned, name)
        if address is None:
            continue
        if urlsplit(address).username is not None:
            raise UsageError(f"--{name} has a user or a password in it", "Give it without: it would be kept and shown.")
        normal = normalise(address)
        if normal is None:
            raise UsageError(f"{address[:200]!r} is not the address of a page", "It begins with http:// or https://.")
        planned = planned.model_copy(update={name: normal})
    check_patterns([*_split(planned.include), *_split(planned.exclude)])
    planned = _plan_login(request, planned, header)
    _check_rendering(request.params, planned, request.settings.text("render.browser"))
    return Plan(planned)


def _check_rendering(asked: ScrapeParams, planned: ScrapeParams, browser: str) -> None:
    """Check that pages can be rendered, if they are to be.

    Raises:
        UsageError: a parameter of rendering is given, and pages are not rendered.
        MissingRequirementError: the extra ``render`` or the browser is not installed.
    """
    if planned.render in (None, "never"):
        for name in ("render_wait", "render_routes"):
            if getattr(asked, name):
                raise UsageError(
                    f"--{name.replace('_', '-')} is given, and no page is rendered", "Add --render always."
                )
        return
    from kbjobs.scraping.rendering.browser_choice import find_browser

    if planned.render_wait is not None and not planned.render_wait.strip():
        raise UsageError("--render-wait is empty", "Give a CSS selector, as in 'main h1', or leave it out.")
    find_browser(browser)


def _plan_login(request: PhaseRequest[ScrapeParams], planned: ScrapeParams, header: str | None) -> ScrapeParams:
    """Check what the site is to be sent. A header goes to the secrets: parameters are shown, logged and kept."""
    from kbjobs.scraping.site_login import check_site, read_header, read_login, secret_name

    url = filled(planned.url)
    if planned.cookies is not None:
        planned = planned.model_copy(update={"cookies": str(Path(planned.cookies).expanduser().absolute())})
    if header is not None:
        read_header(header)
        check_site(url)
        set_secret(request.home, secret_name(request.source.id), header)
    read_login(request.home, request.source.id, url, planned.cookies)
    return planned


def forecast(request: PhaseRequest[ScrapeParams]) -> PhaseForecast:
    """Forecast the page limit with a delay after each page, since the site's own pages are not known."""
    chosen = {**DEFAULTS, **request.params.model_dump(exclude_none=True)}
    pages = chosen["page_limit"]
    seconds = pages * chosen["request_delay"]
    return PhaseForecast(
        documents=pages, seconds=seconds, is_exact=False, note="at most; robots.txt may ask for more time"
    )


def run(context: Context, params: ScrapeParams) -> PhaseResult:
    """Scrape the site."""
    from kbjobs.scraping.crawl import CrawlOptions
    from kbjobs.scraping.scrape import ScrapeRequest, describe_plan, scrape_site

    chosen = {**DEFAULTS, **params.model_dump(exclude_none=True)}
    options = CrawlOptions(
        chosen["page_limit"],
        chosen["max_depth"],
        chosen["request_delay"],
        chosen["follow_links"],
        chosen["include_assets"],
    )
    request = ScrapeRequest(
        filled(params.url),
        params.sitemap or "",
        options,
        chosen["allow_subdomains"],
        _split(params.include),
        _split(params.exclude),
        params.allow_delete,
        chosen["wiki"],
        chosen["render"],
        params.render_wait or "",
        chosen["render_routes"],
        params.cookies,
    )
    if params.dry_run:
        return describe_plan(context, request)
    kept = params.model_dump(exclude_none=True, exclude={"allow_delete", "dry_run", "header"})
    return scrape_site(context, request, kept)


def _split(patterns: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (patterns or "").split(",") if part.strip())


JOB_TYPE = JobType(
    name="scrape",
    label="Scrape",
    description="Download a site or a MediaWiki into a source, politely. Run again, it fetches what has changed.",
    category="content",
    operation="scrape",
    params=ScrapeParams,
    plan=plan,
    run=run,
    forecast=forecast,
    weight=40.0,
    before=("metadata", "index_online", "index_offline"),
    target=Target(makes_source=True),
    examples=(
        "kbjobs run scrape guide --url https://guide.example.org/ --page-limit 1000",
        "kbjobs run scrape guide --url https://guide.example.org/ --render auto",
    ),
)
