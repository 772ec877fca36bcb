"""The program's version: a file of its own, so that whoever needs it loads nothing else."""

import re
from pathlib import Path

VERSION = "0.2.0"


def installed_version() -> str:
    """The version that lies on the disk now: another one than VERSION once the program was upgraded under a process."""
    try:
        found = re.search(r'^VERSION = "([^"]+)"', Path(__file__).read_text(), re.MULTILINE)
    except OSError:  # in the middle of an upgrade
        return VERSION
    return found[1] if found else VERSION
