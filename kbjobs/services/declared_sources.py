"""Sources that are declared in a file: ``kbjobs sources apply sources.toml``.

A field that the file leaves out stays as it is, and an empty one is cleared, so the same file twice changes nothing.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError, UnavailableError, UsageError
from kbjobs.services.source_profiles import check_fields, read_scrape
from kbjobs.sources.registration import NOT_DESCRIBED, SourceFields, edit, register, register_site
from kbjobs.store.locks import lock_registered
from kbjobs.store.sources import Source, SourceFolder, check_source_id, list_sources

MAX_BYTES = 1 << 20
LOCK_SECONDS = 5.0
Action = Literal["add", "change", "keep", "remove"]


class _Fields(BaseModel):
    """A table of the file, before its paths and addresses are checked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    paths: list[str] | None = None
    url: str | None = None
    scrape: dict[str, Any] = {}
    name: str | None = None
    license: str | None = None
    base_url: str | None = None
    language_filter: str | None = None
    chain: str | None = None


@dataclass(frozen=True, slots=True)
class DeclaredSource:
    """A source as the file declares it; None for what it leaves out.

    Args:
        id: the source's id.
        paths: its absolute paths; empty for a site.
        scrape: the parameters of its scrapes, among them ``url``; empty for files.
        fields: name, license and so on.
    """

    id: str
    paths: tuple[str, ...]
    scrape: Mapping[str, Any]
    fields: SourceFields


@dataclass(frozen=True, slots=True)
class SourceChange:
    """What applying a file does, or would do, to a source; ``fields`` are the names of what changes."""

    source: str
    action: Action
    fields: tuple[str, ...] = ()


def read_declared(home: Home, path: Path) -> list[DeclaredSource]:
    """Read a file that declares sources: a table for each, named by its id.

    Args:
        home: the home, whose chains the sources may name.
        path: the file; paths in it are relative to its folder.

    Raises:
        UsageError: the file is no valid TOML, or a value is wrong; the message names the table and the key.
        UnavailableError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror}", "Name a file that declares sources.") from error
    if len(text) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES >> 20} MB", "Divide it into several files.")
    try:
        tables = tomllib.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}", "Correct it. Nothing was changed.") from error
    return [_read_table(home, path, source_id, table) for source_id, table in tables.items()]


def _read_table(home: Home, path: Path, source_id: str, table: object) -> DeclaredSource:
    def refuse(what: str, hint: str = "Correct it. Nothing was changed.") -> UsageError:
        return UsageError(f"{path}, [{source_id}]: {what}", hint)

    try:
        check_source_id(source_id)
        given = _Fields.model_validate(table)
        if (given.paths is None) is (given.url is None):
            raise refuse("it has paths and a url" if given.url else "it has neither paths nor a url", "Give one.")
        if given.scrape and given.url is None:
            raise refuse("scrape is for a source that has a url", "Give url instead of paths.")
        scrape = {} if given.url is None else read_scrape({"url": given.url, **given.scrape})
        said = SourceFields(given.name, given.license, given.base_url, given.chain, given.language_filter)
        fields = check_fields(home, said, path.parent)
    except ValidationError as error:
        first = error.errors()[0]
        raise refuse(f"{'.'.join(map(str, first['loc'])) or 'the table'}: {first['msg']}") from error
    except KbjobsError as error:
        if error.message.startswith(f"{path}, "):
            raise
        raise refuse(error.message, error.hint) from error
    paths = tuple(os.path.abspath(path.parent / Path(one).expanduser()) for one in given.paths or ())  # noqa: PTH100
    if given.paths is not None and not paths:
        raise refuse("paths is empty", "Name its folders or files.")
    for one in paths:
        if "\0" in one or not Path(one).exists():
            raise refuse(f"there is no {one!r}", "Paths are relative to the file's folder. Nothing was changed.")
    return DeclaredSource(source_id, paths, scrape, fields)


def plan_sources(home: Home, path: Path, declared: Sequence[DeclaredSource]) -> list[SourceChange]:
    """What applying a file would do to each source, in the file's order; then those that it no longer declares.

    Raises UnavailableError if a manifest is damaged.
    """
    present = {source.id: source for source in list_sources(home.sources)}
    origin = str(path.absolute())
    changes = [_plan_one(home, one, present.get(one.id), origin) for one in declared]
    names = {one.id for one in declared}
    gone = [source.id for source in present.values() if source.declared_in == origin and source.id not in names]
    return changes + [SourceChange(source_id, "remove") for source_id in gone]


def _plan_one(home: Home, declared: DeclaredSource, source: Source | None, origin: str) -> SourceChange:
    if source is None:
        return SourceChange(declared.id, "add")
    changed = [name for name, value in declared.fields.given().items() if value != getattr(source, name)]
    former = SourceFolder(home.sources, declared.id).read_scrape()
    changed += [f"scrape.{name}" for name, value in declared.scrape.items() if former.get(name) != value]
    if declared.paths and set(declared.paths) != set(source.paths):
        changed.append("paths")
    return SourceChange(declared.id, "change" if changed else "keep", tuple(changed))


def apply_source(home: Home, path: Path, declared: DeclaredSource, ask: Callable[[str], None]) -> SourceChange:
    """Make a source as it is declared.

    Args:
        home: the home.
        path: the file that declares it.
        declared: the source.
        ask: see :func:`kbjobs.sources.registration.register`.

    Raises:
        KbjobsError: it cannot be registered or changed, or a job is working on it; it is as it was.
    """
    folder = SourceFolder(home.sources, declared.id)
    origin = str(path.absolute())
    source = folder.read() if folder.manifest.exists() else None
    change = _plan_one(home, declared, source, origin)
    if source is None:
        if declared.paths:
            register(home, declared.id, [Path(one) for one in declared.paths], declared.fields, ask=ask)
        else:
            register_site(home, declared.id, declared.scrape, declared.fields)
    elif change.fields:
        _change(home, folder, source, declared, change, ask)
    if source is None or source.declared_in != origin:
        with lock_registered(folder, LOCK_SECONDS):
            folder.write(replace(folder.read(), declared_in=origin))
    return change


def _change(
    home: Home,
    folder: SourceFolder,
    source: Source,
    declared: DeclaredSource,
    change: SourceChange,
    ask: Callable[[str], None],
) -> None:
    fields = declared.fields
    if "paths" in change.fields:
        add = [Path(one) for one in declared.paths if one not in source.paths]
        drop = [Path(one) for one in source.paths if one not in declared.paths]
        edit(home, folder.id, add, drop, fields, ask)
    elif fields != NOT_DESCRIBED:
        edit(home, folder.id, described=fields)
    if declared.scrape:
        with lock_registered(folder, LOCK_SECONDS):
            folder.write_scrape({**folder.read_scrape(), **declared.scrape})
