"""Waiting for asynchronous work that ends at once if the job must stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from kbjobs.context import Context

LOOK = 0.2
"""Seconds between two checks whether the job must stop."""

Result = TypeVar("Result")


async def watched(context: Context, work: Coroutine[Any, Any, Result]) -> Result:
    """Await some work and return its result; if the job must stop first, cancel the work and raise JobCancelled."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            context.check()
            await asyncio.wait({task}, timeout=LOOK)
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    return task.result()
