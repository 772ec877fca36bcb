"""Pictures of every view of the pages, always of the same home at the same moment, and how far two of them differ.

The home is a real one: ``make pictures`` has a night in it, ends its daemon and its workers in the middle, and keeps
what is there, with the moment. faketime holds the clock of the pages still, Playwright that of the browser; one font is
installed for the browser. What is left that may differ is what the pages look like.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.services.jobs import JobManager
from kbjobs.store.transitions import Status

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
KEPT_HOME = ROOT / "tests" / "frozen" / "home-pictures.tar.xz"
# What no view shows: a prepared model, vectors for other programs, files that none reads; all of "library" but its map.
LEFT_OUT = re.compile(r"/(locks|engines|[^/]*\.building|handbook/vectors|library)/|/chroma|^(handbook|library)/")
MOMENT = "moment"  # the file with the time of the kept home, as faketime reads it
CHROMIUM = Path("/usr/bin/chromium")
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), Path("/usr/lib/faketime"))
FONTS = Path("/usr/share/fonts/truetype/dejavu")
FONT_CONFIG = f"""<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{FONTS}</dir><cachedir prefix="xdg">fontconfig</cachedir>
<alias binding="same"><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
<alias binding="same"><family>ui-monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
<match target="pattern"><edit name="family" mode="append_last"><string>DejaVu Sans</string></edit></match>
</fontconfig>"""
SIZE = (1280, 800)
SCHEMES = ("light", "dark")
VIEWS = {
    "jobs": "/jobs", "job": "/jobs/{night}", "builder": "/builder", "sources": "/sources", "source": "/sources/python",
    "search": "/search?words=open+a+file&source=python", "history": "/history", "map": "/maps/library",
}  # fmt: skip
# Folders of this machine, which are others on the next one.
SHORT_PATHS = """(home) => {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const folder = home.replace(/[^/]*$/, "");
  while (walk.nextNode())
    walk.currentNode.data = walk.currentNode.data.replaceAll(home, "~/kb").replaceAll(folder, "~/");
}"""
# At the first event a page is made anew, sooner or later.
NO_EVENTS = "window.EventSource = class extends EventTarget { close() {} }"
COLOURS = 128  # of a kept picture
NOTICED = 24  # difference of a colour, of 255, from which on a pixel counts: the edges of letters may vary


@dataclass(frozen=True, slots=True)
class KeptHome:
    """A home at a moment; ``night`` is the chain that was killed in it."""

    home: Home
    moment: str
    night: int


def keep_home(top: Path, moment: str) -> None:
    """Keep a home whose processes have ended, and the files of its sources, from the folder that holds them all."""
    (top / MOMENT).write_text(moment)

    def chosen(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return None if LEFT_OUT.search(entry.name) else entry

    with tarfile.open(KEPT_HOME, "w:xz", preset=9) as tar:
        for path in sorted(top.iterdir()):
            tar.add(path, path.name, filter=chosen)


@contextmanager
def open_kept_home(top: Path) -> Iterator[KeptHome]:
    """Unpack the kept home. Its daemon and its worker seem to run: their locks are held."""
    with tarfile.open(KEPT_HOME) as tar:
        tar.extractall(top, filter="data")
    home = Home(top / "kb")
    home.prepare()
    for manifest in home.sources.glob("*/manifest.json"):
        manifest.write_text(re.sub(r'"[^"]*/kbjobs-pictures-[^/"]*/', f'"{top}/', manifest.read_text()))
    with ExitStack() as stack:
        with JobManager(home) as manager:
            jobs = manager.get_job_history(100, 36_500)
            running = [job.run_id for job in manager.get_overview().running if job.run_id]
        for lock in (home.daemon_lock, *(home.worker_lock(run_id) for run_id in running)):
            lock.parent.mkdir(exist_ok=True)
            file = stack.enter_context(lock.open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        [night] = [job.id for job in jobs if job.type == "nightly" and job.status is not Status.PENDING]
        yield KeptHome(home, (top / MOMENT).read_text(), night)


def stand_still(kept: KeptHome) -> dict[str, str]:
    """The environment of a program that works on the home, and for which no time passes."""
    return os.environ | {
        HOME_VARIABLE: str(kept.home.path), "KBJOBS_MODEL": "all-MiniLM-L6-v2", "TZ": "UTC",
        "LD_PRELOAD": str(FAKETIME), "FAKETIME": kept.moment, "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip


@contextmanager
def serve(kept: KeptHome) -> Iterator[str]:
    """The address of a builder of the home, with its token."""
    command = [sys.executable, "-P", "-u", "-m", "kbjobs", "builder"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=stand_still(kept)) as process:
        try:
            printed = iter(process.stdout or ())
            found = next(filter(None, (re.search(r"http://\S+token=\S+", line) for line in printed)))
            yield found[0]
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def open_browser(top: Path) -> Iterator[Browser]:
    """Chromium with one font, which draws without a graphics card."""
    from playwright.sync_api import sync_playwright

    config = top / "fonts.conf"
    config.write_text(FONT_CONFIG)
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--font-render-hinting=none",
             "--disable-lcd-text", "--hide-scrollbars"]  # fmt: skip
    environment: dict[str, str | float | bool] = {**os.environ, "FONTCONFIG_FILE": str(config)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags, env=environment)
        yield browser
        browser.close()


def take_pictures(
    browser: Browser, address: str, kept: KeptHome, style: str = "", schemes: Sequence[str] = SCHEMES
) -> Iterator[tuple[str, bytes]]:
    """The pictures of all views by their names, as PNG.

    Args:
        browser: of :func:`open_browser`.
        address: of :func:`serve`.
        kept: the home.
        style: more CSS, to see what a change of the styles changes.
        schemes: light, dark.
    """
    base = address.partition("/?")[0]
    for scheme in schemes:
        context = browser.new_context(
            viewport={"width": SIZE[0], "height": SIZE[1]},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
            timezone_id="UTC",
            locale="en-GB",
            bypass_csp=True,
        )
        context.add_init_script(NO_EVENTS)
        page = context.new_page()
        page.clock.set_fixed_time(kept.moment.replace(" ", "T") + "Z")
        page.goto(address)
        for name, path in VIEWS.items():
            page.goto(base + path.format(night=kept.night))
            _prepare(page, name, kept)
            if style:
                page.add_style_tag(content=style)
            yield f"{name}-{scheme}", page.screenshot(animations="disabled", caret="hide")
        context.close()


def _prepare(page: Page, name: str, kept: KeptHome) -> None:
    """Wait until a view is as it stays."""
    if name == "builder":
        page.wait_for_selector("body[data-ready]")
        page.locator("[data-open=nightly]").click()
        page.locator("#phases li:nth-child(2) .pick").click()
        page.locator("#forecast").click()
        page.locator("#outlook table").wait_for()
        page.evaluate("scrollTo(0, 0)")
    elif name == "job":
        page.wait_for_function("document.querySelector('#log').textContent.length > 100")
    elif name == "map":
        page.wait_for_selector("html[data-ready]")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.evaluate(SHORT_PATHS, str(kept.home.path))
    page.evaluate("document.activeElement.blur()")


def kept_picture(name: str) -> Path:
    """The file of the documents that shows a view."""
    return DOCS / f"{name}.png" if name.startswith("map-") else DOCS / "builder" / f"builder-{name}.png"


def shrink(png: bytes) -> bytes:
    """The picture in few colours: a third of the bytes, and no difference that is noticed."""
    output = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    few = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(output, "PNG", optimize=True)
    return output.getvalue()


def share_of_difference(one: bytes, other: bytes) -> float:
    """The share of pixels that differ; 1 if the sizes do."""
    first, second = (np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.int16) for png in (one, other))
    if first.shape != second.shape:
        return 1.0
    return float((np.abs(first - second).max(axis=2) >= NOTICED).mean())
