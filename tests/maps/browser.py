"""Debian's chromium as a reader's browser: a new profile each time, nothing fetched, every fault noted."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest

from tests.conftest import wait_until

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
]
WITHOUT_WEBGL = ["--disable-3d-apis"]

# The share of pixels that are not of the most frequent colour, and how many colours there are.
COUNT = """
async (png) => {
  const picture = new Image();
  picture.src = "data:image/png;base64," + png;
  await picture.decode();
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0);
  const pixels = new Uint32Array(pen.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) || 0) + 1);
  const [ground, most] = [...counts].sort((a, b) => b[1] - a[1])[0];
  return [1 - most / pixels.length, counts.size, ground & 255];
}
"""


@dataclass
class Reader:
    """A page that is open, what it asked for, and what went wrong in it."""

    page: Any
    context: Any
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def wait(self, expression: str) -> Any:
        """The value of a JavaScript expression once it is true."""
        return wait_until(lambda: self.page.evaluate(expression), 30)

    def shot(self) -> bytes:
        """What the map looks like, once it has been drawn as it is to be."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        picture: bytes = self.page.screenshot(clip=self.page.locator("#view").bounding_box())
        return picture

    def measure(self, picture: bytes) -> tuple[float, int, int]:
        """The share of pixels that are drawn on, the number of colours, and how light the ground is (0–255)."""
        helper = self.context.new_page()
        found = helper.evaluate(COUNT, base64.b64encode(picture).decode())
        helper.close()
        return tuple(found)


Scheme = Literal["light", "dark"]


@contextmanager
def read(
    path: Path,
    scheme: Scheme = "light",
    flags: Sequence[str] = (),
    width: int = 1000,
    fragment: str = "",
    is_touched: bool = True,
    script: str = "",
    **options: Any,
) -> Iterator[Reader]:
    """Open a page from its file; at the end it must have asked for nothing but itself, without any fault.

    ``script`` runs before those of the page. ``is_touched``: a key has ended the first turn, so that nothing moves
    but what the test moves.
    """
    if not CHROMIUM.exists():
        if os.environ.get("KBJOBS_TEST_REQUIRE_INPUTS"):
            pytest.fail(f"chromium is required here and is not at {CHROMIUM}")
        pytest.skip("chromium is not installed (tests/real/fetch_inputs.sh)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as browsers, TemporaryDirectory(prefix="kbjobs-chromium-") as profile:
        context = browsers.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            headless=True,
            args=[*FLAGS, *flags],
            color_scheme=scheme,
            viewport={"width": width, "height": 700},
            **options,
        )
        page = context.pages[0]
        reader = Reader(page, context)
        try:
            page.on("request", lambda request: reader.requests.append(request.url))
            page.on("console", lambda message: reader.faults.append(f"{message.type}: {message.text}"))
            page.on("pageerror", lambda error: reader.faults.append(str(error)))
            context.add_init_script(script)
            page.goto(path.as_uri() + fragment)
            reader.wait("document.documentElement.dataset.ready")
            reader.wait("performance.getEntriesByName('drawn').length")
            if is_touched:
                page.keyboard.press("Shift")
            yield reader
        finally:
            context.close()
    assert [address.partition("#")[0] for address in reader.requests] == [path.as_uri()]
    # SwiftShader says so itself, when pixels are read for a screenshot.
    assert not [fault for fault in reader.faults if "GPU stall due to ReadPixels" not in fault]
