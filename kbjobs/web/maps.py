"""A map as the builder shows it: the file as it lies there, in a sandbox, with a link back to the sources."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import HTMLResponse

MAP_POLICY = (
    "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox; default-src 'none'; script-src 'unsafe-inline';"
    " style-src 'unsafe-inline'; img-src data: blob:; worker-src blob:"
)
"""A map is a page of its own that was drawn of what strangers wrote: it runs where it can reach nothing of ours."""
WAY_BACK = "/from-map"
"""The address of WAY_BACK_PAGE.

A sandboxed page counts as another site, so the browser sends no ``SameSite=Strict`` cookie with what its links ask
for. The page there says nothing, and is shown to everybody; it is of our own site, and what it leads to is asked for
with the cookie."""
WAY_BACK_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>kbjobs</title>'
    '<meta http-equiv="refresh" content="0; url=/sources"></head>'
    '<body><p><a href="/sources">Sources</a></p></body></html>\n'
)
_PLACE = b"<body>\n<header>\n"  # stands in the maps of every version, first where nothing of a stranger's is before it
_LINK = f'<a id="back" href="{WAY_BACK}">← Sources</a>\n'.encode()


def show_map(path: Path) -> HTMLResponse:
    """The page of a map.

    Args:
        path: its file, whichever version has drawn it.

    Raises:
        OSError: the file cannot be read.
    """
    content = path.read_bytes().replace(_PLACE, _PLACE + _LINK, 1)
    return HTMLResponse(content, headers={"Content-Security-Policy": MAP_POLICY})
