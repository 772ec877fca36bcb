"""Large files of a pack that is being fetched: each part is written to its place in its file as it comes.

A large file is cut into parts that are stored as they are. Parts in files of their own would be written twice, and need
the room twice. The hash of each part is checked, so the file is not read again for its own hash.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kbjobs.object_storage.folder import writing
from kbjobs.packs.manifest import Part
from kbjobs.packs.records import FileRecord


@dataclass(frozen=True, slots=True)
class _Spot:
    path: Path
    offset: int


class WholeFiles:
    """The files of a backup that consist of whole unpacked parts, in a folder below hashes as names.

    Safe for several threads, each with other parts. A part may be written again; it counts once its hash is right.

    Args:
        folder: the folder, which need not exist.
        records: all files of the backup; their names and sizes were checked.
        data: the parts of the backup, in the manifest's order.
    """

    def __init__(self, folder: Path, records: Iterable[FileRecord], data: Sequence[Part]) -> None:
        self._folder = folder
        self._spots: dict[str, _Spot] = {}
        self._sizes: dict[str, int] = {}
        for record in records:
            parts = _whole_parts(record, data)
            # A part that is already at a place of another file, or twice in this one, is kept as an object.
            if (
                record.sha256 not in self._sizes
                and len({part.sha256 for part in parts} - self._spots.keys()) == len(parts) > 0
            ):
                self._place(record, parts)

    def _place(self, record: FileRecord, parts: list[Part]) -> None:
        offset = 0
        for part in parts:
            self._spots[part.sha256] = _Spot(self._folder / record.sha256, offset)
            offset += part.size
        self._sizes[record.sha256] = record.size

    @property
    def size(self) -> int:
        """The bytes of these files together."""
        return sum(self._sizes.values())

    def find(self, sha256: str) -> Path | None:
        """The file with that hash, all of whose parts were written; None if it is not one of these."""
        path = self._folder / sha256
        return path if sha256 in self._sizes and path.stat().st_size == self._sizes[sha256] else None

    def has(self, part: Part) -> bool:
        """Whether a part has its place in one of these files."""
        return part.sha256 in self._spots

    def read(self, part: Part) -> bytes | None:
        """The bytes at a part's place, which are the part's only if their hash is; None if there are none."""
        spot = self._spots[part.sha256]
        try:
            descriptor = os.open(spot.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            file.seek(spot.offset)
            return file.read(part.size)

    def is_written(self, part: Part) -> bool:
        """Whether a part was written before."""
        data = self.read(part)
        return data is not None and hashlib.sha256(data).hexdigest() == part.sha256

    def write(self, part: Part, data: bytes) -> None:
        """Write a part, whose hash the caller has checked.

        Raises:
            UnavailableError: the disk is full, or the folder is not writable.
        """
        spot = self._spots[part.sha256]
        with writing(spot.path):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(spot.path, flags, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                left, offset = memoryview(data), spot.offset
                while left:
                    done = os.pwrite(file.fileno(), left, offset)
                    left, offset = left[done:], offset + done


def _whole_parts(record: FileRecord, data: Sequence[Part]) -> list[Part]:
    """The parts that a file consists of; none if it has only pieces of some, or a packed one."""
    parts = []
    for piece in record.pieces:
        if piece.part >= len(data):
            return []
        part = data[piece.part]
        if part.packing != "none" or piece.offset or not part.size or not piece.length == part.size == part.unpacked:
            return []
        parts.append(part)
    return parts if sum(part.size for part in parts) == record.size else []
