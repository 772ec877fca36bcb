"""Mistakes in the values of a chain file, in plain words, by their paths in the document."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from kbjobs.chains.diagnostics import Diagnostic, Path
from kbjobs.chains.file.model import NAME_EXPECTED
from kbjobs.chains.file.parameter_errors import choices, cut, describe, did_you_mean, resolve, schema_at, show

MAX_DEPTH = 32
MAX_FOUND = 1000  # mistakes of one kind that are examined: a person reads only the first ones
INT_LIMIT = 2**63  # TOML 1.0, "Integer": 64 bits, signed
SOURCE_EXPECTED = "a source's id: 1–63 of a–z, 0–9, '.', '_' and '-', a letter or digit first and last"
JOB_EXPECTED = "a job type, such as index-offline"
PHASES_EXPECTED = "1 to 100 tables, each under a line [[phase]]"
# For a chain's own keys, for which the model's schema would only state patterns.
EXPECTED = {
    "name": NAME_EXPECTED,
    "source": SOURCE_EXPECTED,
    "sources": "an array of 1 to 1,000 ids of sources",
    "phase": PHASES_EXPECTED,
    "job": JOB_EXPECTED,
}
EXPECTED_INSIDE = {"sources": SOURCE_EXPECTED, "phase": "a table under a line [[phase]]"}


def nesting_problem(document: dict[str, Any]) -> Diagnostic | None:
    """Find the first value that is nested deeper than anything needs."""
    waiting: list[tuple[Path, Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if len(path) > MAX_DEPTH:
            return Diagnostic("value", "nested too deeply", expected=f"at most {MAX_DEPTH} levels", path=path)
        waiting.extend(((*path, key), inside) for key, inside in _inside(value))
    return None


def unusable_values(document: dict[str, Any]) -> Iterator[Diagnostic]:
    """Find values that no key can take, since the state, which is JSON, cannot hold them."""
    waiting: list[tuple[Path, Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        waiting.extend([((*path, key), inside) for key, inside in _inside(value)][::-1])
        if path and isinstance(path[-1], str) and "\0" in path[-1]:
            yield Diagnostic("value", "a key with a NUL character", path=path, at="key")
        if isinstance(value, str) and "\0" in value:
            yield Diagnostic("value", "a text with a NUL character", expected="a text without one", path=path)
        elif isinstance(value, int) and not -INT_LIMIT <= value < INT_LIMIT:
            yield Diagnostic("value", "a whole number that does not fit into 64 bits", path=path)
        elif isinstance(value, float) and not math.isfinite(value):
            yield Diagnostic("value", f"{value} is not a finite number", path=path)
        elif isinstance(value, datetime.datetime | datetime.date | datetime.time):
            hint = 'where a date is meant, write it as a text: "2026-01-31"'
            yield Diagnostic("value", "a date or time: no key takes one", hint=hint, path=path)


def _inside(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def validate(
    model: type[BaseModel], given: dict[str, Any], base: Path = (), job: str = "", partly: bool = False
) -> list[Diagnostic]:
    """Check a table against a model.

    Args:
        model: the model of a chain file, or of a job type's parameters.
        given: the table.
        base: its path in the document.
        job: the job type's name, if these are its parameters.
        partly: the table may be incomplete: only the keys present are checked.
    """
    try:
        model.model_validate(given)
    except ValidationError as error:
        schema = model.model_json_schema()
        found: dict[tuple[Any, ...], Diagnostic] = {}
        for problem in error.errors(include_url=False)[:MAX_FOUND]:
            path, value = _follow(given, problem["loc"])
            if partly and (problem["type"] == "missing" or not path):
                continue
            # A value that may have several types fails once for each; every missing key gets its own diagnostic.
            missing = problem["loc"] if problem["type"] == "missing" else None
            found.setdefault((path, missing), _Wording(schema, base, job).of(problem, path, value))
        return list(found.values())
    return []


def _follow(given: Any, loc: Sequence[str | int]) -> tuple[Path, Any]:
    """Follow pydantic's path as far as it leads through the document; the rest names the types that it tried."""
    path: Path = ()
    value = given
    for part in loc:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            break
        path = (*path, part)
    return path, value


class _Wording:
    """Puts pydantic's findings into words, with the help of the model's schema."""

    def __init__(self, schema: dict[str, Any], base: Path, job: str) -> None:
        self._schema = schema
        self._base = base
        self._job = job

    def of(self, problem: Any, path: Path, value: Any) -> Diagnostic:
        kind = problem["type"]
        place = (*self._base, *path)
        if kind == "missing" and isinstance(problem["loc"][len(path)], str):
            return self._missing(problem["loc"][len(path)], path, problem["loc"])
        if kind == "extra_forbidden":
            return self._unknown(path)
        if kind in ("value_error", "assertion_error"):  # "Value error, …": the message of the model's own check
            text = problem["msg"].partition(", ")[2] or problem["msg"]
            return Diagnostic("value", f"{_label(path)} is {show(value)}: {text}" if path else text, path=place)
        message = f"{_label(path)} is {show(value)}" if path else problem["msg"]
        if kind in ("missing", "too_short", "too_long", "string_too_short", "string_too_long"):
            message = f"{_label(path)} has {_count(value)}"
        here = schema_at(self._schema, path)
        expected = self._expected(path) or describe(here, self._schema.get("$defs", {})) or problem["msg"]
        hint = did_you_mean(value, _words_of(here)) if isinstance(value, str) else ""
        if place == ("phase",) and isinstance(value, dict):
            hint = "write [[phase]], with two brackets on each side"
        return Diagnostic("value", message, expected=expected, hint=hint, path=place)

    def _expected(self, path: Path) -> str:
        if self._job or not path:
            return ""
        if isinstance(path[-1], int):
            return EXPECTED_INSIDE.get(str(path[-2]), "")
        return EXPECTED.get(path[-1], "")

    def _missing(self, name: str, path: Path, loc: Path) -> Diagnostic:
        expected = self._expected(loc) or describe(schema_at(self._schema, loc), self._schema.get("$defs", {}))
        place = (*self._base, *path)
        if self._job and not path:
            message = f"{self._job} needs the parameter {cut(name)}"
        else:
            message = f"{_label(place) or 'the file'} has no {cut(name)}"
        return Diagnostic("value", message, expected=expected, path=place, at="key")

    def _unknown(self, path: Path) -> Diagnostic:
        key = str(path[-1])
        known = _keys_of(schema_at(self._schema, path[:-1]), self._schema.get("$defs", {}))
        if self._job and len(path) == 1:
            message = f"{self._job} has no parameter {show(key)}"
        else:
            message = f"unknown key {show(key)}"
        return Diagnostic(
            "value",
            message,
            expected=choices(known) if known else "",
            hint=did_you_mean(key, known),
            path=(*self._base, *path),
            at="key",
        )


def _label(path: Path) -> str:
    """Name a value in words: by its key, or as phase 2, or as element 3 of sources."""
    if not path:
        return ""
    last = path[-1]
    if isinstance(last, str):
        return cut(last)
    owner = _label(path[:-1])
    return f"phase {last + 1}" if owner == "phase" else f"element {last + 1} of {owner}"


def _count(value: Any) -> str:
    unit = "character" if isinstance(value, str) else "element"
    return f"{len(value):,} {unit}{'' if len(value) == 1 else 's'}"


def _keys_of(schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    return list(resolve(schema, definitions).get("properties", {}))


def _words_of(schema: dict[str, Any]) -> list[str]:
    return [str(word) for part in (schema, *schema.get("anyOf", [])) for word in part.get("enum", [])]
