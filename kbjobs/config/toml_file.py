"""Read ``config.toml``: its values by name, and commands as lists of words."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from kbjobs.errors import UsageError


def read_config(path: Path) -> dict[str, object]:
    """Read the values of a file by name, those of a table as ``table.name``. A missing file has none.

    Raises UsageError if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return dict(flatten(tomllib.load(file)))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "Check the file's permissions.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}", "Correct the file, or move it away.") from error


def flatten(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values of a parsed file by name, those of a table as ``table.name``."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def read_words(name: str, raw: object, origin: str) -> tuple[str, ...]:
    """Read a command, which is written as a list of words.

    Args:
        name: the setting.
        raw: its value as the file has it.
        origin: where it is from, for errors.

    Returns:
        The program and its arguments; empty for none.

    Raises:
        UsageError: the value is not a list of words; the hint says how to write one.
    """
    words = tuple(raw) if isinstance(raw, list | tuple) else ()
    if not all(isinstance(word, str) and "\0" not in word for word in words) or (words and not words[0]):
        raise UsageError(f"{origin}: {name} is not a list of words", _example(name, ["notify.sh", "night"]))
    if isinstance(raw, list | tuple):
        return words
    raise UsageError(f"{origin}: {name} = {raw!r} is not a list of words", _example(name, _split(raw)))


def _split(raw: object) -> list[str]:
    try:
        return shlex.split(str(raw)) or ["notify.sh"]
    except ValueError:  # an unclosed quotation
        return str(raw).split()


def _example(name: str, words: list[str]) -> str:
    # JSON's list of strings is also valid TOML (toml.io/en/v1.0.0, "String").
    return f"No shell reads it: write each word by itself, {name} = {json.dumps(words, ensure_ascii=False)}"
