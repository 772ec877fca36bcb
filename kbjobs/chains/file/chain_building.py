"""Build a chain from the tables of a chain file, or report all of its mistakes at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeGuard

from kbjobs.chains.chain import Chain, ChainPhase
from kbjobs.chains.diagnostics import Diagnostic, Path
from kbjobs.chains.file.model import MAX_PHASES, MAX_SOURCES, NAME_EXPECTED, NAME_PATTERN, ChainTable
from kbjobs.chains.file.parameter_errors import choices, did_you_mean, show
from kbjobs.chains.file.validation import JOB_EXPECTED, MAX_FOUND, nesting_problem, unusable_values, validate
from kbjobs.chains.library import built_in_names
from kbjobs.chains.phase_order import order_conflicts
from kbjobs.errors import KbjobsError
from kbjobs.phases.job_type import JobType, Params
from kbjobs.phases.names import INTERNAL, LEGACY, stands_for_two
from kbjobs.phases.registry import is_taken, job_type, job_types


@dataclass(frozen=True, slots=True)
class Built:
    """A chain, or the reasons there is none. ``kinds`` are the job types of its phases, None for an unknown one."""

    chain: Chain | None
    diagnostics: list[Diagnostic]
    kinds: list[JobType[Any] | None]


def build(document: dict[str, Any], stem: str, origin: str) -> Built:
    """Check the tables of a chain file and build a chain from them.

    Args:
        document: the tables, as tomllib parses them.
        stem: the chain's name if the file gives none.
        origin: where it was read, for people.
    """
    too_deep = nesting_problem(document)
    if too_deep is not None:
        return Built(None, [too_deep], [])
    return _Builder(document).build(stem, origin)


def job_spellings(kind: JobType[Any]) -> tuple[str, ...]:
    """All names that a chain file may use for a job type, legacy names included."""
    former = [old for old, names in LEGACY.items() if names == (kind.name,)]
    return tuple(spelling for name in (kind.name, *former) for spelling in _spellings(name))


def _spellings(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((name, name.replace("_", "-"))))


class _Builder:
    """Collects mistakes while it walks through a document whose values may be anything."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._found: dict[Path, list[Diagnostic]] = {}
        tables = document.get("phase")
        tables = tables[:MAX_PHASES] if isinstance(tables, list) else []  # the excess is reported once
        self._rows: list[dict[str, Any]] = [row if isinstance(row, dict) else {} for row in tables]
        defaults = document.get("defaults")
        self._defaults: dict[str, Any] = defaults if isinstance(defaults, dict) else {}

    def build(self, stem: str, origin: str) -> Built:
        for one in islice(unusable_values(self._document), MAX_FOUND):
            self._add(one)
        self._add_new(validate(ChainTable, self._document))
        name = self._name(stem)
        sources = self._sources()
        kinds = [self._job(row, ("phase", index, "job")) for index, row in enumerate(self._rows)]
        names = self._phase_names(kinds)
        self._refuse_idle_defaults(kinds)
        params = [
            self._params(index, kind, _without_dimension(row, kind))
            for index, (kind, row) in enumerate(zip(kinds, self._rows, strict=True))
        ]
        for one in order_conflicts(kinds):
            self._add(one)
        found = [one for those in self._found.values() for one in those]
        if found:
            return Built(None, found, kinds)
        table = ChainTable.model_validate(self._document)
        phases = []
        for row, kind, phase_name, checked in zip(table.phase, kinds, names, params, strict=True):
            assert kind is not None  # noqa: S101 — else something was found
            assert checked is not None  # noqa: S101
            weight = kind.weight if row.weight is None else row.weight
            phases.append(ChainPhase(kind, phase_name, checked, weight, row.on_error, row.retries))
        chain = Chain(name, tuple(phases), table.description, table.resumable, sources, origin)
        return Built(chain, [], kinds)

    def _add(self, one: Diagnostic) -> None:
        self._found.setdefault(one.path, []).append(one)

    def _add_new(self, found: Sequence[Diagnostic]) -> None:
        """Add diagnostics for values that have none yet."""
        known = set(self._found)
        for one in found:
            if one.path not in known or one.at == "key":
                self._add(one)

    def _name(self, stem: str) -> str:
        given = self._document.get("name")
        name = stem if given is None else given
        if not is_name(name):
            if given is None:
                self._add(
                    Diagnostic(
                        "value",
                        f"the file's name, {show(stem)}, cannot be the chain's",
                        expected=f'a line name = "…": {NAME_EXPECTED}',
                    )
                )
            return ""
        if is_taken(_plain(name)):
            of_file = Diagnostic(
                "value",
                f"the file's name, {show(name)}, is that of a job type",
                expected='a line name = "…" with a name of its own',
            )
            of_chain = Diagnostic(
                "value",
                f"{show(name)} is the name of a job type",
                expected="a name of its own for the chain",
                path=("name",),
            )
            self._add(of_file if given is None else of_chain)
        return _plain(name)

    def _sources(self) -> tuple[str, ...]:
        one, several = self._document.get("source"), self._document.get("sources")
        if one is not None and several is not None:
            self._add(
                Diagnostic(
                    "value",
                    "there is a source and there are sources",
                    expected="one of the two keys",
                    hint="put all ids into sources",
                    path=("sources",),
                    at="key",
                )
            )
        if not isinstance(several, list):
            return (one,) if isinstance(one, str) else ()
        seen = set()
        for index, source_id in enumerate(several[:MAX_SOURCES]):
            if isinstance(source_id, str) and source_id in seen:
                self._add(Diagnostic("value", f"{show(source_id)} appears twice", path=("sources", index)))
            elif isinstance(source_id, str):
                seen.add(source_id)
        return tuple(str(source_id) for source_id in several)

    def _dimension(self, row: dict[str, Any]) -> Any:
        """The dimension that decides which of two types a legacy name means."""
        params = row.get("params")
        own = params.get("dimension") if isinstance(params, dict) else None
        return self._defaults.get("dimension") if own is None else own

    def _job(self, row: dict[str, Any], path: Path) -> JobType[Any] | None:
        given = row.get("job")
        if not isinstance(given, str) or self._found.get(path):
            return None
        plain = _plain(given)
        if stands_for_two(plain) and set(LEGACY[plain]) <= set(built_in_names()):
            plain = LEGACY[plain][0]
        elif given in _spellings(plain) and is_taken(plain) and plain not in INTERNAL:
            try:
                return job_type(given, self._dimension(row))
            except KbjobsError as error:  # an ambiguous legacy name, or a broken type of another package
                self._add(Diagnostic("value", error.message, hint=error.hint, path=path))
                return None
        if plain in built_in_names():
            shown = f"kbjobs chains show {plain.replace('_', '-')}"
            self._add(
                Diagnostic(
                    "value",
                    f"{show(given)} is a combined job: a chain cannot contain another",
                    expected=JOB_EXPECTED,
                    hint=f"copy its phases instead: {shown}",
                    path=path,
                )
            )
            return None
        near = did_you_mean(given.replace("_", "-"), [kind.command for kind in job_types()])
        self._add(
            Diagnostic(
                "value",
                f"unknown job {show(given)}",
                expected=JOB_EXPECTED,
                hint=near or "kbjobs types lists them",
                path=path,
            )
        )
        return None

    def _phase_names(self, kinds: Sequence[JobType[Any] | None]) -> list[str]:
        """Name each phase; an unnamed one takes its job's name, with a number from the second on."""
        taken: dict[str, int] = {}
        for index, row in enumerate(self._rows):
            if not is_name(given := row.get("name")):
                continue
            if (name := _plain(given)) in taken:
                self._add(
                    Diagnostic(
                        "value",
                        f"phase {taken[name] + 1} is called {show(given)} too",
                        expected="a name of its own for each phase",
                        path=("phase", index, "name"),
                    )
                )
            taken.setdefault(name, index)
        names = []
        for index, (row, kind) in enumerate(zip(self._rows, kinds, strict=True)):
            if is_name(given := row.get("name")):
                names.append(_plain(given))
                continue
            base = kind.name if kind is not None else "phase"
            name, number = base, 1
            while name in taken:
                number += 1
                name = f"{base}_{number}"
            taken[name] = index
            names.append(name)
        return names

    def _refuse_idle_defaults(self, kinds: Sequence[JobType[Any] | None]) -> None:
        if not kinds or None in kinds:  # an unknown job might have taken it
            return
        known = list(dict.fromkeys(name for kind in kinds if kind for name in kind.params.model_fields))
        if any(_is_of_two(row) for row in self._rows):
            known.append("dimension")
        for name in list(self._defaults)[:MAX_FOUND]:
            if name not in known:
                self._add(
                    Diagnostic(
                        "value",
                        f"no phase has a parameter {show(name)}",
                        expected=choices(known) if known else "",
                        hint=did_you_mean(name, known),
                        path=("defaults", name),
                        at="key",
                    )
                )

    def _params(self, index: int, kind: JobType[Any] | None, own: Any) -> Params | None:
        """Check the parameters of a phase; its own override the defaults."""
        if kind is None or not isinstance(own, dict):
            return None
        base: Path = ("phase", index, "params")
        defaults = {name: value for name, value in self._defaults.items() if name in kind.params.model_fields}
        given = {**defaults, **own}
        problems = []
        for one in validate(kind.params, given, base, kind.command):
            name = one.path[3] if len(one.path) > 3 else None
            from_defaults = name is not None and name not in own
            problems.append(replace(one, path=("defaults", *one.path[3:])) if from_defaults else one)
        # A default that the phase overrides must be valid all the same.
        hidden = {name: value for name, value in defaults.items() if name in own}
        if hidden:
            problems += validate(kind.params, hidden, ("defaults",), kind.command, partly=True)
        self._add_new(problems)
        return None if problems else kind.params.model_validate(given)


def is_name(value: Any) -> TypeGuard[str]:
    """Whether a value can be the name of a chain or a phase."""
    return isinstance(value, str) and re.fullmatch(NAME_PATTERN.strip("^$"), value) is not None


def _is_of_two(row: dict[str, Any]) -> bool:
    """Whether a phase's job is a legacy name that stands for two types."""
    return isinstance(row.get("job"), str) and stands_for_two(row["job"])


def _without_dimension(row: dict[str, Any], kind: JobType[Any] | None) -> Any:
    """The parameters of a phase, without a dimension that only selects the type."""
    own = row.get("params", {})
    if kind is None or not isinstance(own, dict) or not _is_of_two(row) or "dimension" in kind.params.model_fields:
        return own
    return {name: value for name, value in own.items() if name != "dimension"}


def _plain(name: str) -> str:
    return name.replace("-", "_")
