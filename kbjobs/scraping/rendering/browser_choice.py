"""Finding the browser that renders pages. Imported at a submit, so it loads nothing."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from kbjobs.errors import MissingRequirementError

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
"""The commands of Chromium in Debian, Ubuntu and Fedora, and of Chrome. The first has no window: it is the lightest."""


def find_browser(named: str) -> Path:
    """Find the program of the browser, and check that it can be driven.

    Args:
        named: the setting ``render.browser``: a path or a command; '' for the system's Chromium.

    Raises:
        MissingRequirementError: the extra ``render`` is not installed, or there is no such browser.
    """
    if find_spec("playwright") is None:
        raise MissingRequirementError(
            "--render needs the package playwright, which is not installed", "pip install 'kbjobs[render]'"
        )
    for name in (named,) if named else NAMES:
        if (found := shutil.which(name)) is not None:
            return Path(found)
    if named:
        raise MissingRequirementError(
            f"the setting render.browser names {named!r}, which is not a program that can be run",
            "Give the path of a Chromium: kbjobs config set render.browser /usr/bin/chromium",
        )
    raise MissingRequirementError(
        "--render needs Chromium, which is not installed",
        "apt install chromium, or name another one: kbjobs config set render.browser PATH",
    )


def may_use_sandbox() -> bool:
    """Whether the browser runs in its own sandbox, which it refuses as root."""
    return os.geteuid() != 0
