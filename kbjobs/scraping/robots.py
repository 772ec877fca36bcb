"""The rules of a host's robots.txt (RFC 9309)."""

from __future__ import annotations

import codecs
import re

from protego import Protego

from kbjobs.scraping.reply import Reply
from kbjobs.scraping.web_urls import is_web_url

MAX_BYTES = 512 * 1024
"""Most bytes read; a crawler must read at least 500 KiB (RFC 9309, 2.5)."""
MAX_CRAWL_DELAY = 60.0
"""Seconds. With a longer delay a site would take days; such sites mostly mean milliseconds, or no crawling at all."""
MAX_RULES = 2_000_000
"""Most named robots times rules: the parser may hold that many, if all rules are for all robots."""
_LINE = re.compile(
    r"\s*(?:(?P<agent>user[- ]?agent)|(?P<rule>allow|dis+al+ow|diasllow|disallaw)|(?P<delay>crawl[- ]delay)"
    r"|(?P<sitemap>site-?maps?))(?:\s*:\s*|\s+|\s*\Z)(?P<value>.*)",
    re.IGNORECASE,
)
"""A meaningful line, even if the colon is missing; the misspellings are those that Protego accepts."""
_TOKEN = re.compile(r"[A-Za-z_-]+")  # RFC 9309, 2.2.1
BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class Robots:
    """The rules of one robots.txt for one robot.

    Args:
        text: the file's text; an empty one allows everything.
        user_agent: the robot: a User-Agent header or its product token.
        problem: why the file cannot be read; nothing is allowed then.
        cause: a short phrase for the problem, if it is permanent.
    """

    def __init__(self, text: str, user_agent: str, problem: str = "", cause: str = "") -> None:
        self.problem = problem
        """Empty, or a sentence for people that says why nothing is allowed."""
        self.cause = cause
        """Empty, or the cause of the problem if another try will not help."""
        self.note = ""
        """Empty, or the part of the file that is not followed literally."""
        # Only the product token counts, which comes first (RFC 9309, 2.2.1); a comment may name other robots.
        self._agent = user_agent.partition("/")[0].strip()
        self._rules = Protego.parse(write_plainly(text))
        asked = self._rules.crawl_delay(self._agent) or 0.0
        self.crawl_delay = min(asked, MAX_CRAWL_DELAY)
        """Seconds between two requests that the site asks for; 0 if it does not ask."""
        if asked > MAX_CRAWL_DELAY:
            self.note = f"robots.txt asks for {asked:g} seconds between requests; {MAX_CRAWL_DELAY:g} are kept."
        self.sitemaps = [url for url in dict.fromkeys(self._rules.sitemaps) if is_web_url(url)]
        """URLs of sitemaps, in the order of the file."""

    def allows(self, url: str) -> bool:
        """Whether a URL of the host may be requested."""
        return not self.problem and bool(self._rules.can_fetch(url, self._agent))


def decode_robots(reply: Reply) -> str:
    """Decode a robots.txt from UTF-8 (RFC 9309, 2.2), or UTF-16 with a byte order mark; a web page gives ''."""
    encoding = next((name for bom, name in BOMS.items() if reply.body.startswith(bom)), "utf-8")
    text = reply.body.decode(encoding, errors="replace").lstrip("\ufeff")
    if len(reply.body) == MAX_BYTES:
        # The text was cut, and half a rule may forbid everything.
        text = text.rpartition("\n")[0]
    return "" if text.lstrip().startswith("<") else text


def write_plainly(text: str) -> str:
    """Rewrite a robots.txt so that Protego reads it as RFC 9309 requires.

    Only rules end a group (2.2): Crawl-delay, which is not in the standard, gets groups of its own at the end. Only its
    product token names a robot: ``Foo Bar`` and ``Foo/1.0`` name Foo (2.2.1).
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
    """The most rules that a parser may hold, since it keeps a group's rules for each robot that the group names."""
    lines = [line.strip().lower() for line in text.splitlines()]
    robots = sum(line.startswith("user") for line in lines)
    return robots * (len(lines) - robots)
