"""The service that parses the replies of a site, in a separate process (:mod:`kbjobs.scraping.parsing`)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kbjobs.content.encoding import NotText, decode_page
from kbjobs.content.html import extract_html
from kbjobs.scraping.links import PageLinks, add_links, drop_noscript, read_links, read_robots_tag, read_style_links
from kbjobs.scraping.mediawiki.wiki_discovery import find_apis
from kbjobs.scraping.page_saving import HTML_TYPES, relink, write_page
from kbjobs.scraping.reply import Reply
from kbjobs.scraping.robots import Robots
from kbjobs.scraping.sitemaps import Sitemap, read_sitemap

NO_LINKS = PageLinks()


@dataclass(frozen=True, slots=True)
class ParsedPage:
    """A page's addresses, and its rewritten bytes for saving; ``copy`` is None if it is saved as received."""

    found: PageLinks = NO_LINKS
    copy: bytes | None = None
    is_empty: bool = False


class ParsingService:
    """Parses replies; each method parses one."""

    def __init__(self) -> None:
        self._files: Mapping[str, str] = {}

    def page(self, reply: Reply, kind: str, url: str, wants_copy: bool) -> ParsedPage:
        """Parse a page or a style sheet.

        Args:
            reply: the site's reply.
            kind: its media type.
            url: its address.
            wants_copy: whether to return the page as it is saved.

        Returns:
            Its links, and its copy if requested.
        """
        rules = read_robots_tag(reply.headers.get("x-robots-tag", ""))
        if kind in HTML_TYPES or kind == "text/css":
            with suppress(NotText):
                text = decode_page(reply.body, reply.charset)
                if kind == "text/css":
                    return ParsedPage(PageLinks(assets=read_style_links(text, url)))
                copy = write_page(text, url).encode("utf-8", "replace") if wants_copy else None
                found = add_links(read_links(text, url, rules), reply.led_to)
                return ParsedPage(found, copy, is_empty=not text.strip())
        found = PageLinks(may_follow=rules.may_follow, may_keep=rules.may_keep)
        return ParsedPage(found, is_empty=kind in HTML_TYPES or not reply.body.strip())

    def text_size(self, reply: Reply) -> int:
        """The number of characters of an HTML page's main text, without what it shows only to those without scripts."""
        try:
            text = drop_noscript(decode_page(reply.body, reply.charset))
        except NotText:
            return 0
        return sum(len(block.text) for block in extract_html(text.encode("utf-8", "replace")).blocks)

    def have_same_text(self, page: Path, other: Path) -> bool:
        """Whether two saved pages have the same main text."""
        return _read_main_text(page) == _read_main_text(other)

    def apis(self, reply: Reply) -> list[str]:
        """As :func:`kbjobs.scraping.mediawiki.wiki_discovery.find_apis`."""
        return find_apis(reply)

    def sitemap(self, body: bytes) -> Sitemap:
        """As :func:`kbjobs.scraping.sitemaps.read_sitemap`."""
        return read_sitemap(body)

    def robots(self, text: str, user_agent: str) -> Robots:
        """Read the rules of a robots.txt."""
        return Robots(text, user_agent)

    def use_files(self, files: Mapping[str, str]) -> None:
        """Set the files by address that :meth:`relink` makes links lead to."""
        self._files = files

    def relink(self, text: str, file: str) -> str:
        """As :func:`kbjobs.scraping.page_saving.relink`."""
        return relink(text, file, self._files)


def _read_main_text(page: Path) -> list[str]:
    return [block.text for block in extract_html(page.read_bytes()).blocks]
