"""What a person may have meant who wrote the name of a job type where a command stands."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from difflib import get_close_matches

from kbjobs.chains.library import built_in_names
from kbjobs.commands._errors import printable
from kbjobs.errors import UsageError
from kbjobs.phases.names import LEGACY
from kbjobs.phases.registry import job_types

SHORTEST_PART = 3  # letters; a shorter word is part of too many names


def refuse_job_type(arguments: Sequence[str], commands: Collection[str]) -> None:
    """Raise UsageError with the right command if the first argument means a job type and no command is nearer.

    Args:
        arguments: what was written after ``kbjobs``; the first names no command.
        commands: the names of the commands.
    """
    written = arguments[0].lower().replace("_", "-")
    meant = _find_type(written)
    if meant is None or (meant != written and get_close_matches(written, commands, 1, 0.8)):
        return
    rest = " ".join(map(shlex.quote, arguments[1:]))
    raise UsageError(
        f"there is no command {printable(arguments[0])!r}",
        f"Did you mean kbjobs run {meant}{' ' + printable(rest) if rest else ''}?",
    )


def _find_type(written: str) -> str | None:
    names = [kind.command for kind in job_types()] + [name.replace("_", "-") for name in built_in_names()]
    if written in names:
        return written
    if (
        written.replace("-", "_") in LEGACY
        and (today := LEGACY[written.replace("-", "_")][0].replace("_", "-")) in names
    ):
        return today
    if len(written) >= SHORTEST_PART:
        parts = [name for name in names if name.startswith(written)] or [name for name in names if written in name]
        if parts:
            return parts[0]
    return next(iter(get_close_matches(written, names, 1)), None)
