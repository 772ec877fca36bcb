"""Showing a map in the builder: its file in a sandbox, with a link back to the sources."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from starlette.responses import HTMLResponse

MAP_POLICY = (
    "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox; default-src 'none'; script-src 'unsafe-inline';"
    " style-src 'unsafe-inline'; img-src data: blob:; worker-src blob:"
)
"""A map is a page made from strangers' texts, so it runs in a sandbox that can reach nothing of the builder."""
WAY_BACK = "/sources"
_SCRIPT = 'location.replace(location.pathname + (location.search ? "" : "?again") + location.hash)'
ASK_AGAIN = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>kbjobs</title></head>'
    f"<body><p>One moment.</p><script>{_SCRIPT}</script></body></html>\n"
)
"""A page that opens its own address again from the builder's own site.

A sandboxed page counts as another site, so the browser sends no ``SameSite=Strict`` cookie when its links are followed,
nor when it is reloaded after it has written its view into its address. The query makes the address a different one, as
the same address would be loaded as from the other site again. Requests from the builder's own site never get this
page."""
ASK_AGAIN_POLICY = (
    f"default-src 'none'; script-src 'sha256-{b64encode(sha256(_SCRIPT.encode()).digest()).decode()}';"
    " frame-ancestors 'none'"
)
_PLACE = b"<body>\n<header>\n"  # in maps of every version; no strangers' texts come before its first occurrence
_LINK = f'<a id="back" href="{WAY_BACK}">← Sources</a>\n'.encode()


def is_asked_by_map(path: str, headers: Mapping[str, str]) -> bool:
    """Whether a request may come from a map in its sandbox: a cross-site navigation to a map or to the sources."""
    return (path == WAY_BACK or path.startswith("/maps/")) and [
        headers.get(f"sec-fetch-{name}") for name in ("site", "mode", "dest")
    ] == ["cross-site", "navigate", "document"]


def show_map(path: Path) -> HTMLResponse:
    """Make the page of a map.

    Args:
        path: the map's file, drawn by any version.

    Raises:
        OSError: the file cannot be read.
    """
    content = path.read_bytes().replace(_PLACE, _PLACE + _LINK, 1)
    return HTMLResponse(content, headers={"Content-Security-Policy": MAP_POLICY})
