"""What a page is told: nothing that happens after it was made is missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kbjobs.config.home import Home
from kbjobs.store.jobs import NewJob
from kbjobs.store.queue import Queue
from kbjobs.web.events import EventHub, LiveEvent


async def next_of(events: AsyncIterator[LiveEvent]) -> LiveEvent:
    return await asyncio.wait_for(anext(events), 10)


def test_the_first_job_of_a_home_is_told(home: Home) -> None:
    async def follow() -> None:
        queue, events = Queue(home.state_file), EventHub(home).listen(None)
        assert (await next_of(events)).name == "hello"
        # What happens after the greeting is told: there was a look before it, at a home without any job.
        job = queue.submit(NewJob("steps", "wiki", {}, (), ("source:wiki",)))
        event = await next_of(events)
        assert (event.name, event.data["id"], event.data["status"]) == ("job", job.id, "pending")
        queue.close()

    asyncio.run(follow())


def test_what_happens_while_nobody_listens_is_not_lost(home: Home) -> None:
    async def follow() -> None:
        queue, hub = Queue(home.state_file), EventHub(home)
        job = queue.submit(NewJob("steps", "wiki", {}, (), ("source:wiki",)))
        events = hub.listen(None)
        seen = await next_of(events)
        await events.aclose()
        while hub._task is not None and not hub._task.done():
            await asyncio.sleep(0.01)
        queue.cancel(job.id)
        # The id was right, but nobody has looked since: the page is told to look anew.
        again = hub.listen(seen.id)
        assert (await next_of(again)).name == "reset"
        queue.close()

    asyncio.run(follow())
