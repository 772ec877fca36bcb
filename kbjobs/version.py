"""The program's version, and a hash that identifies its code. Imports nothing else of the program."""

import contextlib
import re
from pathlib import Path

VERSION = "0.3.0.dev"


def installed_version() -> str:
    """The version on disk now, which differs from VERSION if the program was upgraded while this process runs."""
    try:
        found = re.search(r'^VERSION = "([^"]+)"', Path(__file__).read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:  # in the middle of an upgrade
        return VERSION
    return found[1] if found else VERSION


def installed_program() -> tuple[str, str]:
    """The version on disk now, and a hash of its files, which also changes after a ``git pull``.

    The hash covers names, sizes and times of the modules, not their content, so that it takes a few milliseconds.
    """
    import hashlib

    found = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        with contextlib.suppress(FileNotFoundError):  # in the middle of an upgrade
            stat = path.stat()
            found.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return installed_version(), found.hexdigest()
