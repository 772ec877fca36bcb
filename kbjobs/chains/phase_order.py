"""The order of phases: which jobs had better come before others, and which may not follow others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kbjobs.chains.diagnostics import Diagnostic, Fix
from kbjobs.phases.job_type import JobType

ANYTHING = "*"


def order_warnings(kinds: Sequence[JobType[Any] | None]) -> list[Diagnostic]:
    """A warning for each pair of types of which the second had better come first. None is a type nobody knows.

    Repeated jobs are right wherever one that should come first does so once.
    """
    found = []
    warned = set()
    for index, kind in enumerate(kinds):
        if kind is None:
            continue
        before = {one.name for one in kinds[:index] if one is not None}
        for number, other in enumerate(kinds[index + 1 :], start=index + 1):
            if other is None or other.name == kind.name or other.name in before or (kind.name, other.name) in warned:
                continue
            # Of two types that each want to come first, neither is right.
            wants = other.name in kind.after or kind.name in other.before
            refuses = kind.name in other.after or other.name in kind.before
            if wants and not refuses:
                warned.add((kind.name, other.name))
                found.append(
                    Diagnostic(
                        "order",
                        f"{kind.label} runs before {other.label}",
                        severity="warning",
                        hint=f"{kind.label} works better after {other.label}: move {other.command} above it",
                        path=("phase", index, "job"),
                        fix=Fix(move=number),
                    )
                )
    return found


def order_conflicts(kinds: Sequence[JobType[Any] | None]) -> list[Diagnostic]:
    """An error for each phase that may not come after an earlier one."""
    found = []
    for index, kind in enumerate(kinds):
        if kind is None:
            continue
        for number, earlier in enumerate(kinds[:index], start=1):
            if earlier is not None and (ANYTHING in earlier.conflicts or kind.name in earlier.conflicts):
                what = "nothing" if ANYTHING in earlier.conflicts else f"no {kind.command}"
                found.append(
                    Diagnostic(
                        "order",
                        f"{kind.label} runs after {earlier.label} (phase {number})",
                        expected=f"{what} after {earlier.command}",
                        hint=f"move {kind.command} above {earlier.command}, or leave one of them out",
                        path=("phase", index, "job"),
                    )
                )
                break
    return found
