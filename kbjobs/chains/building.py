"""From the tables of a chain file to a chain, with everything that is wrong in them at once."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from kbjobs.chains.chain import Chain, ChainPhase
from kbjobs.chains.checking import order_conflicts
from kbjobs.chains.diagnostics import Diagnostic, Path
from kbjobs.chains.library import built_in_names
from kbjobs.chains.model import NAME_EXPECTED, ChainTable, PhaseTable
from kbjobs.chains.wording import choices, cut, describe, did_you_mean, schema_at, show
from kbjobs.errors import KbjobsError
from kbjobs.phases.base import JobType, Params
from kbjobs.phases.names import INTERNAL, LEGACY
from kbjobs.phases.registry import is_taken, job_type, job_types

MAX_DEPTH = 32
INT_LIMIT = 2**63  # TOML 1.0: a whole number has 64 bits
SOURCE_EXPECTED = "a source's id: 1–63 of a–z, 0–9, '.', '_' and '-', a letter or digit first and last"
EXPECTED = {
    "name": NAME_EXPECTED,
    "source": SOURCE_EXPECTED,
    "sources": f"an array of 1 to 1,000 sources, each {SOURCE_EXPECTED}",
    "phase": "1 to 100 tables, each under a line [[phase]]",
    "job": "a job type, such as index-offline",
}


@dataclass(frozen=True, slots=True)
class Built:
    """A chain, or why there is none; ``kinds`` are the job types of its phases, None where nobody knows one."""

    chain: Chain | None
    diagnostics: list[Diagnostic]
    kinds: list[JobType | None]


def build(document: dict[str, Any], stem: str, origin: str) -> Built:
    """Check the tables of a chain file and make a chain of them.

    Args:
        document: as tomllib gives it.
        stem: the chain's name where the file gives none.
        origin: where it was read, for people.
    """
    found = list(_unusable_values(document))
    if any(one.message.startswith("nested") for one in found):
        return Built(None, found, [])
    unusable = [one.path for one in found]
    found += [one for one in _validate(ChainTable, document) if one.path not in unusable]
    name = _chain_name(document, stem, found)
    sources = _sources(document, found)
    kinds, phases = _phases(document, found, unusable)
    found += order_conflicts(kinds)
    if found:
        return Built(None, found, kinds)
    table = ChainTable.model_validate(document)
    chain = Chain(name, tuple(phases), table.description, table.resumable, sources, origin)
    return Built(chain, [], kinds)


def spellings(name: str) -> tuple[str, ...]:
    """How the name of a job type may be written."""
    return tuple(dict.fromkeys((name, name.replace("_", "-"))))


def job_spellings(kind: JobType) -> tuple[str, ...]:
    """All that a chain file may call a job type, former names included."""
    former = [old for old, names in LEGACY.items() if names == (kind.name,)]
    return tuple(spelling for name in (kind.name, *former) for spelling in spellings(name))


# -- values ---------------------------------------------------------------------------------------


def _unusable_values(document: dict[str, Any]) -> Iterator[Diagnostic]:
    """Values that no key of a chain file can take, wherever they are: they could not be kept in the state either."""
    waiting: list[tuple[Path, Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if len(path) > MAX_DEPTH:
            yield Diagnostic("value", "nested too deeply", expected=f"at most {MAX_DEPTH} levels", path=path)
            return
        if isinstance(value, dict):
            waiting.extend(((*path, key), inside) for key, inside in value.items())
            if any("\0" in key for key in value):
                yield Diagnostic("value", "a key with a NUL character", path=path, at="key")
        elif isinstance(value, list):
            waiting.extend(((*path, index), inside) for index, inside in enumerate(value))
        elif isinstance(value, str) and "\0" in value:
            yield Diagnostic("value", "a text with a NUL character", expected="a text without", path=path)
        elif isinstance(value, int) and not -INT_LIMIT <= value < INT_LIMIT:
            yield Diagnostic("value", "a whole number that does not fit into 64 bits", path=path)
        elif isinstance(value, float) and not math.isfinite(value):
            yield Diagnostic("value", f"{value} is not a number that can be used", expected="a number", path=path)
        elif isinstance(value, datetime.datetime | datetime.date | datetime.time):
            yield Diagnostic(
                "value",
                "a date or time; nothing here takes one",
                hint='write it as a text: "2026-01-31"',
                path=path,
            )


def _validate(model: type[BaseModel], given: dict[str, Any], base: Path = ()) -> list[Diagnostic]:
    """What the model says of the tables, in plain words."""
    try:
        model.model_validate(given)
    except ValidationError as error:
        schema = model.model_json_schema()
        found = {}
        for problem in error.errors(include_url=False):
            path, value = _follow(given, problem["loc"])
            # A value that may be of several kinds fails once for each.
            found.setdefault((path, problem["type"] == "missing"), _word(problem, path, value, schema, model, base))
        return list(found.values())
    return []


def _follow(given: Any, loc: Sequence[str | int]) -> tuple[Path, Any]:
    """The part of pydantic's path that leads through the document; the rest names kinds it tried."""
    path: Path = ()
    value = given
    for part in loc:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            break
        path = (*path, part)
    return path, value


