"""Scraping a site into a source: begin or resume, crawl, remove pages that are gone, make links work offline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from kbjobs.context import Context, PhaseResult
from kbjobs.errors import KbjobsError
from kbjobs.formatting import counted, duration
from kbjobs.scraping.address_guard import AddressGuard, find_private_hosts
from kbjobs.scraping.crawl import Crawl, CrawlOptions
from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.job_wait import watched
from kbjobs.scraping.mediawiki.wiki_api import WikiApi
from kbjobs.scraping.mediawiki.wiki_info import Wiki, count_pages
from kbjobs.scraping.mediawiki.wiki_scrape import crawl_wiki, find_wiki
from kbjobs.scraping.page_fetch import LEAVES, Fetcher
from kbjobs.scraping.page_saving import save
from kbjobs.scraping.parsing import ParseError, Parser
from kbjobs.scraping.robots import Robots
from kbjobs.scraping.site_files import fetch_robots, find_urls
from kbjobs.scraping.site_login import read_login
from kbjobs.scraping.site_scope import SiteScope, normalise, site_of
from kbjobs.scraping.throttle import HostThrottle
from kbjobs.scraping.transport import Route
from kbjobs.store.clocks import now_text
from kbjobs.store.frontier import FAILED, SAME, SAVED, SKIPPED, Frontier
from kbjobs.store.sources import MAX_REMOVED, Source
from kbjobs.system.crashpoints import crash_point

MAX_SITEMAP_URLS = 500_000
SHOWN_LEFT_OUT = 200
LEADING = (
    "max_depth",
    "follow_links",
    "include_assets",
    "allow_subdomains",
    "include",
    "exclude",
    "wiki",
    "render",
    "render_wait",
    "render_routes",
)
"""Parameters of scrape that affect which links are followed."""

UNREADABLE_ROBOTS = "Until it can be read, nothing may be fetched (RFC 9309). Try again later."
NO_SITE = "Another try will not help. Does the address open in a browser?"

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ScrapeRequest:
    """What to scrape: the start address, the sitemap ('' for those in robots.txt), and how."""

    url: str
    sitemap: str
    options: CrawlOptions
    allows_subdomains: bool
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    allow_delete: bool
    reads_wiki: bool
    """Whether to read a MediaWiki through its API. A given sitemap takes precedence."""
    render: str = "never"
    """Whether pages are rendered: ``never``, ``auto`` or ``always``."""
    render_wait: str = ""
    """The CSS selector that a rendered page is complete with; '' for a quiet network."""
    render_routes: bool = False
    """Whether links to hash routes of rendered pages are followed."""
    cookies: str | None = None
    """A file of cookies that the site is sent."""

    @property
    def scope(self) -> SiteScope:
        """The addresses that may be fetched: those of the start's site, with and without www."""
        host = site_of(self.url)
        other = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
        return SiteScope(frozenset({host, other}), self.allows_subdomains, self.include, self.exclude)


def scrape_site(context: Context, request: ScrapeRequest, remembered: dict[str, Any]) -> PhaseResult:
    """Fetch a site into the source, or continue an unfinished scrape of it.

    Args:
        context: the job's context, with the source and its settings.
        request: what to scrape, and how.
        remembered: parameters to keep with the source for the next scrape, by name; JSON values.

    Returns:
        Counts of pages and assets, and the causes of failures and skips.

    Raises:
        KbjobsError: nothing of the site can be fetched, it stops answering, or too many of its pages are gone.
    """
    source = context.source
    source.pages.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not source.manifest.exists():
        parts = urlsplit(request.url)
        source.write(
            Source(source.id, (str(source.pages),), base_url=f"{parts.scheme}://{parts.netloc}/", created_at=now_text())
        )
    former = source.read_scrape()
    # If other links are followed now, even unchanged pages must be read again for their links.
    leads_elsewhere = bool(former) and any(former.get(name) != remembered.get(name) for name in LEADING)
    with Frontier(source.frontier) as frontier:
        if frontier.is_open and not leads_elsewhere:
            frontier.go_on()
        else:
            frontier.begin(whole=leads_elsewhere)
            frontier.set_fact("sitemap read", False)
            frontier.set_fact("wiki looked", False)
            if leads_elsewhere:
                frontier.set_fact("rendering", None)
        if former != remembered:
            source.write_scrape(remembered)
        crawl = asyncio.run(
            _with_fetcher(context, request, lambda fetcher: _crawl(context, request, frontier, fetcher))
        )
        _drop_doubles(context, frontier, crawl)
        removed = _remove_gone(context, frontier, request.allow_delete)
        _relink_pages(context, frontier)
        frontier.end()
        return _summarise(context, frontier, crawl, removed)


