"""The text to translate: given directly, in a file, or on stdin, in UTF-8."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kbjobs.errors import NotFoundError, UsageError

PIECE = 64 * 1024
"""Bytes read at a time."""
MAX_NAME = 4_096
"""Longest path in bytes (path_resolution(7)); anything longer is a text."""
_SUFFIXES = (".txt", ".md", ".markdown", ".rst", ".html", ".htm", ".xhtml", ".adoc", ".tex", ".csv", ".srt")


@contextmanager
def open_text(given: str) -> Iterator[Iterator[str]]:
    """Open a text, to be read in pieces.

    Args:
        given: ``-`` for stdin, the path of a file, or the text itself.
    Raises:
        NotFoundError: it looks like a file name, and there is no such file.
        UsageError: it is empty, a folder, or not UTF-8.
    """
    if given == "-":
        yield _decode(sys.stdin.buffer, "stdin")
        return
    if not given.strip():
        raise UsageError("there is nothing to translate", "Give a text, a file, or - for stdin.")
    path = Path(given)
    if _may_be_path(given) and path.is_dir():
        raise UsageError(f"{given} is a folder", "Name a file, or give a text.")
    if not _may_be_path(given) or not path.exists():
        if given.endswith(_SUFFIXES) and not any(letter.isspace() for letter in given):
            raise NotFoundError(f"there is no file {given}", "A text of one word that ends so: give it on stdin, as -.")
        yield iter([given])
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {given}: {error.strerror}", "Check its permissions.") from error
    with file:
        if file.seekable():  # check all of it before anything is translated
            for _ in _decode(file, given):
                pass
            file.seek(0)
        yield _decode(file, given)


def _may_be_path(given: str) -> bool:
    return "\0" not in given and "\n" not in given and len(os.fsencode(given)) < MAX_NAME


def _decode(file: IO[bytes], name: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    place = 0
    while True:
        content = file.read1(PIECE) if hasattr(file, "read1") else file.read(PIECE)
        held = len(decoder.getstate()[0])
        try:
            text = decoder.decode(content, final=not content)
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{name} is not UTF-8: the byte {error.object[error.start]:#04x} at {place - held + error.start:,} does"
                " not fit",
                "Convert it first, for example: iconv -f ISO-8859-1 -t UTF-8 FILE",
            ) from error
        place += len(content)
        if text:
            yield text
        if not content:
            return
