"""The names that job types of other packages imported from here until 0.2; removed in 0.4.

A type that is declared in the old way still works, with a DeprecationWarning. New types import :mod:`kbjobs.plugins`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from kbjobs.phases import job_type
from kbjobs.phases.job_type import Advice, Params, PhaseForecast, PhaseRequest, Plan, Target

__all__ = ["Advice", "JobType", "Outlook", "Params", "Plan"]

Outlook = PhaseForecast

_OF_TARGET = {
    "needs_source": "needs_source",
    "makes_source": "makes_source",
    "ends_source": "ends_source",
    "takes_file": "takes_file",
    "name_source": "name_source",
    "takes_sources": "takes_sources",
    "named_by": "parameter",
}
_IN_ORDER = ("name", "label", "description", "category", "operation", "params", "plan", "run")


def JobType(*values: Any, **fields: Any) -> job_type.JobType[Any]:
    """Make a job type from the fields of 0.2."""
    warnings.warn(
        "kbjobs.phases.base is replaced by kbjobs.plugins, where plan takes one PhaseRequest; it is removed in 0.4",
        DeprecationWarning,
        stacklevel=2,
    )
    fields.update(zip(_IN_ORDER, values, strict=False))
    target = {new: fields.pop(old) for old, new in _OF_TARGET.items() if old in fields}
    fields.pop("dry_type", None)
    plan, fill = fields.pop("plan"), fields.pop("fill", lambda home, settings, params: Plan(params))
    for name, old in (("advise", "advise"), ("forecast", "foresee"), ("reach", "reach")):
        if old in fields:
            fields[name] = _ADAPTERS[name](fields.pop(old))
    return job_type.JobType(**fields, plan=_adapt_plan(plan, fill), target=Target(**target))


def _adapt_plan(plan: Callable[..., Plan[Any]], fill: Callable[..., Plan[Any]]) -> Callable[..., Plan[Any]]:
    def planned(request: PhaseRequest[Any]) -> Plan[Any]:
        if request.is_general:
            return fill(request.home, request.settings, request.params)
        return plan(request.home, request.settings, request.folder, request.params)

    return planned


_ADAPTERS: dict[str, Callable[[Callable[..., Any]], Callable[[PhaseRequest[Any]], Any]]] = {
    "advise": lambda old: lambda one: old(one.home, one.settings, one.folder, one.params, one.earlier_types),
    "forecast": lambda old: lambda one: old(one.home, one.settings, one.folder, one.params, one.earlier),
    "reach": lambda old: lambda one: old(one.home, one.settings, one.params),
}
