"""Parse the bytes of a chain file into tables: encoding and TOML syntax, with the place of the first mistake.

The values come from tomllib. Input that would overwhelm it is refused beforehand.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

from kbjobs.chains.diagnostics import Diagnostic, visible
from kbjobs.chains.file.positions import MAX_KEY_PARTS
from kbjobs.chains.file.validation import MAX_DEPTH

# tomllib keeps every prefix of a dotted key: a key of 100,000 parts takes all memory. The pattern never starts
# inside a word and never backtracks, so one pass is enough.
_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){%d}""" % MAX_KEY_PARTS  # noqa: UP031
)
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_YAML = re.compile(r"^(?:---\s*$|- |[ \t]*[\w-]+:(?:\s|$))", re.MULTILINE)


def decode(raw: bytes) -> tuple[str, Diagnostic | None]:
    """Decode the text, with line feeds as the only line ends, as tomllib sees it."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "", Diagnostic("syntax", "this is UTF-16", expected="UTF-8, the only encoding of TOML")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        shown = raw.decode(errors="backslashreplace").replace("\r\n", "\n")
        line = raw.count(b"\n", 0, error.start) + 1
        before = raw[raw.rfind(b"\n", 0, error.start) + 1 : error.start].decode(errors="backslashreplace")
        return shown, Diagnostic(
            "syntax",
            f"byte {error.start:,} (0x{raw[error.start]:02x}) is not UTF-8",
            line=line,
            column=len(before) + 1,
            length=4,
            expected="UTF-8, the only encoding of TOML",
        )
    text = text.replace("\r\n", "\n")
    if text.startswith("\ufeff"):
        # TOML 1.0's grammar has no byte order mark (toml.io/en/v1.0.0, ABNF); other readers would fail on it.
        return text, Diagnostic(
            "syntax",
            "the file begins with a byte order mark, which TOML 1.0 does not know",
            line=1,
            column=1,
            hint="save it as UTF-8 without a byte order mark (BOM)",
        )
    return text, None


# How a message of the parser begins, with plainer words, what it expected, and what to do.
_PLAINER = {
    "Expected '=' after a key": ("there is no = after the key", "key = value", ""),
    "Invalid value": ("this is not a value", "a text in quotes, a number, true, false, [ … ] or { … }", ""),
    "Invalid statement": ("this is neither a key nor a table", "key = value, [table] or [[phase]]", ""),
    "Expected newline or end of document": (
        "something follows where the line should end",
        "the end of the line, or a comment",
        "",
    ),
    "Illegal character '\\n'": ("the text does not end on its line", "a quotation mark at its end", ""),
    "Unescaped '\\'": (
        "a backslash that means nothing",
        "\\\\ for a backslash",
        "between single quotes a backslash is only a backslash",
    ),
}


def parse(text: str) -> tuple[dict[str, Any], Diagnostic | None]:
    """Parse a text into tables, or say why it is not TOML."""
    problem = _long_key(text)
    if problem is not None:
        return {}, problem
    try:
        return tomllib.loads(text), None
    except tomllib.TOMLDecodeError as error:
        return {}, _syntax_error(str(error), text)
    except RecursionError:
        line, column = _deepest(text)
        return {}, Diagnostic(
            "syntax", "nested too deeply", line=line, column=column, expected=f"at most {MAX_DEPTH} levels"
        )
    except ValueError:  # Python's own limit on digits
        digits = re.search(r"[+-]?\d[\d_]{1000,}", text)
        line, column = _place(text, digits.start() if digits else 0)
        return {}, Diagnostic(
            "value",
            "a whole number that does not fit into 64 bits",
            line=line,
            column=column,
            length=len(digits.group()) if digits else 1,
        )


def _long_key(text: str) -> Diagnostic | None:
    found = _LONG_KEY.search(text)
    if found is None:
        return None
    from kbjobs.chains.file.positions import locate

    positions = locate(text)
    if positions.long_keys:
        span = positions.span(positions.long_keys[0])
        line, column, length = span.line, span.column, span.length
    elif positions.has_error:  # whether this is a key is unknown
        (line, column), length = _place(text, found.start()), len(found.group())
    else:
        return None
    return Diagnostic(
        "syntax",
        "a key of too many parts",
        line=line,
        column=column,
        length=length,
        expected=f"at most {MAX_KEY_PARTS} parts",
    )


def _place(text: str, index: int) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _deepest(text: str) -> tuple[int, int]:
    """Find roughly where nesting gets too deep: the bracket at the limit of the first long run of them."""
    depth = 0
    for found in re.finditer(r"[\[\]{}]", text):
        depth = depth + 1 if found.group() in "[{" else max(0, depth - 1)
        if depth > MAX_DEPTH:
            return _place(text, found.start())
    return 1, 1


def _syntax_error(message: str, text: str) -> Diagnostic:
    """Report the parser's message with its place, or the kind of file if it is not TOML."""
    placed = _PLACE.search(message)
    if placed is not None and placed[1]:
        line, column = int(placed[1]), int(placed[2])
    else:
        line, column = _place(text.rstrip("\n"), len(text.rstrip("\n")))
    message = message[: placed.start()] if placed is not None else message
    hint = _other_format(text)
    if re.match("Cannot (overwrite|declare|mutate|redefine)", message):
        return _double(text, line, column)
    message, expected, more = _reworded(message, text, line, column)
    return Diagnostic("syntax", message, line=line, column=column, expected=expected, hint=hint or more)


