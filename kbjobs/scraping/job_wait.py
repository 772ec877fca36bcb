"""Work of one answer or many, that ends at once where the job is to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from kbjobs.context import Context

LOOK = 0.2
"""Seconds after which who waits looks whether the job is to stop."""

Result = TypeVar("Result")


async def watched(context: Context, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of some work; raises JobCancelled, and ends the work, where the job is to stop before."""
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
