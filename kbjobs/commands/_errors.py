"""Turns every exception into a message for a person and an exit code."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable

from kbjobs.errors import ExitCode, KbjobsError


def run_app(app: Callable[[], object]) -> None:
    """Run the app and exit; never a traceback unless ``--debug`` is given."""
    os.umask(0o077)
    debug = "--debug" in sys.argv[1:]
    try:
        app()
    except KbjobsError as error:
        if debug:
            raise
        say_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.CTRL_C)
    except BrokenPipeError:
        # The reader of our output (head, less) has enough. Python would complain at exit when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.DONE)
    except (OSError, sqlite3.Error) as error:
        if debug:
            raise
        what = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        print(f"Error: {what}", file=sys.stderr)
        print(
            "Check that the home is writable and its disk not full; kbjobs config path shows it.",
            file=sys.stderr,
        )
        sys.exit(ExitCode.UNAVAILABLE)
    except Exception as error:
        if debug:
            raise
        print(f"Error: unexpected {type(error).__name__}: {error}", file=sys.stderr)
        print("Run it again with kbjobs --debug … for the traceback, and report it.", file=sys.stderr)
        sys.exit(ExitCode.FAILED)


def say_error(error: KbjobsError) -> None:
    """Print the message and the next step on stderr."""
    print(f"Error: {printable(error.message)}", file=sys.stderr)
    if error.hint:
        print(printable(error.hint), file=sys.stderr)


def printable(text: str) -> str:
    """The text without control characters (but line feeds) and lone surrogates: safe on any terminal."""
    return "".join(
        character if character == "\n" or character.isprintable() else repr(character)[1:-1] for character in text
    )
