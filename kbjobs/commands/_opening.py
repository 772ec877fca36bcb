"""Showing a page that a job has made, where there is a display."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from kbjobs.commands._errors import printable
from kbjobs.commands._render import say
from kbjobs.store.jobs import Job

if TYPE_CHECKING:
    from kbjobs.services.jobs import JobManager

DISPLAYS = ("WAYLAND_DISPLAY", "DISPLAY")
OPENER = "xdg-open"


def show_page(manager: JobManager, job: Job) -> None:
    """Open the page that is named in the job's result, or say why it cannot be and where it lies."""
    page = manager.home.path / (job.result or {})["html"]
    opener = shutil.which(OPENER)
    if not any(os.environ.get(name) for name in DISPLAYS):
        say(printable(f"There is no display here to show it on: open {page} in a browser."))
    elif opener is None:
        say(printable(f"{OPENER} is not installed (Debian: xdg-utils): open {page} in a browser."))
    else:
        # The browser goes on when this command has ended.
        subprocess.Popen(
            [opener, str(page)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
