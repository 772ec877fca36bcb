"""The files of a ZIM file: one, or several that it was split into (``.zimaa``, ``.zimab`` …)."""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from pathlib import Path

from kbjobs.content.zim_service import ZIM_HEADER

MAGIC = (72173914).to_bytes(4, "little")
"""The first bytes of a ZIM file."""

_PART = re.compile(r"(.*\.zim)([a-z]{2})\Z", re.IGNORECASE | re.DOTALL)


class ZimError(ValueError):
    """A ZIM file that cannot be opened, or whose reading was abandoned; the message names file and reason."""


def is_zim(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (four bytes or more) is a ZIM file."""
    return head[:4] == MAGIC


def find_parts(path: Path) -> tuple[Path, list[Path]]:
    """Find the name that libzim opens, and the files in order. Raises ZimError if one is missing."""
    found = _PART.match(path.name)
    if found:
        whole = path.with_name(found[1])
    elif path.exists():
        return path, [path]
    else:
        whole = path
    try:
        there = [_PART.match(entry.name) for entry in whole.parent.iterdir()]
        names = sorted(part[0] for part in there if part and part[1] == whole.name)
    except OSError as error:
        raise ZimError(f"{path}: cannot be opened: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise ZimError(f"{str(path)!r}: cannot be opened: no name of a file ({error})") from error
    if not names:
        raise ZimError(f"{path}: cannot be opened: no such file")
    for number, name in enumerate(names):
        expected = f"{whole.name}{chr(97 + number // 26)}{chr(97 + number % 26)}"
        if name != expected:
            raise ZimError(f"{whole}: cannot be opened: its part {expected} is missing")
    parts = [whole.with_name(name) for name in names]
    return parts[0], parts


def check_parts(path: Path, parts: Sequence[Path]) -> None:
    """Raise ZimError in plainer words than libzim's: no file, not a ZIM file, a missing part or end."""
    try:
        states = [part.stat() for part in parts]
        if not all(stat.S_ISREG(state.st_mode) for state in states):
            raise ZimError(f"{path}: cannot be opened: not a regular file")
        with parts[0].open("rb") as file:
            head = file.read(ZIM_HEADER.size)
    except OSError as error:
        raise ZimError(f"{path}: cannot be opened: {(error.strerror or str(error)).lower()}") from error
    if not head:
        raise ZimError(f"{path}: cannot be opened: empty file (0 bytes)")
    if not is_zim(head):
        raise ZimError(f"{path}: cannot be opened: not a ZIM file")
    if len(head) < ZIM_HEADER.size:
        raise ZimError(f"{path}: cannot be opened: {len(head)} bytes are less than a ZIM file's header")
    size = sum(state.st_size for state in states)
    promised = ZIM_HEADER.unpack(head)[-1] + 16
    if size < promised < 2**50:  # a larger number means that the field itself is damaged
        missing = "its last part is missing or cut off" if len(parts) > 1 else "it is cut off, or still being copied"
        raise ZimError(f"{path}: cannot be opened: {missing} ({size:,} of {promised:,} bytes)")
