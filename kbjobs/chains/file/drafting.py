"""New chain files, for people to fill in."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from kbjobs.chains.file.chain_building import is_name
from kbjobs.chains.file.chain_reading import parse_chain
from kbjobs.chains.file.model import NAME_EXPECTED
from kbjobs.chains.file.schema import chain_schema
from kbjobs.errors import UnavailableError, UsageError
from kbjobs.phases.registry import is_taken, job_type

SCHEMA_FILE = "chain.schema.json"
HEAD = """\
#:schema ./{schema}
# kbjobs chains validate {file}    then    kbjobs chain {file} --source SOURCE

name = "{name}"
description = ""
resumable = true # --resume goes on where an earlier job of it stopped
"""


def draft_chain(name: str, jobs: Sequence[str]) -> str:
    """Write the text of a new chain file with a phase for each job. Raises UsageError."""
    if not is_name(name):
        raise UsageError(f"{name!r} is not a name for a chain", f"It has {NAME_EXPECTED}.")
    if is_taken(name.replace("-", "_")):
        raise UsageError(f"{name!r} is the name of a job type", "Choose another name for the chain.")
    parts = [HEAD.format(schema=SCHEMA_FILE, file=f"{name}.toml", name=name.replace("-", "_"))]
    for job in jobs:
        kind = job_type(job)
        lines = ["[[phase]]", f'job = "{kind.name}" # {kind.label}', f"weight = {kind.weight:g}"]
        if kind.params.model_fields:
            lines.append(f"# params = {{ }}    {', '.join(kind.params.model_fields)}")
        parts.append("\n".join(lines) + "\n")
    text = "\n".join(parts)
    parse_chain(text, f"{name}.toml", name)
    return text


def schema_text() -> str:
    """The text of :data:`SCHEMA_FILE`."""
    return json.dumps(chain_schema(), indent=2, ensure_ascii=False) + "\n"


def write_chain(folder: Path, name: str, text: str) -> list[Path]:
    """Write a chain file, and the schema next to it unless one exists.

    Args:
        folder: the folder, created if missing.
        name: the chain's name, which is the file's without ``.toml``.
        text: the file's text.

    Returns:
        The files written.

    Raises:
        UsageError: a file of that name exists.
        UnavailableError: the folder or a file cannot be written.
    """
    target = folder / f"{name}.toml"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _write_new(target, text):
            raise UsageError(f"{target} is there already", "Choose another name, or remove it. Nothing was changed.")
        schema = folder / SCHEMA_FILE
        written = _write_new(schema, schema_text())
    except OSError as error:
        raise UnavailableError(
            f"{error.filename or target} cannot be written: {error.strerror}",
            "Change to a folder of your own, or use --home.",
        ) from error
    return [target, schema] if written else [target]


def _write_new(path: Path, text: str) -> bool:
    """Create a file unless the path exists. Return whether it was created."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return True
