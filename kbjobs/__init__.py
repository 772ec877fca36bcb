"""kbjobs: the long jobs behind a knowledge base, run by a local daemon over SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kbjobs.api import JobManager, get_job_manager

__version__ = "0.1.0"
__all__ = ["JobManager", "__version__", "get_job_manager"]


def __getattr__(name: str) -> Any:
    """Load the front door on first use, so that importing a submodule stays cheap."""
    if name in ("JobManager", "get_job_manager"):
        from kbjobs import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