def describe_plan(context: Context, request: ScrapeRequest) -> PhaseResult:
    """Describe what a run would fetch according to robots.txt and the sitemaps. Nothing is written."""
    return asyncio.run(_with_fetcher(context, request, lambda fetcher: _describe_plan(context, request, fetcher)))


async def _with_fetcher(
    context: Context, request: ScrapeRequest, work: Callable[[Fetcher], Awaitable[Result]]
) -> Result:
    from kbjobs.version import VERSION

    contact, proxy = context.settings.text("scrape_contact"), context.settings.text("scrape_proxy")
    agent = f"kbjobs/{VERSION}" + (f" (+{contact})" if contact else "")
    if proxy:
        context.log.warning("requests go through a proxy, so the proxy must keep them away from private addresses")
    guard = AddressGuard(await find_private_hosts([request.url]))
    parser = Parser(context.settings.number("document_seconds"))
    throttle = HostThrottle(request.options.delay)
    login = read_login(context.home, context.source.id, request.url, request.cookies)
    async with Fetcher(agent, guard, throttle, route=Route(proxy or None), parser=parser) as fetcher:
        if login is not None:
            fetcher.log_in(login)
        return await work(fetcher)


async def _crawl(context: Context, request: ScrapeRequest, frontier: Frontier, fetcher: Fetcher) -> Crawl:
    crawl = Crawl(context, frontier, fetcher, request.scope, request.options, site_of(request.url))
    crawl.visitor.start = request.url
    if request.render == "never":
        return await _crawl_site(crawl, request)
    from kbjobs.scraping.rendering.rendering_setup import rendered

    async with rendered(crawl, request.render == "auto", request.render_wait, request.render_routes):
        return await _crawl_site(crawl, request)


async def _crawl_site(crawl: Crawl, request: ScrapeRequest) -> Crawl:
    context, frontier = crawl.context, crawl.frontier
    if not frontier.fact("sitemap read"):
        context.progress(0, 0, "pages", "reading robots.txt", eta_matters=False)
        robots = await watched(context, crawl.visitor.robots_of(request.url))
        if robots.problem:
            raise KbjobsError(robots.problem, NO_SITE if robots.cause else UNREADABLE_ROBOTS)
        if robots.note:
            context.log.info(robots.note)
        wiki = await watched(context, _find_wiki(crawl, request, robots))
        if wiki is None:
            frontier.add([request.url], 0)
            await watched(context, _read_sitemaps(crawl, request, robots))
        else:
            context.log.info("a MediaWiki, read through %s", wiki.api)
            context.source.fill({"name": wiki.name, "license": wiki.license})
            await crawl_wiki(crawl, wiki)
    await crawl.run()
    if not any(frontier.files()):
        causes = frontier.causes(FAILED) | frontier.causes(SKIPPED)
        reason = ", ".join(f"{cause} ({count})" for cause, count in list(causes.items())[:3]) or "nothing was found"
        raise KbjobsError(f"nothing of {request.url} could be fetched: {reason}", _advise(causes))
    return crawl


async def _find_wiki(crawl: Crawl, request: ScrapeRequest, robots: Robots) -> Wiki | None:
    """Find the wiki to scrape, once; None if the site is not a wiki, or is read as any other site."""
    if not request.reads_wiki or request.sitemap or not robots.allows(request.url):
        return None
    known = crawl.frontier.fact("wiki")
    known = known if isinstance(known, dict) and known.get("url") == request.url else {}
    if known.get("api") == "":
        return None
    try:
        wiki, reply = await find_wiki(
            crawl.fetcher, request.url, request.scope, crawl.context.log.warning, known=known.get("api") or ""
        )
    except FetchError:
        return None  # the crawl reports the error, or tries again
    if wiki is None and (reply is None or reply.status != 200):
        return None
    crawl.frontier.set_fact("wiki", {"url": request.url, "api": "" if wiki is None else wiki.api})
    if wiki is None and reply is not None:
        crawl.visitor.known = reply
    return wiki


