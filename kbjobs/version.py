"""The program's version, and what else tells one program from another. It loads nothing else of the program."""

import contextlib
import re
from pathlib import Path

VERSION = "0.3.0.dev"


def installed_version() -> str:
    """The version that lies on the disk now: another one than VERSION once the program was upgraded under a process."""
    try:
        found = re.search(r'^VERSION = "([^"]+)"', Path(__file__).read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:  # in the middle of an upgrade
        return VERSION
    return found[1] if found else VERSION


def installed_program() -> tuple[str, str]:
    """The version that lies on the disk now, and a hash of its files: another one also after a ``git pull``.

    Names, sizes and times of the modules are hashed, not what is in them: it takes a few milliseconds.
    """
    import hashlib

    found = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        with contextlib.suppress(FileNotFoundError):  # in the middle of an upgrade
            stat = path.stat()
            found.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return installed_version(), found.hexdigest()
