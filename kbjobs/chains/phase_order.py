"""The order of phases: which jobs should come before others, and which must not follow others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kbjobs.chains.diagnostics import Diagnostic, Fix
from kbjobs.phases.job_type import JobType

ANYTHING = "*"


def order_warnings(kinds: Sequence[JobType[Any] | None]) -> list[Diagnostic]:
    """Warn about each pair of types in the wrong order. None stands for an unknown type.

    If a job that should come first does so once, it may also be repeated later.
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
            # If two types each want to come first, no order is right.
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
    """Report an error for each phase that must not follow an earlier one."""
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
