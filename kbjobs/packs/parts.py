"""Parts: what a pack consists of. Each is named by the hash of its bytes, so that what is there is not sent again.

Where records are cut into parts depends on the records alone and not on how many came before: a change of one moves at
most the next cut, and all other parts stay as they are.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

import zstandard

from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.manifest import FREE_BYTES, MAX_RATIO, Part

TARGET = 4 * 1024 * 1024
"""Bytes of a part, unpacked, on average: a changed document costs one part of each table."""
MIN_SIZE, MAX_SIZE = TARGET // 4, TARGET * 4
LEVEL = 9
"""Of zstd: 130 MB/s a core, and a quarter smaller than at its default of 3 (measured on the Python documentation)."""
WORTH_PACKING = 0.95
MAX_WINDOW = 16 * 1024 * 1024
"""Most memory that zstd may take to unpack; what is packed here needs 4 MiB at most."""


@dataclass(frozen=True, slots=True)
class SealedPart:
    """A part with its bytes, ready to be stored."""

    part: Part
    data: bytes


def seal(raw: bytes, is_packed: bool = True) -> SealedPart:
    """A part of some bytes, packed where that makes it smaller; the same bytes each time, of one version of zstd."""
    data, packing = raw, "none"
    if is_packed:
        smaller = zstandard.ZstdCompressor(level=LEVEL, threads=0).compress(raw)
        # What would look like a bomb is kept as it is.
        if len(smaller) < len(raw) * WORTH_PACKING and len(raw) <= max(FREE_BYTES, len(smaller) * MAX_RATIO):
            data, packing = smaller, "zstd"
    digest = hashlib.sha256(data).hexdigest()
    return SealedPart(Part(sha256=digest, size=len(data), packing=packing, unpacked=len(raw)), data)  # type: ignore[arg-type]


def unseal(part: Part, data: bytes, place: str) -> bytes:
    """Unpack a part after checking its hash.

    Args:
        part: what the manifest says of it.
        data: the stored bytes.
        place: where the pack is, for messages.

    Raises:
        DamagedPackError: the part differs from what the manifest says.
    """
    if len(data) != part.size:
        raise DamagedPackError(place, part.name, f"has {len(data):,} bytes, not the {part.size:,} of the manifest")
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise DamagedPackError(place, part.name, "was changed: its sha256 differs")
    if part.packing == "none":
        return data
    try:
        # The size in the frame's header is what zstd allocates, and at which it stops.
        promised = zstandard.frame_content_size(data)
        if promised != part.unpacked:
            raise DamagedPackError(
                place, part.name, f"would become {promised:,} bytes, not the {part.unpacked:,} of the manifest"
            )
        raw = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DamagedPackError(place, part.name, f"cannot be unpacked: {error}") from error
    if len(raw) != part.unpacked:
        raise DamagedPackError(place, part.name, f"has {len(raw):,} bytes unpacked, not {part.unpacked:,}")
    return raw


def is_cut_behind(mark: bytes, size: int, collected: int) -> bool:
    """Whether a part ends behind an item.

    Args:
        mark: bytes of the item that tell it from others.
        size: bytes of the item: a larger one is more likely to be the last.
        collected: bytes of the part with it.
    """
    if collected < MIN_SIZE:
        return False
    return collected >= MAX_SIZE or zlib.crc32(mark) * TARGET < size << 32
