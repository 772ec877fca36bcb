"""The page of a map: one self-contained file, which is not allowed to load anything else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

SCRIPTS = (
    *("decode.js", "scene.js", "draw_webgl.js", "draw_canvas.js", "results.js", "names.js", "card.js", "area.js"),
    *("view_link.js", "gestures.js", "page.js"),
)
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def _read(name: str) -> str:
    return (files("kbjobs.maps") / "page" / name).read_text(encoding="utf-8")


def page_version() -> str:
    """Hash the files that pages are made of; a page made of others is out of date."""
    digest = hashlib.sha256()
    for name in ("map.html", "map.css", *SCRIPTS):
        digest.update(_read(name).encode())
    return digest.hexdigest()[:16]


def render(title: str, state: str, facts: Mapping[str, Any], numbers: str, texts: str) -> str:
    """Render the page.

    Args:
        title: the title of the map.
        state: the state of the content shown; written near the beginning of the page.
        facts: names of clusters, sources and languages, and counts.
        numbers: the packed columns of numbers.
        texts: the packed texts.
    """
    script = '"use strict";\n(() => {\n' + "\n".join(_read(name) for name in SCRIPTS) + "\n})();\n"
    style = _read("map.css")
    filled = {
        "title": html.escape(title),
        "state": html.escape(state),
        "policy": f"default-src 'none'; script-src {_hashed(script)}; style-src {_hashed(style)};"
        " base-uri 'none'; form-action 'none'",
        "style": style,
        "script": script,
        # Only these could end a script element, or begin something that hides its end (HTML, 4.12.1.3).
        "facts": json.dumps(facts, ensure_ascii=True).replace("<", "\\u003c"),
        "numbers": numbers,
        "texts": texts,
    }
    return _PLACE.sub(lambda place: filled[place[1]], _read("map.html"))


def _hashed(content: str) -> str:
    """Write the source expression by which a policy allows an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
