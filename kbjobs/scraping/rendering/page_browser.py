"""The browser of a job: started when it is first needed, replaced when it was lost, is old, or is too large.

A browser and the Playwright process that drives it are started and ended together. Both end when the worker does,
however it ends: their pipes close (Chromium's ``--remote-debugging-pipe``, Playwright's driver on its stdin).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from kbjobs.errors import KbjobsError
from kbjobs.scraping.rendering.browser_choice import may_use_sandbox
from kbjobs.scraping.rendering.browser_folder import make_browser_environment, temporary_files_in
from kbjobs.scraping.rendering.browser_processes import (
    find_marked,
    find_parent,
    find_tree,
    is_alive,
    kill_tree,
    measure_memory,
)
from kbjobs.scraping.rendering.wall import BrowserWall

RENEW_AFTER = 200
"""Pages after which the browser is replaced, because its memory grows."""
RENEW_MEMORY = 400 * 2**20
"""Bytes of memory from which on it is replaced once its open pages are done."""
MAX_MEMORY = 1000 * 2**20
"""Bytes of memory at which it is killed: a page is filling it."""
LOOK = 0.5
"""Seconds between two looks at its processes and their memory."""
START_SECONDS, END_SECONDS = 60.0, 10.0
START_TRIES = 3
PAGES_AT_ONCE = 4
"""Most pages that are open at the same time. They mostly wait until the network is quiet."""

SWITCHES = (
    "--proxy-bypass-list=<-loopback>",  # loopback and link-local addresses go to the proxy, too
    "--disable-quic",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--dns-prefetch-disable",
    "--no-pings",
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--disable-extensions",
    "--disable-domain-reliability",
    "--disable-crash-reporter",
    "--disable-remote-fonts",
    "--mute-audio",
    "--js-flags=--max-old-space-size=384",
    "--blink-settings=imagesEnabled=false",
    # Names are not looked up, even if something should ignore the proxy.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
"""Chromium's switches (https://peter.sh/experiments/chromium-command-line-switches/)."""


class BrowserLost(Exception):
    """The browser ended, or does not answer, while a page was being rendered."""


def is_loss(error: BaseException) -> bool:
    """Whether an error comes from Playwright. It reports the end of its driver with a plain Exception."""
    return isinstance(error, PlaywrightError) or type(error) is Exception


@dataclass
class _Running:
    """A started browser: its process and that of its driver; ``pages`` were opened in it so far, ``open`` are now.

    ``lost`` has a result once one of the two has ended by itself.
    """

    driver: Playwright
    browser: Browser
    pid: int
    driver_pid: int
    lost: asyncio.Future[None]
    pages: int = 0
    open: int = 0
    is_old: bool = False
    watch: asyncio.Task[None] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Tab:
    """A place for one page. ``lost`` has a result once its browser has ended: nothing else will come of it then."""

    context: BrowserContext
    lost: asyncio.Future[None]


