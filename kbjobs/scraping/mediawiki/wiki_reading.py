"""Reading one page of a wiki as a self-contained HTML page."""

from __future__ import annotations

import re
from html import escape
from typing import Any
from urllib.parse import quote, urlsplit

from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.mediawiki.wiki_api import WikiApi, WikiError
from kbjobs.scraping.reply import Reply
from kbjobs.store.frontier import Address

MAX_CATEGORIES = 200

_LANGUAGE = re.compile(r'\A\s*<div\b[^>]{0,500}?\slang="([A-Za-z0-9-]{1,40})"')
_DIRECTION = re.compile(r'\A\s*<div\b[^>]{0,500}?\sdir="(ltr|rtl)"')


async def read_page(api: WikiApi, address: Address) -> Reply:
    """Read a page from the wiki's parser, as a reply like that to a web page; a 404 if the page does not exist.

    It contains the page's title and categories, but not the wiki's skin and menus. The ETag is the revision.

    Raises:
        FetchError: the page cannot be read, for now or at all.
    """
    try:
        answer = await api.ask(
            action="parse", pageid=address.page, prop="text|categories|revid", disableeditsection=1, disabletoc=1,
            disablelimitreport=1,
        )  # fmt: skip
    except WikiError as error:
        if error.is_missing:
            return Reply(address.url, 404, {}, b"")
        raise
    page = answer.get("parse")
    if not isinstance(page, dict) or not all(isinstance(page.get(name), str) for name in ("title", "text")):
        raise FetchError(address.url, "broken reply", "not a page of a MediaWiki")
    parts = urlsplit(address.url)
    title = page["title"]
    return Reply(
        address.url,
        200,
        {"etag": str(page.get("revid") or ""), "last-modified": address.last_modified},
        write_wiki_page(title, page["text"], list(_categories(page)), address.last_modified).encode("utf-8", "replace"),
        "text/html",
        "utf-8",
        named=f"{parts.scheme}://{parts.netloc}/{quote(title.replace(' ', '_'), safe='/', errors='replace')}",
    )


def write_wiki_page(title: str, text: str, categories: list[str], modified: str) -> str:
    """Write an HTML page from the output of the wiki's parser.

    Args:
        title: the page's title.
        text: the parsed page, HTML.
        categories: names of its categories.
        modified: the date of its last change, '' if unknown.
    """
    language, direction = _LANGUAGE.match(text), _DIRECTION.match(text)
    attributes = f' lang="{language[1]}"' if language else ""
    attributes += f' dir="{direction[1]}"' if direction else ""
    metas = [("dcterms.modified", modified)] if modified else []
    metas += [("dcterms.subject", category) for category in categories]
    lines = "".join(f'<meta name="{name}" content="{escape(content)}">' for name, content in metas)
    return (
        f"<!DOCTYPE html>\n<html{attributes}><head><title>{escape(title)}</title>{lines}</head>"
        f"<body><h1>{escape(title)}</h1>\n{text}\n</body></html>\n"
    )


def _categories(page: dict[str, Any]) -> list[str]:
    """The names of a page's categories, without hidden ones, which serve the wiki's maintenance."""
    found = page.get("categories")
    entries = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    names = [str(one.get("category", "")).replace("_", " ") for one in entries if not one.get("hidden")]
    return [name[:300] for name in names if name][:MAX_CATEGORIES]
