"""kbjobs: the long jobs behind a knowledge base, run by a local daemon over SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kbjobs.version import VERSION as __version__

if TYPE_CHECKING:
    from kbjobs.services.function_jobs import (
        Checkpoint,
        JobPhase,
        cleanup_stale_checkpoints,
        delete_checkpoint,
        get_interrupted_jobs,
        load_checkpoint,
        run_combined_job,
        save_checkpoint,
    )
    from kbjobs.services.jobs import JobManager, get_job_manager
    from kbjobs.services.search import search

__all__ = [
    "Checkpoint",
    "JobManager",
    "JobPhase",
    "__version__",
    "cleanup_stale_checkpoints",
    "delete_checkpoint",
    "get_interrupted_jobs",
    "get_job_manager",
    "load_checkpoint",
    "run_combined_job",
    "save_checkpoint",
    "search",
]


def __getattr__(name: str) -> Any:
    """Load the front door on first use, so that importing a submodule stays cheap."""
    if name in ("JobManager", "get_job_manager"):
        from kbjobs.services import jobs

        return getattr(jobs, name)
    if name == "search":
        from kbjobs.services import search

        return search.search
    if name in __all__:
        from kbjobs.services import function_jobs

        return getattr(function_jobs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