def _other_format(text: str) -> str:
    start = text.lstrip()
    if start.startswith(("{", "[")):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            if start.startswith("{"):
                return "this looks like JSON; a chain file is TOML"
        else:
            return "this is JSON; a chain file is TOML"
    without = re.sub(r"^[ \t]*#.*\n?", "", text, flags=re.MULTILINE).lstrip("\n")
    if _YAML.match(without):
        return "this looks like YAML; a chain file is TOML"
    return ""


def _double(text: str, line: int, column: int) -> Diagnostic:
    """Find the key that appears twice: the last one that begins before the place where the parser noticed."""
    from kbjobs.chains.file.positions import locate

    positions = locate(text)
    at = (line - 1, len(text.split("\n", line)[line - 1][: column - 1].encode()))
    doubles = [(points, path, first) for path, points, first in positions.doubles if points[:2] <= at]
    if doubles:
        points, path, first = doubles[0]
        name = ".".join(part for part in path if isinstance(part, str))
        brackets = name == "phase" and text.split("\n")[points[0]][: points[1]].strip() == "["
        hint = "write [[phase]], with two brackets on each side" if brackets else ""
        hint = hint or f"the first is on line {first[0] + 1}"
        message, expected = f"{visible(name)} appears twice", ""
    else:
        keys = [points for points in positions.keys.values() if points[:2] <= at]
        if not keys:
            return Diagnostic("syntax", "a key appears twice", line=line, column=column)
        points = max(keys)
        message, expected = "this adds to what was complete already, or makes another kind of it", ""
        hint = "put it all into one place: an inline table or array cannot grow"
    span = positions.span(points)
    return Diagnostic(
        "syntax", message, line=span.line, column=span.column, length=span.length, expected=expected, hint=hint
    )


def _reworded(message: str, text: str, line: int, column: int) -> tuple[str, str, str]:
    """Put the parser's message in plainer words if possible; add what it expected and what to do."""
    for begin, words in _PLAINER.items():
        if message.startswith(begin):
            return words
    if message == "Invalid initial character for a key part":
        before = text.split("\n", line)[line - 1][: column - 1].rstrip()
        hint = "an inline table, { … }, stays on one line and has no comma at its end" if before[-1:] in "{," else ""
        return "this cannot begin a key", "a key, in quotes where it holds more than letters, digits, _ and -", hint
    return message[:1].lower() + message[1:], "", ""