def _word(
    problem: Any, path: Path, value: Any, schema: dict[str, Any], model: type[BaseModel], base: Path
) -> Diagnostic:
    what, loc = problem["type"], problem["loc"]
    key = str(path[-1]) if path else ""
    place = (*base, *path)
    if what == "missing":
        owner = _told(place) or "the file"
        expected = EXPECTED.get(str(loc[-1])) or describe(schema_at(schema, loc), schema.get("$defs"))
        hint = "begin it with a line [[phase]]" if not place and loc[-1] == "phase" else ""
        return Diagnostic(
            "value", f"{owner} has no {cut(str(loc[-1]))}", expected=expected, hint=hint, path=place, at="key"
        )
    if what == "extra_forbidden":
        known = _keys_at(schema, path[:-1])
        return Diagnostic(
            "value",
            f"unknown key {show(key)}",
            expected=choices(known) if known else "",
            hint=did_you_mean(key, known),
            path=place,
            at="key",
        )
    named = cut(key) if not isinstance(path[-1] if path else "", int) else _told(place)
    if what in ("value_error", "assertion_error"):
        told = problem["msg"].partition(", ")[2] or problem["msg"]
        return Diagnostic("value", f"{named} is {show(value)}: {told}" if named else told, path=place)
    owner_key = next((part for part in reversed(path) if isinstance(part, str)), "")
    expected = EXPECTED.get(owner_key, "") if model in (ChainTable, PhaseTable) else ""
    if isinstance(path[-1] if path else "", int) and owner_key == "sources":
        expected = SOURCE_EXPECTED
    if isinstance(path[-1] if path else "", int) and owner_key == "phase":
        expected = "a table under a line [[phase]]"
    expected = expected or describe(schema_at(schema, path), schema.get("$defs")) or problem["msg"]
    hint = did_you_mean(value, _words_of(schema_at(schema, path))) if isinstance(value, str) else ""
    if path == ("phase",) and model is ChainTable and isinstance(value, dict):
        hint = "write [[phase]], with two brackets on each side"
    message = f"{named} is {show(value)}"
    if what == "too_short" or what == "too_long":
        message = f"{named} has {len(value):,} elements"
    if what in ("string_too_long", "string_too_short"):
        message = f"{named} has {len(value):,} characters"
    return Diagnostic("value", message, expected=expected, hint=hint, path=place)


def _told(place: Path) -> str:
    """Where in the file, in words: phase 2, sources 3."""
    if len(place) >= 2 and isinstance(place[1], int):
        return f"{place[0]} {place[1] + 1}" if len(place) == 2 else f"{cut(str(place[-1]))} of {_told(place[:2])}"
    return ".".join(cut(str(part)) if isinstance(part, str) else str(part + 1) for part in place)


