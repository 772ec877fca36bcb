"""Read chain files. Whatever a file contains, the result is a chain or a list of mistakes."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kbjobs.chains.chain import Chain
from kbjobs.chains.diagnostics import MAX_KEPT, Diagnostic, render_all
from kbjobs.chains.file.chain_building import build
from kbjobs.chains.file.syntax import decode, parse
from kbjobs.chains.file.validation import PHASES_EXPECTED
from kbjobs.chains.library import built_in_names, find_built_in
from kbjobs.chains.phase_order import order_warnings
from kbjobs.errors import NotFoundError, UsageError

MAX_BYTES = 256 * 1024


class ChainFileError(UsageError):
    """A chain file that cannot be used. ``diagnostics`` are its mistakes; the message shows all of them."""

    says_error = True

    def __init__(self, diagnostics: list[Diagnostic], origin: str, text: str) -> None:
        super().__init__(render_all(diagnostics, origin, text))
        self.diagnostics = diagnostics
        self.origin = origin
        self.text = text


@dataclass(frozen=True, slots=True)
class ChainFile:
    """A chain file's chain, if it is one, and its errors and warnings in the file's order."""

    origin: str
    text: str
    chain: Chain | None
    diagnostics: list[Diagnostic]

    @property
    def has_errors(self) -> bool:
        """Whether the chain cannot be run."""
        return self.chain is None

    def with_more(self, found: list[Diagnostic]) -> ChainFile:
        """Add diagnostics; those with a path get their place in the text."""
        return replace(self, diagnostics=_placed(self.diagnostics + found, self.text))

    def render(self) -> str:
        """Render errors and warnings for a person."""
        return render_all(self.diagnostics, self.origin, self.text)


def read_chain(path: Path) -> Chain:
    """Read a chain file. Raises ChainFileError with all its mistakes, or NotFoundError."""
    return _chain_of(examine_chain(path))


def read_built_in_chains() -> list[Chain]:
    """Read the chains that come with kbjobs, by name."""
    return [read_chain(find_built_in(name)) for name in built_in_names()]


def read_chain_with_warnings(path: Path) -> tuple[Chain, str]:
    """Read a chain file, with its warnings for people, or "" if there are none. Raises as :func:`read_chain` does."""
    found = examine_chain(path)
    return _chain_of(found), found.render() if found.diagnostics else ""


def parse_chain(content: str | bytes, origin: str, stem: str) -> Chain:
    """Read the chain in a text. Raises ChainFileError.

    Args:
        content: what a chain file would hold.
        origin: where it is from, for people.
        stem: the chain's name if the text gives none.
    """
    return _chain_of(examine_text(content, origin, stem))


def _chain_of(found: ChainFile) -> Chain:
    if found.chain is None:
        errors = [one for one in found.diagnostics if one.severity == "error"]
        raise ChainFileError(errors, found.origin, found.text)
    return found.chain


def examine_chain(path: Path) -> ChainFile:
    """Read a chain file and collect every error and warning. Raises NotFoundError."""
    origin = str(path)
    try:
        # Opening a FIFO would block.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"there is no file {origin}", "kbjobs chains list shows all chains.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no name of a file"
        return _refused("file", f"cannot be read: {reason}", origin)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return _refused("file", "not a regular file", origin, expected="a chain file, in TOML")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        return _refused("file", f"cannot be read: {error.strerror}", origin)
    finally:
        os.close(descriptor)
    return examine_text(content, origin, path.stem)


def examine_text(content: str | bytes, origin: str, stem: str) -> ChainFile:
    """Read the text of a chain file and collect every error and warning.

    Args:
        content: the text, or the file's bytes.
        origin: the file's name, for people.
        stem: the chain's name if the file gives none.
    """
    raw = content.encode(errors="surrogatepass") if isinstance(content, str) else content
    if len(raw) > MAX_BYTES:
        return _refused("file", f"larger than {MAX_BYTES // 1024} KB", origin, expected="a chain file, in TOML")
    text, problem = decode(raw)
    if problem is None:
        document, problem = parse(text)
    if problem is not None:
        return ChainFile(origin, text, None, [problem])
    if not text.strip():
        hint = "kbjobs chains new NAME writes one to begin with"
        return ChainFile(
            origin, text, None, [Diagnostic("value", "the file is empty", expected=PHASES_EXPECTED, hint=hint)]
        )
    built = build(document, stem, origin)
    found = built.diagnostics + order_warnings(built.kinds)
    return ChainFile(origin, text, built.chain, _placed(found, text) if found else [])


def _refused(kind: Any, message: str, origin: str, expected: str = "") -> ChainFile:
    return ChainFile(origin, "", None, [Diagnostic(kind, message, expected=expected)])


def _placed(found: list[Diagnostic], text: str) -> list[Diagnostic]:
    """Give diagnostics their lines and columns, in the order of the file."""
    from kbjobs.chains.file.positions import locate

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
