"""A map as the builder shows it: the file as it lies there, in a sandbox, with a link back to the sources."""

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
"""A map is a page of its own that was drawn of what strangers wrote: it runs where it can reach nothing of ours."""
WAY_BACK = "/sources"
_SCRIPT = 'location.replace(location.pathname + (location.search ? "" : "?again") + location.hash)'
ASK_AGAIN = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>kbjobs</title></head>'
    f"<body><p>One moment.</p><script>{_SCRIPT}</script></body></html>\n"
)
"""A page that opens its own address from our own site.

A sandboxed page counts as another site. The browser sends no ``SameSite=Strict`` cookie along where its links lead,
nor when it is loaded again after it has noted its view in its address. The query makes the address another one: the
same one would be loaded again as from the other site. Asked for from our own site it is never answered by this page."""
ASK_AGAIN_POLICY = (
    f"default-src 'none'; script-src 'sha256-{b64encode(sha256(_SCRIPT.encode()).digest()).decode()}';"
    " frame-ancestors 'none'"
)
_PLACE = b"<body>\n<header>\n"  # stands in the maps of every version, first where nothing of a stranger's is before it
_LINK = f'<a id="back" href="{WAY_BACK}">← Sources</a>\n'.encode()


def is_asked_by_map(path: str, headers: Mapping[str, str]) -> bool:
    """Whether a request may come from a map in its sandbox: a page that is opened whole, a map or the way back."""
    return (path == WAY_BACK or path.startswith("/maps/")) and [
        headers.get(f"sec-fetch-{name}") for name in ("site", "mode", "dest")
    ] == ["cross-site", "navigate", "document"]


def show_map(path: Path) -> HTMLResponse:
    """The page of a map.

    Args:
        path: its file, whichever version has drawn it.

    Raises:
        OSError: the file cannot be read.
    """
    content = path.read_bytes().replace(_PLACE, _PLACE + _LINK, 1)
    return HTMLResponse(content, headers={"Content-Security-Policy": MAP_POLICY})
