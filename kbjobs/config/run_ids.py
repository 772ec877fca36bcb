"""Ids of runs. A worker process may run several jobs, one after the other: each run has an id of its own.

The first run's id is a random token, which is also the id of the process, carried in its environment. The ids of its
later runs are ``TOKEN.2``, ``TOKEN.3`` …, so the process of any run is known from the run's id.
"""

from __future__ import annotations

import uuid


def new_run_id() -> str:
    """Make the id of the first run of a worker process."""
    return uuid.uuid4().hex


def later_run_id(worker: str, number: int) -> str:
    """Make the id of the run with a number, from 2, of the worker process with an id."""
    return f"{worker}.{number}"


def worker_of(run_id: str) -> str:
    """The id of the worker process that a run belongs to."""
    return run_id.partition(".")[0]
