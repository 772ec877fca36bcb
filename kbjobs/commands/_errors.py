"""Turns every exception into a message for a person and an exit code."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import sqlite3
import sys
from collections.abc import Callable
from typing import IO, Any

from kbjobs.errors import ExitCode, KbjobsError, UnavailableError


def run_app(app: Callable[[], object]) -> None:
    """Run the app and exit; never a traceback unless ``--debug`` is given."""
    os.umask(0o077)
    _prepare_streams()
    code = _run(app, debug="--debug" in sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        say_error(
            KbjobsError(
                f"the output could not be written: {error.strerror}",
                "Check where it goes, such as a full disk. The command itself may have succeeded.",
            )
        )
        code = code or ExitCode.FAILED
    sys.exit(code)


def _run(app: Callable[[], object], debug: bool) -> int:
    try:
        app()
    except SystemExit as ended:
        # The reader of our output (head, less) has enough: Typer makes that an exit of its own.
        if isinstance(ended.__context__, BrokenPipeError):
            return ExitCode.DONE
        return ended.code if isinstance(ended.code, int) else ExitCode.DONE
    except KeyboardInterrupt:
        return ExitCode.CTRL_C
    except Exception as error:
        if debug:
            raise
        known = _explain(error)
        say_error(known)
        if more := name_help(known.message):
            print_message(more)
        return known.exit_code
    return ExitCode.DONE


def _explain(error: Exception) -> KbjobsError:
    if isinstance(error, KbjobsError):
        return error
    if isinstance(error, (OSError, sqlite3.Error)):
        what = str(error)
        if isinstance(error, OSError) and error.strerror:
            what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        hint = "Check that the home is writable and its disk not full; kbjobs config path shows it."
        return UnavailableError(what, hint)
    hint = "Run it again with kbjobs --debug … for the traceback, and report it."
    return KbjobsError(f"unexpected {type(error).__name__}: {error}", hint)


def _prepare_streams() -> None:
    # A file opened later would take the place of a closed stream, and get what is printed to it.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115, PTH123
    # Names of files may be any bytes, and a terminal may know few characters.
    codecs.register_error("kbjobs.escape", _escape)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="kbjobs.escape")


def _escape(error: UnicodeError) -> tuple[str, int]:
    # Written as JSON would write it, so that JSON stays JSON.
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)), error.end


def discard(stream: IO[Any]) -> None:
    """Send the rest of a stream whose reader has gone to nowhere: else Python complains of it at exit."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def print_message(text: str) -> None:
    """Print on stderr, safely for any terminal. A reader that has gone is no reason to stop."""
    try:
        print(printable(text), file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def say_error(error: KbjobsError) -> None:
    """Print the message and the next step on stderr."""
    print_message(error.message if error.says_error else f"Error: {error.message}")
    if error.hint:
        print_message(error.hint)


def name_help(message: str) -> str:
    """Where more is said about a message, as a line for a person; empty if the pages do not quote it."""
    from kbjobs.services.help_pages import find_symptom

    symptom = find_symptom(message)
    return f"More: kbjobs help {symptom.slug}" if symptom else ""


# Control characters but line feeds, line and paragraph separators, what turns the direction of the text around it (the
# overrides, embeddings and isolates of Unicode Standard Annex 9), and lone surrogates. Joiners and marks stay: words of
# Persian and many an emoji are spelled with them.
_UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with an escape for each character that can do harm on a terminal."""
    return _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)