class PageBrowser:
    """The browser of a job.

    Args:
        executable: Chromium.
        folder: where it keeps its temporary files.
        user_agent: what pages and their scripts see as ``navigator.userAgent``.
        log: takes notes of renewals and losses.
    """

    def __init__(
        self, executable: Path, folder: Path, user_agent: str, log: logging.Logger | logging.LoggerAdapter[Any]
    ) -> None:
        self._executable, self._folder, self._agent, self._log = executable, folder, user_agent, log
        self._wall = BrowserWall()
        self._running: _Running | None = None
        self._places = asyncio.Semaphore(PAGES_AT_ONCE)
        self._taking = asyncio.Lock()
        self._changing = asyncio.Condition()
        self._is_walled = False

    @property
    def refused(self) -> dict[str, int]:
        """What the browser tried to reach by itself, with counts; nothing of it was let through."""
        return self._wall.refused

    @contextlib.asynccontextmanager
    async def tab(self, *, alone: bool = False) -> AsyncIterator[Tab]:
        """A fresh context of the browser for one page; all that the page left in it is thrown away at the end.

        Args:
            alone: whether no other page is to be open meanwhile, because one of them may break the browser.

        Raises:
            BrowserLost: the browser ended, or does not answer.
            KbjobsError: it cannot be started.
        """
        async with self._take_places(PAGES_AT_ONCE if alone else 1):
            running = await self._enter()
            try:
                context = await _limited(
                    running.browser.new_context(
                        user_agent=self._agent,
                        accept_downloads=False,
                        service_workers="block",
                        permissions=[],
                        viewport={"width": 1280, "height": 1024},
                    )
                )
                try:
                    yield Tab(context, running.lost)
                finally:
                    await _shielded(self._close_context(running, context))
            except BrowserLost:
                running.is_old = True  # also after the end of its driver, which it does not notice
                raise
            finally:
                await _shielded(self._leave(running))

    @contextlib.asynccontextmanager
    async def _take_places(self, count: int) -> AsyncIterator[None]:
        taken = 0
        try:
            async with self._taking:  # two that want all places would wait for each other
                while taken < count:
                    await self._places.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                self._places.release()

    async def close(self) -> None:
        """End the browser."""
        async with self._changing:
            if self._running is not None:
                await self._end(self._running)
        if self._is_walled:
            await self._wall.__aexit__(None, None, None)

    async def _enter(self) -> _Running:
        """Count a page in, starting or replacing the browser first if necessary."""
        async with self._changing:
            while (running := self._running) is not None and self._is_due(running):
                running.is_old = True
                if running.open == 0:
                    await self._end(running)
                else:
                    await self._changing.wait()
            if self._running is None:
                self._running = await self._start()
            self._running.pages += 1
            self._running.open += 1
            return self._running

    async def _leave(self, running: _Running) -> None:
        async with self._changing:
            running.open -= 1
            self._changing.notify_all()

    def _is_due(self, running: _Running) -> bool:
        is_lost = running.lost.done() or not running.browser.is_connected()
        return is_lost or running.is_old or running.pages >= RENEW_AFTER

    async def _close_context(self, running: _Running, context: BrowserContext) -> None:
        if running.lost.done():
            return
        try:
            await _limited(context.close())
        except BrowserLost:
            # A page that blocks its process may prevent the close; nothing of it may stay.
            running.is_old = True
            kill_tree(running.pid)

    async def _start(self) -> _Running:
        if not self._is_walled:
            await self._wall.__aenter__()
            self._is_walled = True
        for left in range(START_TRIES - 1, -1, -1):
            try:
                return await self._launch()
            except BrowserLost as loss:
                if left == 0:
                    raise KbjobsError(f"the browser {self._executable} cannot be started: {loss}", _ADVICE) from loss
        raise AssertionError

    async def _launch(self) -> _Running:
        mark = f"--kbjobs-mark={secrets.token_hex(8)}"
        driver = None
        try:
            async with asyncio.timeout(START_SECONDS):
                with temporary_files_in(self._folder):
                    driver = await async_playwright().start()
                browser = await self._launch_browser(driver, mark)
            return self._watch_over(driver, browser, mark)
        except Exception as error:
            if driver is not None:
                await _ended(driver.stop())
            if (left := find_marked(mark)) is not None:
                kill_tree(left)
            if is_loss(error) or isinstance(error, OSError | TimeoutError):
                raise BrowserLost(_explain(error)) from error
            raise

    async def _launch_browser(self, driver: Playwright, mark: str) -> Browser:
        launching = asyncio.ensure_future(
            driver.chromium.launch(
                executable_path=str(self._executable),
                args=[*SWITCHES, mark],
                chromium_sandbox=may_use_sandbox(),
                proxy={"server": f"http://127.0.0.1:{self._wall.port}"},
                env=make_browser_environment(self._folder),
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
            )
        )
        was_there = False
        try:
            while not (await asyncio.wait({launching}, timeout=LOOK))[0]:
                is_there = find_marked(mark) is not None
                if was_there and not is_there:
                    raise BrowserLost("it ended while it was starting")
                was_there = is_there
            return launching.result()
        finally:
            await drop(launching)

    def _watch_over(self, driver: Playwright, browser: Browser, mark: str) -> _Running:
        pid = find_marked(mark)
        if pid is None:
            raise BrowserLost("it ended after its start")
        running = _Running(driver, browser, pid, find_parent(pid), asyncio.get_running_loop().create_future())
        running.watch = asyncio.create_task(self._watch(running))
        return running

    async def _watch(self, running: _Running) -> None:
        """Notice the end of a browser, have one replaced that has grown, and kill it if a page fills the memory."""
        while is_alive(running.pid) and is_alive(running.driver_pid):
            size = await asyncio.to_thread(_measure, running.pid)
            if size > MAX_MEMORY:
                self._log.warning("the browser is ended: a page makes it take %d MB", size >> 20)
                kill_tree(running.pid)
            running.is_old = running.is_old or size > RENEW_MEMORY
            await asyncio.sleep(LOOK)
        running.lost.set_result(None)

    async def _end(self, running: _Running) -> None:
        self._running = None
        if running.watch is not None:
            running.watch.cancel()
        if not running.lost.done():
            await _ended(running.browser.close())
            await _ended(running.driver.stop())
        for process in (running.pid, running.driver_pid):
            if is_alive(process):
                kill_tree(process)
        if running.lost.done():
            await _ended(running.driver.stop())


_ADVICE = (
    "Does it start in a terminal? Chromium needs user namespaces or its setuid sandbox;"
    " the setting render.browser names another one."
)


def _measure(pid: int) -> int:
    return measure_memory(find_tree(pid))


def _explain(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Playwright's message has the whole command line, and what the browser has said behind "[err]".
    said = [line.partition("[err]")[2].strip() for line in lines if "[err]" in line]
    telling = next((line for line in said if "sandbox" in line.lower()), said[-1] if said else None)
    return (telling or (lines[0] if lines else "it does not answer"))[:300]


async def _limited(call: Any) -> Any:
    """Await a call of Playwright. Raises BrowserLost if it fails, or takes too long."""
    try:
        async with asyncio.timeout(END_SECONDS):
            return await call
    except TimeoutError as error:
        raise BrowserLost("it does not answer") from error
    except Exception as error:
        if not is_loss(error):
            raise
        raise BrowserLost(_explain(error)) from error


async def _ended(call: Any) -> None:
    """Await a call that ends something, whatever comes of it."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(END_SECONDS):
            await call


async def _shielded(work: Any) -> None:
    """Await some work to its end even if this task is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def drop(task: asyncio.Future[Any]) -> None:
    """Cancel some work of Playwright and wait for its end, whatever comes of it."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # an error that nobody takes would be logged as a defect
