"""pydantic's findings in plain words: what the value is, and what would be right."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

MAX_TEXT = 40  # characters of a text that are shown
MAX_CHOICES = 20
KINDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "an array",
    "object": "a table",
}


def show(value: Any) -> str:
    """Show a value of a TOML document, cut short; tables and arrays only by kind."""
    if isinstance(value, str):
        short = value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"
        return json.dumps(short, ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**18 else "a huge number"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return "a date or time"
    return "nothing"


def cut(text: str) -> str:
    """Cut a key to the length that is shown."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Ask about the nearest correct word; return "" if none is near."""
    if len(word) > 4 * MAX_TEXT:
        return ""
    near = get_close_matches(word.lower(), sorted(set(words)), 1)
    return f"did you mean {near[0]}?" if near else ""


def choices(words: Sequence[Any]) -> str:
    """List words as a choice: a, b or c."""
    shown = [str(word) for word in words]
    if len(shown) > MAX_CHOICES:
        return f"one of {', '.join(shown[:MAX_CHOICES])} …"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def describe(schema: dict[str, Any], definitions: dict[str, Any] | None = None) -> str:
    """Describe in words what a JSON Schema asks for; return "" if no short description exists."""
    definitions = schema.get("$defs", {}) if definitions is None else definitions
    if "$ref" in schema:
        return describe(definitions.get(schema["$ref"].rpartition("/")[2], {}), {})
    if "anyOf" in schema:
        parts = [describe(part, definitions) for part in schema["anyOf"] if part.get("type") != "null"]
        return choices(parts) if all(parts) and parts else ""
    if "enum" in schema or "const" in schema:
        found = schema.get("enum", [schema.get("const")])
        return choices([json.dumps(one, ensure_ascii=False) for one in found])
    kind = schema.get("type")
    words = KINDS.get(kind, "") if isinstance(kind, str) else ""
    if kind in ("integer", "number"):
        return words + _bounds(schema)
    if kind == "array" and "prefixItems" in schema:
        parts = [describe(part, definitions) or "a value" for part in schema["prefixItems"]]
        return f"{words} of {', then '.join(parts)}"
    if kind == "array" and (inside := describe(schema.get("items", {}), definitions)):
        return f"{words}, each {inside}"
    if kind == "string":
        return words + _lengths(schema)
    return words


def _bounds(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {_number(low)} to {_number(high)}"
    if low is not None:
        return f" of at least {_number(low)}"
    if high is not None:
        return f" of at most {_number(high)}"
    low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    bounds = [f"above {_number(low)}" if low is not None else "", f"below {_number(high)}" if high is not None else ""]
    return "".join(f" {part}" for part in (" and ".join(filter(None, bounds)),) if part)


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _lengths(schema: dict[str, Any]) -> str:
    if "pattern" in schema:
        return f" of the form {schema['pattern']}"
    low, high = schema.get("minLength"), schema.get("maxLength")
    if low is not None and high is not None:
        return f" of {low} to {high} characters"
    if low is not None:
        return f" of at least {low} characters"
    return f" of at most {high} characters" if high is not None else ""


def schema_at(schema: dict[str, Any], path: Sequence[str | int]) -> dict[str, Any]:
    """Find the part of a JSON Schema that describes the value at a path; {} if unknown."""
    definitions = schema.get("$defs", {})
    here = schema
    for part in path:
        here = resolve(here, definitions)
        found = here.get("items") if isinstance(part, int) else here.get("properties", {}).get(part)
        if not isinstance(found, dict):
            return {}
        here = found
    return here


def resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Resolve a reference, or a choice between one schema and null."""
    real = [part for part in schema.get("anyOf", []) if part.get("type") != "null"]
    if len(real) == 1:
        schema = real[0]
    if "$ref" in schema:
        found: dict[str, Any] = definitions.get(schema["$ref"].rpartition("/")[2], {})
        return found
    return schema
