"""The stable names for job types of other packages to import, wherever kbjobs itself moves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kbjobs.context import Context, PhaseResult
from kbjobs.errors import (
    ConflictError,
    JobCancelled,
    KbjobsError,
    MissingRequirementError,
    NotFoundError,
    TransientError,
    UnavailableError,
    UsageError,
)
from kbjobs.formatting import counted, duration
from kbjobs.phases.job_type import (
    NO_SOURCE,
    SOURCE,
    Advice,
    JobType,
    Params,
    PhaseForecast,
    PhaseRequest,
    Plan,
    Target,
)

if TYPE_CHECKING:
    from kbjobs.services.documents import documents

__all__ = [
    "NO_SOURCE",
    "SOURCE",
    "Advice",
    "ConflictError",
    "Context",
    "JobCancelled",
    "JobType",
    "KbjobsError",
    "MissingRequirementError",
    "NotFoundError",
    "Params",
    "PhaseForecast",
    "PhaseRequest",
    "PhaseResult",
    "Plan",
    "Target",
    "TransientError",
    "UnavailableError",
    "UsageError",
    "counted",
    "documents",
    "duration",
]


def __getattr__(name: str) -> Any:
    """Load heavy names on first use, because a submit imports every job type."""
    if name == "documents":
        from kbjobs.services.documents import documents

        return documents
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
