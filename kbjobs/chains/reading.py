"""Reading chain files. Whatever is in them, the answer is a chain or a list of what is wrong."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kbjobs.chains.building import build
from kbjobs.chains.chain import Chain
from kbjobs.chains.checking import order_warnings
from kbjobs.chains.diagnostics import MAX_KEPT, Diagnostic, render_all
from kbjobs.chains.validation import MAX_DEPTH
from kbjobs.errors import NotFoundError, UsageError

MAX_BYTES = 256 * 1024
MAX_KEY_PARTS = 32
# tomllib keeps every prefix of a dotted key: one of 100,000 parts takes all memory. Starts at no word's middle,
# and gives nothing back, so that it takes a single pass.
_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){%d}""" % MAX_KEY_PARTS  # noqa: UP031
)
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_YAML = re.compile(r"^(?:---\s*$|- |[ \t]*[\w-]+:(?:\s|$))", re.MULTILINE)


class ChainFileError(UsageError):
    """A chain file that cannot be used; ``diagnostics`` are its mistakes, the message shows all of them."""

    def __init__(self, diagnostics: list[Diagnostic], origin: str, text: str) -> None:
        super().__init__(render_all(diagnostics, origin, text))
        self.diagnostics = diagnostics
        self.origin = origin
        self.text = text


@dataclass(frozen=True, slots=True)
class ChainFile:
    """What a chain file holds: the chain, where it is one, and what is to be said of it, in the file's order."""

    origin: str
    text: str
    chain: Chain | None
    diagnostics: list[Diagnostic]

    @property
    def has_errors(self) -> bool:
        """Whether it cannot be run."""
        return self.chain is None

    def with_more(self, found: list[Diagnostic]) -> ChainFile:
        """The same with more to be said of it; what has a path is given its place."""
        return replace(self, diagnostics=_placed(self.diagnostics + found, self.text))

    def render(self) -> str:
        """Errors and warnings for a person."""
        return render_all(self.diagnostics, self.origin, self.text)


def read_chain(path: Path) -> Chain:
    """The chain of a file. Raises ChainFileError with all its mistakes, or NotFoundError."""
    return _chain_of(examine_chain(path))


def parse_chain(content: str | bytes, origin: str, stem: str) -> Chain:
    """The chain in a text. Raises ChainFileError.

    Args:
        content: what a chain file would hold.
        origin: where it is from, for people.
        stem: the chain's name where the text gives none.
    """
    return _chain_of(examine_text(content, origin, stem))


def _chain_of(found: ChainFile) -> Chain:
    if found.chain is None:
        errors = [one for one in found.diagnostics if one.severity == "error"]
        raise ChainFileError(errors, found.origin, found.text)
    return found.chain


def examine_chain(path: Path) -> ChainFile:
    """Read a chain file and say all that is to be said of it, warnings too. Raises NotFoundError."""
    origin = str(path)
    try:
        # A FIFO would keep us waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"there is no file {origin}", "kbjobs chains list shows the chains there are.") from None
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else "no name of a file"
        return _refused("file", f"cannot be read: {told}", origin)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return _refused("file", "not a regular file", origin, expected="a chain file, in TOML")
        try:
            content = file.read(MAX_BYTES + 1)
        except OSError as error:
            return _refused("file", f"cannot be read: {error.strerror}", origin)
    return examine_text(content, origin, path.stem)


def examine_text(content: str | bytes, origin: str, stem: str) -> ChainFile:
    """The same for a text."""
    raw = content.encode(errors="surrogatepass") if isinstance(content, str) else content
    if len(raw) > MAX_BYTES:
        return _refused("file", f"larger than {MAX_BYTES // 1024} KB", origin, expected="a chain file, in TOML")
    text, problem = _decode(raw)
    if problem is None:
        document, problem = _parse(text)
    if problem is not None:
        return ChainFile(origin, text, None, [problem])
    built = build(document, stem, origin)
    found = built.diagnostics + order_warnings(built.kinds)
    return ChainFile(origin, text, built.chain, _placed(found, text) if found else [])


