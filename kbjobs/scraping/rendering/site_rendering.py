"""Whether the pages of a site are rendered: always, or if scripts write most of their text (``auto``).

``auto`` is decided once per site and remembered in its frontier, so a resumed scrape, and the next one, go on alike.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict, dataclass
from typing import Any

from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.parsing import ParseError, Parser
from kbjobs.scraping.rendering.page_rendering import PageRenderer
from kbjobs.scraping.reply import Reply
from kbjobs.store.frontier import Frontier

SHARE = 0.5
"""A page whose text without scripts is less than this share of its text with them needs rendering."""
EMPTY = 100
"""A page with fewer characters of text without scripts, and with scripts, is an empty shell."""
SAMPLE = 3
"""Pages that are rendered for a comparison before a site counts as one that needs no rendering."""
FACT = "rendering"


@dataclass(slots=True)
class Decision:
    """The decision for a site: None until it is made. ``seen`` pages needed no rendering so far; ``why`` is shown."""

    is_rendered: bool | None = None
    seen: int = 0
    why: str = ""


class SiteRendering:
    """Renders the pages of a site, if they are to be rendered.

    Args:
        renderer: renders them.
        parser: measures their text.
        frontier: remembers the decision.
        is_automatic: whether to decide; otherwise all pages are rendered.
        log: takes the decision.
    """

    def __init__(
        self,
        renderer: PageRenderer,
        parser: Parser,
        frontier: Frontier,
        is_automatic: bool,
        log: logging.Logger | logging.LoggerAdapter[Any],
    ) -> None:
        self._renderer, self._parser, self._frontier, self._log = renderer, parser, frontier, log
        self._turn = asyncio.Lock()
        remembered = frontier.fact(FACT)
        if not is_automatic:
            self.decision = Decision(True, why="--render always")
        elif isinstance(remembered, dict):
            self.decision = Decision(**remembered)
        else:
            self.decision = Decision()

    @property
    def rendered(self) -> int:
        """Pages rendered in this run."""
        return self._renderer.rendered

    async def render(self, reply: Reply) -> Reply:
        """Return a page as it is saved: rendered, or as received. Raises FetchError if it cannot be rendered."""
        if self.decision.is_rendered is None:
            async with self._turn:  # one page after the other, so that the first ones decide for all others
                if self.decision.is_rendered is None:
                    return await self._decide(reply)
        return await self._renderer.render(reply) if self.decision.is_rendered else reply

    async def close(self) -> None:
        """End the browser."""
        await self._renderer.close()

    async def _decide(self, reply: Reply) -> Reply:
        """Compare a page with what it is when rendered, and decide, if it tells enough."""
        plain = await self._measure(reply)
        rendered = await self._renderer.render(reply)
        full = await self._measure(rendered)
        needs = full > 0 and (plain < SHARE * full or plain < EMPTY < full)
        if needs:
            self._conclude(True, f"{reply.url} has {plain:,} characters of text without scripts, {full:,} with them")
            return rendered
        self.decision.seen += 1
        if self.decision.seen >= SAMPLE:
            self._conclude(False, f"{SAMPLE} pages have their text without scripts, such as {reply.url}")
        else:
            self._frontier.set_fact(FACT, asdict(self.decision))
        return reply

    def _conclude(self, is_rendered: bool, why: str) -> None:
        self.decision.is_rendered, self.decision.why = is_rendered, why
        self._frontier.set_fact(FACT, asdict(self.decision))
        self._log.info("pages are %s: %s", "rendered" if is_rendered else "not rendered", why)

    async def _measure(self, reply: Reply) -> int:
        try:
            size: int = await self._parser.ask("text_size", reply, size=len(reply.body))
        except ParseError as error:
            raise FetchError(reply.url, "cannot be read", str(error)) from error
        return size