def _keys_at(schema: dict[str, Any], path: Path) -> list[str]:
    inside = schema_at(schema, path) if path else schema
    if "$ref" in inside:
        inside = schema.get("$defs", {}).get(inside["$ref"].rpartition("/")[2], {})
    return list(inside.get("properties", {}))


def _words_of(schema: dict[str, Any]) -> list[str]:
    parts = [schema, *schema.get("anyOf", [])]
    return [str(word) for part in parts for word in part.get("enum", [])]


# -- the chain itself -----------------------------------------------------------------------------


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and not _validate(PhaseTable, {"job": "x", "name": value})


def _chain_name(document: dict[str, Any], stem: str, found: list[Diagnostic]) -> str:
    given = document.get("name")
    if given is None:
        if not _is_name(stem):
            found.append(
                Diagnostic(
                    "value",
                    f"the file's name, {show(stem)}, cannot be the chain's",
                    expected=f'name = "…" in it: {NAME_EXPECTED}',
                )
            )
            return ""
        given = stem
    elif not _is_name(given):
        return ""
    name = str(given).replace("-", "_")
    if is_taken(name):
        from_file = "name" in document
        found.append(
            Diagnostic(
                "value",
                f"{show(given)} is the name of a job type" + ("" if from_file else ", and of this file"),
                expected="a name of its own for the chain",
                hint="" if from_file else 'give it one with name = "…"',
                path=("name",) if from_file else (),
            )
        )
    return name


def _sources(document: dict[str, Any], found: list[Diagnostic]) -> tuple[str, ...]:
    one, several = document.get("source"), document.get("sources")
    if one is not None and several is not None:
        found.append(
            Diagnostic(
                "value",
                "both source and sources",
                expected="one of them",
                hint="put all ids into sources",
                path=("sources",),
                at="key",
            )
        )
    seen: set[str] = set()
    for index, source_id in enumerate(several if isinstance(several, list) else []):
        if not isinstance(source_id, str):
            continue
        if source_id in seen:
            found.append(
                Diagnostic("value", f"source {show(source_id)} is there twice", path=("sources", index), hint="")
            )
        seen.add(source_id)
    if isinstance(one, str):
        return (one,)
    return tuple(seen and [str(source_id) for source_id in several or []])


# -- phases ---------------------------------------------------------------------------------------


def _phases(
    document: dict[str, Any], found: list[Diagnostic], unusable: list[Path]
) -> tuple[list[JobType | None], list[ChainPhase]]:
    tables = document.get("phase")
    rows = [row if isinstance(row, dict) else {} for row in tables] if isinstance(tables, list) else []
    kinds = [_find_job(row.get("job"), ("phase", index, "job"), found) for index, row in enumerate(rows)]
    defaults = document.get("defaults", {})
    defaults = defaults if isinstance(defaults, dict) else {}
    names = _phase_names(rows, kinds, found)
    found += _defaults_nobody_takes(defaults, kinds)
    phases = []
    for index, (row, kind, name) in enumerate(zip(rows, kinds, names, strict=True)):
        if kind is None:
            continue
        params = _phase_params(kind, row, defaults, index, found, unusable)
        if params is not None and not found:
            weight, retries = row.get("weight"), row.get("retries")
            on_error: Literal["stop", "continue"] = row.get("on_error", "stop")
            share = kind.weight if weight is None else float(weight)
            phases.append(ChainPhase(kind, name, params, share, on_error, retries))
    return kinds, phases