def _refused(kind: Any, message: str, origin: str, expected: str = "") -> ChainFile:
    return ChainFile(origin, "", None, [Diagnostic(kind, message, expected=expected)])


def _placed(found: list[Diagnostic], text: str) -> list[Diagnostic]:
    """With lines and columns, in the order of the file."""
    from kbjobs.chains.positions import locate

    positions = locate(text)
    places = [(positions.find(one.path, one.at), one) for one in found]
    places.sort(key=lambda place: place[0] or (-1, 0, 0, 0))  # those without a place come first
    placed = []
    for points, one in places[:MAX_KEPT]:
        if points is not None:
            span = positions.span(points)
            one = replace(one, line=span.line, column=span.column, length=span.length)
        placed.append(one)
    return placed


# -- bytes and syntax -----------------------------------------------------------------------------


def _decode(raw: bytes) -> tuple[str, Diagnostic | None]:
    """The text with line feeds as the only ends of lines, as tomllib sees it."""
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
        # The grammar of TOML 1.0 has no such mark (toml.io/en/v1.0.0, ABNF), and other readers would stumble over it.
        return text, Diagnostic(
            "syntax",
            "the file begins with a byte order mark, which TOML 1.0 does not know",
            line=1,
            column=1,
            hint="save it as UTF-8 without a byte order mark (BOM)",
        )
    return text, None


def _parse(text: str) -> tuple[dict[str, Any], Diagnostic | None]:
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
    except ValueError:  # Python's own limit of digits
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
    from kbjobs.chains.positions import locate

    positions = locate(text)
    if positions.long_keys:
        span = positions.span(positions.long_keys[0])
        line, column, length = span.line, span.column, span.length
    elif positions.has_error:  # it cannot be told whether that is a key
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
    """About where the nesting is too deep: the bracket at the limit of the first long run of them."""
    depth = 0
    for found in re.finditer(r"[\[\]{}]", text):
        depth = depth + 1 if found.group() in "[{" else max(0, depth - 1)
        if depth > MAX_DEPTH:
            return _place(text, found.start())
    return 1, 1


def _syntax_error(message: str, text: str) -> Diagnostic:
    """The parser's message with its place, or what kind of file it is instead of TOML."""
    placed = _PLACE.search(message)
    if placed is not None and placed[1]:
        line, column = int(placed[1]), int(placed[2])
    else:
        line, column = _place(text.rstrip("\n"), len(text.rstrip("\n")))
    told = message[: placed.start()] if placed is not None else message
    hint = _other_format(text)
    double = _double(text, line, column) if re.match("Cannot (overwrite|declare|mutate|redefine)", told) else None
    if double is not None:
        return double
    told, expected = _reworded(told, text, line)
    return Diagnostic("syntax", told, line=line, column=column, expected=expected, hint=hint)


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


def _double(text: str, line: int, column: int) -> Diagnostic | None:
    """Which key is there twice: the last one that ends before the place where the parser noticed."""
    from kbjobs.chains.positions import locate

    positions = locate(text)
    before = [
        (path, span, first)
        for path, points, first_points in positions.doubles[:1000]
        for span, first in [(positions.span(points), positions.span(first_points))]
        if (span.line, span.column) <= (line, column)
    ]
    if not before:
        return None
    path, span, first = before[0]
    return Diagnostic(
        "syntax",
        f"{'.'.join(str(part) for part in path if isinstance(part, str))} is there twice",
        line=span.line,
        column=span.column,
        length=span.length,
        hint=f"the first is on line {first.line}",
    )


def _reworded(told: str, text: str, line: int) -> tuple[str, str]:
    """The parser's words, where they could be plainer, and what it expected."""
    if told.startswith("Expected '=' after a key"):
        return "there is no = after the key", "key = value"
    if told == "Invalid value":
        return "this is not a value", "a text in quotes, a number, true, false, [ … ] or { … }"
    if told == "Invalid statement":
        return "this is neither a key nor a table", "key = value, [table] or [[phase]]"
    if told.startswith("Expected newline or end of document"):
        return "something follows where the line should end", "the end of the line, or a comment"
    return told[:1].lower() + told[1:], ""
