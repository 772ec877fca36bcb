"""Read a Markdown file's front matter: the lines between two ``---`` at its beginning, as site generators do."""

from __future__ import annotations

import re

_LINES = 200
_FIELD = re.compile(r"([a-z]{3,12})[ \t]*:[ \t]*(.*)$", re.IGNORECASE)
_ITEM = re.compile(r"[ \t]*-[ \t]+(.*)$")
_NAMES = {
    "title": "title", "lang": "language", "language": "language", "description": "description",
    "summary": "description", "date": "date", "published": "date", "author": "authors", "authors": "authors",
    "category": "categories", "categories": "categories", "tags": "categories", "keywords": "categories",
}  # fmt: skip


def read_front_matter(lines: list[str]) -> tuple[dict[str, list[str]], int]:
    """Return the values of the fields by their usual names, and the index of the first line after the front matter.

    YAML lists are understood in both forms, ``[a, b]`` and one line each; other YAML is not.
    """
    if not lines or lines[0].rstrip() != "---":
        return {}, 0
    fields: dict[str, list[str]] = {}
    values: list[str] = []
    for index, line in enumerate(lines[1:_LINES], start=1):
        if line.rstrip() in ("---", "..."):
            return fields, index + 1
        if found := _FIELD.match(line):
            name = _NAMES.get(found[1].lower())
            values = fields.setdefault(name, []) if name else []
            text = found[2].strip()
            values += map(_unquote, text[1:-1].split(",") if text.startswith("[") else [text] if text else [])
        elif found := _ITEM.match(line):
            values.append(_unquote(found[1]))
    return {}, 0


def _unquote(text: str) -> str:
    return text.strip().strip("\"'")
