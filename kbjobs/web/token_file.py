"""The token of a builder that runs as a service: kept in a file, so that it is the same after each start."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from kbjobs.errors import UnavailableError, UsageError

MIN_CHARACTERS = 24
"""The fewest characters of a token: 24 of the 64 that are used make 144 bits, so that none is guessed."""

_TOKEN = re.compile(r"[A-Za-z0-9_~.-]{24,512}")


def keep_token(path: Path) -> str:
    """Read the token of a file, which is written with a new token if it is missing.

    Raises:
        UsageError: the file is readable by others, no regular file, or holds something else.
        UnavailableError: it cannot be read or written.
    """
    try:
        return _write_new(path)
    except FileExistsError:
        pass
    except OSError as error:
        raise UnavailableError(f"cannot write {path}: {error.strerror}", "Name a file in a folder of yours.") from error
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            content = file.read(1_000) if stat.S_ISREG(found.st_mode) else b""
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror}", "Check its permissions.") from error
    if found.st_mode & 0o077:
        raise UsageError(f"{path} can be read by others", f"rm {path}; the next start writes one with a new token.")
    token = content.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise UsageError(
            f"{path} holds no token of {MIN_CHARACTERS} or more letters, digits, - _ . ~",
            "Name a file that does not exist yet: it is written with a new token.",
        )
    return token


def _write_new(path: Path) -> str:
    """Write a new token into a file that must not exist. Raises OSError."""
    token = secrets.token_urlsafe(24)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
    return token