async def _read_sitemaps(crawl: Crawl, request: ScrapeRequest, robots: Robots) -> None:
    context, frontier = crawl.context, crawl.frontier
    context.progress(0, 0, "pages", "reading sitemaps", eta_matters=False)
    for sitemap in [request.sitemap] if request.sitemap else robots.sitemaps:
        urls, problems = await find_urls(crawl.fetcher, sitemap, request.scope.is_on_site, MAX_SITEMAP_URLS)
        for problem in problems:
            context.log.warning("sitemap: %s", problem)
        normal = (normalise(page) for page, _ in urls)
        frontier.add([url for url in normal if url is not None and request.scope.has(url)], 0)
    frontier.set_fact("sitemap read", True)
    crash_point("scrape.sitemap")


async def _describe_plan(context: Context, request: ScrapeRequest, fetcher: Fetcher) -> PhaseResult:
    robots = await fetch_robots(fetcher, request.url)
    if robots.problem:
        raise KbjobsError(robots.problem, NO_SITE if robots.cause else UNREADABLE_ROBOTS)
    delay = max(request.options.delay, robots.crawl_delay)
    may_start = robots.allows(request.url)
    if request.reads_wiki and not request.sitemap and may_start:
        with suppress(FetchError):  # an address that cannot be fetched is described like a page
            wiki, _ = await find_wiki(fetcher, request.url, request.scope, context.log.warning)
            if wiki is not None:
                api = WikiApi(fetcher, wiki.api, request.scope.is_on_site)
                return _describe_wiki(request, wiki, delay, await count_pages(api, wiki, request.options.page_limit))
    found: list[str] = []
    for sitemap in [request.sitemap] if request.sitemap else robots.sitemaps:
        urls, _ = await find_urls(fetcher, sitemap, request.scope.is_on_site, MAX_SITEMAP_URLS)
        found += [page for page, _ in urls]
    wanted = {url for url in map(normalise, found) if url is not None and request.scope.has(url) and robots.allows(url)}
    pages = min(request.options.page_limit, len(wanted | {request.url}))
    summary = f"robots.txt {'allows' if may_start else 'forbids'} {request.url}; "
    if found:
        summary += f"sitemaps name {counted(len(wanted), 'page')} of the site; "
    else:
        summary += "there is no sitemap, links are followed; "
    summary += f"at most {counted(request.options.page_limit, 'page')}, one each {delay:g} s"
    if found:
        summary += f": {counted(pages, 'page')} in about {duration(pages * delay)}"
    counts = {
        "pages_in_sitemaps": len(wanted),
        "would_fetch": pages if found else None,
        "crawl_delay": robots.crawl_delay,
        "is_allowed": may_start,
    }
    return PhaseResult(counts, summary)


def _describe_wiki(request: ScrapeRequest, wiki: Wiki, delay: float, pages: int) -> PhaseResult:
    """Describe the plan for a wiki; ``pages`` were counted up to the page limit."""
    more = " or more" if pages == request.options.page_limit else ""
    counts = {
        "wiki": wiki.name, "license": wiki.license, "api": wiki.api, "pages_of_wiki": wiki.pages, "would_fetch": pages,
        "crawl_delay": delay, "is_allowed": True,
    }  # fmt: skip
    summary = (
        f"a MediaWiki, {wiki.name} ({wiki.license or 'no licence given'}), with {counted(pages, 'page')}{more};"
        f" at most {counted(request.options.page_limit, 'page')}, one each {delay:g} s:"
        f" {counted(pages, 'page')} in about {duration(pages * delay)}"
    )
    return PhaseResult(counts, summary)


def _advise(causes: dict[str, int]) -> str:
    if LEAVES in causes:
        return "It moved: give the address that a browser shows in the end, with --url."
    if "robots.txt forbids it" in causes:
        return "Ask who runs the site."
    return "Check that it opens in a browser; kbjobs logs JOB shows more."


def _drop_doubles(context: Context, frontier: Frontier, crawl: Crawl) -> None:
    """Drop pages whose canonical page was saved too and has the same main text."""
    doubles = frontier.doubles()
    if not doubles:
        return
    pages = context.source.pages
    with closing(Parser(context.settings.number("document_seconds"))) as parser:
        for double in doubles:
            paths = pages / double.file, pages / double.canonical_file
            if not paths[1].exists():
                continue
            try:
                size = sum(path.stat().st_size for path in paths if path.exists())
                if paths[0].exists() and not parser.ask_now("have_same_text", *paths, size=size, check=context.check):
                    continue
            except ParseError as error:
                context.log.warning("%s is kept beside %s: %s", double.file, double.canonical, error)
                continue
            paths[0].unlink(missing_ok=True)
            frontier.drop_double(double)
            crawl.tally.saved = max(0, crawl.tally.saved - 1)


