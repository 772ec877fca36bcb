"""Scraping a wiki: find its API, list its pages, read them."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from kbjobs.errors import KbjobsError
from kbjobs.scraping.crawl import Crawl
from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.job_wait import watched
from kbjobs.scraping.mediawiki.wiki_api import WikiApi
from kbjobs.scraping.mediawiki.wiki_info import Wiki, describe_wiki, refuse_other_server
from kbjobs.scraping.mediawiki.wiki_listing import PageList
from kbjobs.scraping.page_fetch import Fetcher
from kbjobs.scraping.parsing import ParseError
from kbjobs.scraping.reply import Reply
from kbjobs.scraping.site_scope import SiteScope


async def find_wiki(
    fetcher: Fetcher, url: str, scope: SiteScope, warn: Callable[[str], None], known: str = ""
) -> tuple[Wiki | None, Reply | None]:
    """Find the MediaWiki that an address belongs to.

    Args:
        fetcher: sends the requests; robots.txt allows the address.
        url: the address.
        scope: which addresses belong to the site.
        warn: called with the reason if a wiki cannot be read through its API.
        known: the address of its API, if it was found before; ``url`` is not requested then.

    Returns:
        The wiki, None if the site is not a wiki; and the reply to ``url``, if it was requested.

    Raises:
        KbjobsError: only its users may read the wiki, it stops answering, or its pages are on another site.
        FetchError: the address cannot be fetched.
    """
    reply = None
    if known:
        places = [known]
    elif urlsplit(url).path.endswith("/api.php"):
        places = [url.partition("?")[0]]
    else:
        reply = await fetcher.get(url, is_allowed=scope.is_on_site)
        places = await _find_apis(fetcher, reply) if reply.status == 200 else []
    reasons = []
    for place in filter(scope.is_on_site, places):
        try:
            wiki = await describe_wiki(WikiApi(fetcher, place, scope.is_on_site))
        except FetchError as error:
            reasons.append(error.message)
            continue
        refuse_other_server(wiki, scope)
        return wiki, reply
    if reasons:
        warn(f"it is a MediaWiki, but it is read as any site: {reasons[0]}")
    return None, reply


async def _find_apis(fetcher: Fetcher, reply: Reply) -> list[str]:
    try:
        found: list[str] = await fetcher.parser.ask("apis", reply, size=len(reply.body))
    except ParseError as error:
        raise FetchError(reply.url, "cannot be read", str(error)) from error
    return found


async def crawl_wiki(crawl: Crawl, wiki: Wiki) -> None:
    """Scrape the pages of a wiki into the source, up to the page limit, with a crawl that has not run yet."""
    context, frontier, scope = crawl.context, crawl.frontier, crawl.scope
    api = WikiApi(crawl.fetcher, wiki.api, scope.is_on_site)
    crawl.use_wiki(api)
    pages = context.source.pages

    def on_progress(known: int) -> None:
        context.progress(0, 0, "pages", f"reading the wiki's list: {known:,} pages", eta_matters=False)

    listing = PageList(api, frontier, wiki.namespaces, scope, lambda file: (pages / file).exists(), on_progress)
    on_progress(frontier.listed())
    while True:
        try:
            await watched(context, listing.update())
            await watched(context, listing.extend(crawl.options.page_limit))
        except FetchError as error:
            raise KbjobsError(
                f"the wiki's list of pages cannot be read: {error.message}", "--no-wiki reads it as any other site."
            ) from error
        await crawl.run()
        if listing.is_ended or not crawl.has_room:
            break
    crawl.tally.unchanged += listing.unchanged
