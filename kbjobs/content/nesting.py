"""A guard before the HTML parser: pages nested so deep that parsing them would take minutes."""

from __future__ import annotations

import re

# lexbor looks through the open elements at every tag, so its time grows with tags times depth: 100,000
# nested <div> take 10 s, 10,000 take 0.1 s. Elements whose end is implied do not pile up.
_TAG = re.compile(
    rb"<(/?)(?!(?:p|li|d[td]|t[rdh]|tbody|thead|tfoot|option|br|hr|img|input|link|meta|wbr|col|source|area)\b)"
    rb"[a-zA-Z]",
    re.IGNORECASE,
)
_FEW_TAGS = 30_000
_WORK_LIMIT = 500_000_000  # sum of the depths at every tag; about 1 s, and a page is parsed up to three times


class TooDeeplyNested(ValueError):
    """The page's tags are nested so deep that parsing would take minutes."""


def refuse_deep_nesting(page: bytes) -> None:
    """Raise TooDeeplyNested for a page made to keep the parser busy; pages with few tags are not looked at."""
    if len(page) > _FEW_TAGS * len(b"<b>") and page.count(b"<") > _FEW_TAGS and estimate_work(page) > _WORK_LIMIT:
        raise TooDeeplyNested("tags are nested too deep: parsing them would take minutes")


def estimate_work(page: bytes) -> int:
    """Return the sum of the nesting depths at every tag: what lexbor's time may grow with."""
    depth = work = 0
    for slash in _TAG.findall(page):
        if slash:
            depth -= depth > 0
        else:
            depth += 1
        work += depth
    return work