def _find_job(given: Any, path: Path, found: list[Diagnostic]) -> JobType | None:
    if not isinstance(given, str):
        return None
    plain = given.replace("-", "_")
    if plain in built_in_names() and not is_taken(plain):
        found.append(
            Diagnostic(
                "value",
                f"{show(given)} is a combined job; a chain holds no other chain",
                expected=EXPECTED["job"],
                hint=f"copy its phases: kbjobs chains show {given.replace('_', '-')}",
                path=path,
            )
        )
        return None
    if given in spellings(plain) and is_taken(plain) and plain not in INTERNAL:
        try:
            return job_type(given)
        except KbjobsError as error:
            found.append(Diagnostic("value", error.message, hint=error.hint, path=path))
            return None
    known = [spelling for kind in job_types() for spelling in (kind.command, *job_spellings(kind))]
    found.append(
        Diagnostic(
            "value",
            f"unknown job {show(given)}",
            expected=EXPECTED["job"],
            hint=did_you_mean(given.replace("_", "-"), [one for one in known if "_" not in one])
            or "kbjobs types lists them",
            path=path,
        )
    )
    return None


def _phase_names(rows: Sequence[dict[str, Any]], kinds: Sequence[JobType | None], found: list[Diagnostic]) -> list[str]:
    """Each phase's name; of those not given, the job's, with a number from the second on."""
    taken: dict[str, int] = {}
    for index, row in enumerate(rows):
        if not _is_name(row.get("name")):
            continue
        name = row["name"].replace("-", "_")
        if name in taken:
            found.append(
                Diagnostic(
                    "value",
                    f"phase {taken[name] + 1} is called {show(row['name'])} too",
                    expected="a name of its own for each phase",
                    path=("phase", index, "name"),
                )
            )
        taken.setdefault(name, index)
    names = []
    for index, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
        if _is_name(row.get("name")):
            names.append(row["name"].replace("-", "_"))
            continue
        base = kind.name if kind is not None else "phase"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken[name] = index
        names.append(name)
    return names


def _defaults_nobody_takes(defaults: dict[str, Any], kinds: Sequence[JobType | None]) -> list[Diagnostic]:
    if not kinds or None in kinds:  # a job nobody knows might have taken it
        return []
    known = list(dict.fromkeys(name for kind in kinds if kind for name in kind.params.model_fields))
    return [
        Diagnostic(
            "value",
            f"no phase has a parameter {show(name)}",
            expected=choices(known) if known else "",
            hint=did_you_mean(name, known),
            path=("defaults", name),
            at="key",
        )
        for name in defaults
        if name not in known
    ]


def _phase_params(
    kind: JobType,
    row: dict[str, Any],
    defaults: dict[str, Any],
    index: int,
    found: list[Diagnostic],
    unusable: list[Path],
) -> Params | None:
    """The parameters of a phase, those of its own before the defaults."""
    own = row.get("params", {})
    if not isinstance(own, dict):
        return None
    taken = {name: value for name, value in defaults.items() if name in kind.params.model_fields}
    base: Path = ("phase", index, "params")
    problems = [_of_type(one, kind, index) for one in _validate(kind.params, {**taken, **own}, base)]
    # Not only where it is used: a default that no phase could take is wrong.
    hidden = {name: value for name, value in taken.items() if name in own}
    problems += [
        _of_type(one, kind, index)
        for one in _validate(kind.params, hidden, ("defaults",))
        if hidden and len(one.path) > 1 and not one.message.startswith("defaults has no")
    ]
    wrong = False
    for one in problems:
        if len(one.path) > 3 and one.path[:3] == base and one.path[3] in taken and one.path[3] not in own:
            from dataclasses import replace

            one = replace(one, path=("defaults", *one.path[3:]))
        wrong = True
        if one.path not in unusable and all(other.path != one.path for other in found):
            found.append(one)
    return None if wrong else kind.params.model_validate({**taken, **own})


def _of_type(one: Diagnostic, kind: JobType, index: int) -> Diagnostic:
    """The same, told as a parameter of the job."""
    from dataclasses import replace

    for old, new in (
        ("unknown key ", f"{kind.command} has no parameter "),
        (f"params of phase {index + 1} has no ", f"{kind.command} needs the parameter "),
    ):
        if one.message.startswith(old):
            return replace(one, message=new + one.message.removeprefix(old))
    return one
