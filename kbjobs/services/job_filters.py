"""Whether what jobs are filtered by names anything: a typo must not read as "no jobs"."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from kbjobs.chains.library import list_chain_files
from kbjobs.config.home import Home
from kbjobs.errors import NotFoundError
from kbjobs.phases.names import INTERNAL, LEGACY, NAMES
from kbjobs.phases.registry import is_taken
from kbjobs.store.history import known_sources, known_types
from kbjobs.store.queue import Queue
from kbjobs.store.sources import list_source_ids


def check_type(home: Home, queue: Queue | None, job_type: str) -> None:
    """Raise NotFoundError for a type that is no job type, chain, former name or label of a job that has been."""
    wanted = job_type.replace("-", "_")
    if is_taken(wanted):
        return
    known = {*NAMES, *LEGACY, *(listed.name for listed in list_chain_files(home))}
    known |= set(known_types(queue)) - set(INTERNAL) if queue is not None else set()
    if wanted not in known:
        near = _near(wanted, known).replace("_", "-")
        raise NotFoundError(f"there is no job type {job_type!r}", near + "kbjobs types lists them.")


def check_source(home: Home, queue: Queue | None, source_id: str) -> None:
    """Raise NotFoundError for a source that is not registered and that no job was ever for."""
    known = {*list_source_ids(home.sources), *(known_sources(queue) if queue is not None else ())}
    if source_id not in known:
        near = _near(source_id, known)
        raise NotFoundError(f"there is no source {source_id!r}", near + "kbjobs sources list shows them.")


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, sorted(known), 1)
    return f"Did you mean {near[0]}? " if near else ""