def _remove_gone(context: Context, frontier: Frontier, allow_delete: bool) -> int:
    """Remove the files of addresses that are gone; raises KbjobsError if there are too many."""
    gone = frontier.gone()
    kept = sum(1 for _ in frontier.files())
    if len(gone) > MAX_REMOVED * kept and not allow_delete:
        raise KbjobsError(
            f"{len(gone):,} of {counted(kept, 'page')} are no longer there, more than {MAX_REMOVED:.0%};"
            " none was removed",
            "If you want to delete them, run it again with --allow-delete.",
        )
    for _, file in gone:
        (context.source.pages / file).unlink(missing_ok=True)
    crash_point("scrape.removed")
    frontier.forget_files([address for address, _ in gone])
    return len(gone)


def _relink_pages(context: Context, frontier: Frontier) -> None:
    """Make the links between saved pages lead to their files."""
    files = dict(frontier.files())
    with closing(Parser(context.settings.number("document_seconds"))) as parser:
        parser.ask_now("use_files", files, size=0, check=context.check)
        _relink_files(context, parser, files)


def _relink_files(context: Context, parser: Parser, files: dict[str, str]) -> None:
    for number, file in enumerate(files.values()):
        if number % 50 == 0:
            context.progress(number, len(files), "pages", "linking pages to each other", (0.98, 1.0), eta_matters=False)
        if not file.endswith((".html", ".htm", ".xhtml")):
            continue
        path = context.source.pages / file
        try:
            text = path.read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:  # somebody removed it; the next run fetches it again
            continue
        try:
            linked = parser.ask_now("relink", text, file, size=len(text), check=context.check)
        except ParseError as error:
            context.log.warning("the links of %s still lead to the web: %s", file, error)
            parser.ask_now("use_files", files, size=0, check=context.check)  # for the new process
            continue
        if linked != text:
            save(path, linked.encode("utf-8", "replace"))
            crash_point("scrape.linked")


def _summarise(context: Context, frontier: Frontier, crawl: Crawl, removed: int) -> PhaseResult:
    pages, assets = frontier.count(), frontier.count(assets=True)
    failed = pages.of(FAILED)
    for state, url, cause in frontier.left_out(SHOWN_LEFT_OUT):
        if state == FAILED:
            context.log.warning("not fetched: %s: %s", url, cause)
        else:
            context.log.info("skipped: %s: %s", url, cause)
    counts = {
        "pages": pages.of(SAVED),
        "saved": crawl.tally.saved,
        "unchanged": crawl.tally.unchanged,
        "same": pages.of(SAME),
        "removed": removed,
        "failed": failed,
        "skipped": pages.of(SKIPPED),
        "queued": pages.of("queued"),
        "assets": assets.of(SAVED),
        "causes": frontier.causes(FAILED),
        "skipped_for": frontier.causes(SKIPPED),
    }
    summary = f"{counted(pages.of(SAVED), 'page')}: {crawl.tally.saved:,} saved, {crawl.tally.unchanged:,} unchanged"
    if removed:
        summary += f", {removed:,} removed"
    if assets.of(SAVED):
        summary += f"; {counted(assets.of(SAVED), 'picture or style', 'pictures and styles')}"
    if pages.of("queued"):
        summary += f"; {counted(pages.of('queued'), 'address', 'addresses')} more beyond --page-limit"
    if skipped := frontier.causes(SKIPPED):
        causes = ", ".join(f"{count:,} {cause}" for cause, count in list(skipped.items())[:4])
        summary += f"; {pages.of(SKIPPED):,} skipped: {causes}"
    if failed:
        causes = ", ".join(f"{count:,} {cause}" for cause, count in list(frontier.causes(FAILED).items())[:4])
        summary += f"; {failed:,} could not be fetched: {causes}"
    if crawl.rendering is not None:
        decided = crawl.rendering.decision
        counts["rendered"] = crawl.rendering.rendered
        counts["is_rendered"] = decided.is_rendered
        summary += f"; {crawl.rendering.rendered:,} rendered"
        if decided.is_rendered is False:
            summary += f": {decided.why}"
    return PhaseResult(counts, summary, failed)
