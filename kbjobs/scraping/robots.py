"""What the robots.txt of a host allows (RFC 9309)."""

from __future__ import annotations

import codecs
import re

from protego import Protego

from kbjobs.scraping.reply import Reply
from kbjobs.scraping.web_urls import is_web_url

MAX_BYTES = 512 * 1024
"""What is read; at least 500 KiB must be (RFC 9309, 2.5)."""
MAX_CRAWL_DELAY = 60.0
"""Seconds. A site that asks for more would take days; mostly it means milliseconds or an empty site."""
MAX_RULES = 2_000_000
"""Robots named times rules given: as many may be held, if all the rules are for all the robots."""
_LINE = re.compile(
    r"\s*(?:(?P<agent>user[- ]?agent)|(?P<rule>allow|dis+al+ow|diasllow|disallaw)|(?P<delay>crawl[- ]delay)"
    r"|(?P<sitemap>site-?maps?))(?:\s*:\s*|\s+|\s*\Z)(?P<value>.*)",
    re.IGNORECASE,
)
"""A line that says something, also where the colon is missing; the misspellings are those that Protego knows."""
_TOKEN = re.compile(r"[A-Za-z_-]+")  # RFC 9309, 2.2.1
BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class Robots:
    """What one robots.txt says to one robot.

    Args:
        text: of the file; an empty one allows everything.
        user_agent: whom it is asked for: a User-Agent header or its product token.
        problem: why the file cannot be read; then nothing is allowed.
        cause: a short phrase for it, where it will stay so.
    """

    def __init__(self, text: str, user_agent: str, problem: str = "", cause: str = "") -> None:
        self.problem = problem
        """Empty, or a sentence for a person that says why nothing is allowed."""
        self.cause = cause
        """Empty, or the cause of the problem where another try will not help."""
        self.note = ""
        """Empty, or what of the file is not followed as it stands there."""
        # The product token comes first and is all that counts (RFC 9309, 2.2.1); a comment may name other robots.
        self._agent = user_agent.partition("/")[0].strip()
        self._rules = Protego.parse(write_plainly(text))
        asked = self._rules.crawl_delay(self._agent) or 0.0
        self.crawl_delay = min(asked, MAX_CRAWL_DELAY)
        """Seconds between two requests that the site asks for; 0 where it asks for none."""
        if asked > MAX_CRAWL_DELAY:
            self.note = f"robots.txt asks for {asked:g} seconds between requests; {MAX_CRAWL_DELAY:g} are kept."
        self.sitemaps = [url for url in dict.fromkeys(self._rules.sitemaps) if is_web_url(url)]
        """URLs of sitemaps, in the order of the file."""

    def allows(self, url: str) -> bool:
        """Whether a URL of the host may be asked for."""
        return not self.problem and bool(self._rules.can_fetch(url, self._agent))


def decode_robots(reply: Reply) -> str:
    """The text of a robots.txt: UTF-8 (RFC 9309, 2.2), UTF-16 where a byte order mark says so; a web page is none."""
    encoding = next((name for bom, name in BOMS.items() if reply.body.startswith(bom)), "utf-8")
    text = reply.body.decode(encoding, errors="replace").lstrip("\ufeff")
    if len(reply.body) == MAX_BYTES:
        # It was cut, and half of a rule may be the rule "everything".
        text = text.rpartition("\n")[0]
    return "" if text.lstrip().startswith("<") else text


def write_plainly(text: str) -> str:
    """A robots.txt in the form in which Protego reads it as RFC 9309 wants it read.

    What is no rule does not end a group (2.2): Crawl-delay, which comes from outside the standard, gets groups of its
    own at the end. A robot is named by its product token alone: ``Foo Bar`` and ``Foo/1.0`` name Foo (2.2.1).
    """
    lines: list[str] = []
    delays: list[str] = []
    agents: list[str] = []
    has_rules = False
    for line in text.splitlines():
        found = _LINE.match(line.partition("#")[0].rstrip())
        if found is None:
            continue
        value = found["value"]
        if found["agent"]:
            agents, has_rules = [] if has_rules else agents, False
            token = _TOKEN.match(value)
            agents.append("*" if value.startswith("*") else token[0] if token else "-")  # "-" names nobody
            lines.append(f"User-agent: {agents[-1]}")
        elif found["rule"]:
            has_rules = True
            lines.append(f"{'Allow' if found['rule'].lower() == 'allow' else 'Disallow'}: {value}")
        elif found["delay"]:
            delays += [*(f"User-agent: {agent}" for agent in agents), f"Crawl-delay: {value}"]
        else:
            lines.append(f"Sitemap: {value}")
    return "\n".join([*lines, *delays])


def count_rules(text: str) -> int:
    """The most rules that a parser may hold: it keeps those of a group for each robot that the group names."""
    lines = [line.strip().lower() for line in text.splitlines()]
    robots = sum(line.startswith("user") for line in lines)
    return robots * (len(lines) - robots)
