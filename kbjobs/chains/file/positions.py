"""Positions of the keys and values of a TOML document, by tree-sitter. Loaded only if a position has to be shown."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kbjobs.chains.diagnostics import Path

MAX_KEY_PARTS = 32


# First and last point of a node: row and byte from 0. Converted to a Span only on demand, since that takes time
# in proportion to the line's length.
Points = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Span:
    """A place in the text: line and column from 1; column and length in characters, on the first line."""

    line: int
    column: int
    length: int


@dataclass(slots=True)
class Positions:
    """The positions of the key and the value of each path in the document.

    ``doubles``: keys that were defined before, each with its first place. ``long_keys``: keys of too many parts.
    """

    lines: list[bytes]
    keys: dict[Path, Points] = field(default_factory=dict)
    values: dict[Path, Points] = field(default_factory=dict)
    doubles: list[tuple[Path, Points, Points]] = field(default_factory=list)
    long_keys: list[Points] = field(default_factory=list)
    has_error: bool = False

    def find(self, path: Path, at: str) -> Points | None:
        """Find the place of a path, or else of the nearest enclosing table that has one."""
        first, second = (self.keys, self.values) if at == "key" else (self.values, self.keys)
        for end in range(len(path), 0, -1):
            found = first.get(path[:end]) or second.get(path[:end])
            if found is not None:
                return found
        return None

    def span(self, points: Points) -> Span:
        """Convert points to characters."""
        row, start, last_row, end = points
        line = self.lines[row]
        before = line[:start].decode(errors="replace")
        inside = line[start : end if last_row == row else len(line)].decode(errors="replace")
        return Span(row + 1, len(before) + 1, max(1, len(inside.rstrip())))


def locate(text: str) -> Positions:
    """Find the places in a document that uses only line feeds. Never raises, even for broken TOML."""
    import tree_sitter
    import tree_sitter_toml

    data = text.encode()
    language = tree_sitter.Language(tree_sitter_toml.language())
    root = tree_sitter.Parser(language).parse(data).root_node
    walk = _Walk(data)
    walk.found.has_error = root.has_error
    walk.document(root)
    return walk.found


class _Walk:
    """Walks a syntax tree and records every key and value by its path."""

    def __init__(self, data: bytes) -> None:
        self.found = Positions(data.split(b"\n"))
        self._counts: dict[Path, int] = {}

    def document(self, root: Any) -> None:
        for node in root.named_children:
            if node.type == "pair":
                self._pairs([(node, ())])
            elif node.type in ("table", "table_array_element"):
                self._table(node)

    def _table(self, node: Any) -> None:
        children = node.named_children
        if not children or children[0].type not in ("bare_key", "quoted_key", "dotted_key"):
            return
        names = self._parts(children[0])
        points = _points(children[0])
        if node.type == "table_array_element":
            base = (*self._resolved(names[:-1]), names[-1])
            index = self._counts.get(base, 0)
            self._counts[base] = index + 1
            self.found.keys.setdefault(base, points)
            path: Path = (*base, index)
            self.found.keys[path] = points
        else:
            path = self._resolved(names)
            self._note_key(path, points)
        self._pairs([(child, path) for child in children[1:] if child.type == "pair"])

    def _resolved(self, names: list[str]) -> Path:
        """The path of a header; the name of an array of tables means its last table."""
        path: Path = ()
        for name in names:
            path = (*path, name)
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        return path

    def _pairs(self, waiting: list[tuple[Any, Path]]) -> None:
        waiting.reverse()
        while waiting:  # not recursive: the file decides the depth
            node, base = waiting.pop()
            children = [child for child in node.named_children if child.type != "comment"]
            if len(children) < 2 or children[0].type not in ("bare_key", "quoted_key", "dotted_key"):
                continue
            names = self._parts(children[0])
            path: Path = (*base, *names)
            points = _points(children[0])
            for end in range(len(base) + 1, len(path)):
                self.found.keys.setdefault(path[:end], points)
            self._note_key(path, points)
            waiting.extend(reversed(list(self._value(children[1], path))))

    def _value(self, node: Any, path: Path) -> Iterator[tuple[Any, Path]]:
        """Record a value and yield the pairs inside it."""
        values = [(node, path)]
        while values:
            value, here = values.pop()
            self.found.values[here] = _points(value)
            children = [child for child in value.named_children if child.type != "comment"]
            if value.type == "inline_table":
                yield from ((child, here) for child in children if child.type == "pair")
            elif value.type == "array":
                values.extend((child, (*here, index)) for index, child in enumerate(children))

    def _note_key(self, path: Path, points: Points) -> None:
        first = self.found.keys.get(path)
        if first is None:
            self.found.keys[path] = points
        else:
            self.found.doubles.append((path, points, first))

    def _parts(self, node: Any) -> list[str]:
        parts, waiting = [], [node]
        while waiting:
            one = waiting.pop()
            if one.type == "dotted_key":
                waiting.extend(reversed(one.named_children))
            else:
                parts.append(_key_text(one))
        if len(parts) > MAX_KEY_PARTS:
            self.found.long_keys.append(_points(node))
            del parts[MAX_KEY_PARTS:]
        return parts


def _points(node: Any) -> Points:
    return (*node.start_point, *node.end_point)


def _key_text(node: Any) -> str:
    text = str(node.text.decode(errors="replace"))
    if node.type == "quoted_key":
        try:
            return next(iter(tomllib.loads(f"{text} = 0")))
        except tomllib.TOMLDecodeError:
            return text
    return text
