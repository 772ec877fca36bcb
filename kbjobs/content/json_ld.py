"""Read a page's JSON-LD: schema.org's things, including those in graphs and lists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from selectolax.lexbor import LexborHTMLParser

_MAX_SCRIPTS, _SCRIPT_LIMIT, _MAX_THINGS = 10, 200_000, 200
_HOLDERS = ("@graph", "mainEntity", "mainEntityOfPage", "hasPart")  # properties with further things as values

Thing = dict[str, Any]

_FULL_NAME = re.compile(r"([^\W\d_]+) ([^\W\d_][\w'’-]+)")


class Things:
    """The things that a page describes, linked to each other by ``@id``."""

    def __init__(self, tree: LexborHTMLParser) -> None:
        self.all = list(_read_things(tree))
        self._by_id: dict[str, Thing] = {}
        for thing in self.all:
            key = thing.get("@id")
            if isinstance(key, str) and len(thing) > len(self._by_id.get(key, ())):
                self._by_id[key] = thing

    def values(self, thing: Thing, name: str) -> list[Any]:
        """Return the values of a property, which may be one or a list; references are followed one step."""
        value = thing.get(name)
        found = value if isinstance(value, list) else [value]
        return [self._follow(one) for one in found[:_MAX_THINGS]]

    def _follow(self, value: Any) -> Any:
        """Return the thing that a value refers to, or else the value."""
        if isinstance(value, dict) and "name" not in value and isinstance(value.get("@id"), str):
            return self._by_id.get(value["@id"], value)
        return value

    def texts(self, thing: Thing, name: str) -> list[str]:
        """Return the strings among the values of a property."""
        return [one for one in self.values(thing, name) if isinstance(one, str)]

    def names(self, thing: Thing, name: str) -> list[tuple[str, str]]:
        """Return pairs of name and type of a property's values; strings have no type."""
        found = []
        for one in self.values(thing, name):
            if isinstance(one, str):
                found.append((one, ""))
            elif isinstance(one, dict):
                kinds = self.texts(one, "@type")
                about = next(iter(self.texts(one, "description")), "")
                found += [(_complete(said, about), kinds[0] if kinds else "") for said in self.texts(one, "name")]
        return found


def _complete(name: str, description: str) -> str:
    """Complete a one-word name from a description that begins with the full name: "Ann" from "Ann Lee is a writer"."""
    found = _FULL_NAME.match(description)
    return found[0] if found is not None and found[1] == name and found[2][0].isupper() else name


def _read_things(tree: LexborHTMLParser) -> Iterator[Thing]:
    """Yield every thing; unreadable scripts are skipped."""
    found = 0
    for script in tree.css('script[type="application/ld+json" i]')[:_MAX_SCRIPTS]:
        try:
            waiting = [json.loads(script.text()[:_SCRIPT_LIMIT], strict=False)]
        except (ValueError, RecursionError):
            continue
        while waiting and found < _MAX_THINGS:
            value = waiting.pop(0)
            if isinstance(value, list):
                waiting = [*value[:_MAX_THINGS], *waiting]
            elif isinstance(value, dict):
                found += 1
                yield value
                waiting += [value.get(name) for name in _HOLDERS]
