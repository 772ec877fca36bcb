"""The parts of a pack. Each is named by the hash of its bytes, so that parts already in a store are not sent again.

The cuts between parts depend on the records alone, not on how many came before: a changed record moves at most the next
cut, and all other parts stay the same.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

import zstandard

from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.manifest import FREE_BYTES, MAX_RATIO, Part

TARGET = 4 * 1024 * 1024
"""Average bytes of a part, unpacked; a changed document costs one part of each table."""
MIN_SIZE, MAX_SIZE = TARGET // 4, TARGET * 4
LEVEL = 9
"""Level of zstd: 130 MB/s per core, and a quarter smaller than its default of 3 (measured on the Python docs)."""
WORTH_PACKING = 0.95
MAX_WINDOW = 16 * 1024 * 1024
"""Most memory that zstd may use to unpack; parts packed here need 4 MiB at most."""


@dataclass(frozen=True, slots=True)
class SealedPart:
    """A part with its bytes, ready to be stored."""

    part: Part
    data: bytes


def seal(raw: bytes, is_packed: bool = True) -> SealedPart:
    """Make a part from bytes, packed if that makes it smaller; one version of zstd always gives the same part."""
    data, packing = raw, "none"
    if is_packed:
        smaller = zstandard.ZstdCompressor(level=LEVEL, threads=0).compress(raw)
        # Data that would look like a decompression bomb stays unpacked.
        if len(smaller) < len(raw) * WORTH_PACKING and len(raw) <= max(FREE_BYTES, len(smaller) * MAX_RATIO):
            data, packing = smaller, "zstd"
    digest = hashlib.sha256(data).hexdigest()
    return SealedPart(Part(sha256=digest, size=len(data), packing=packing, unpacked=len(raw)), data)  # type: ignore[arg-type]


def unseal(part: Part, data: bytes, place: str) -> bytes:
    """Unpack a part after checking its hash.

    Args:
        part: its description in the manifest.
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
        # zstd allocates the size in the frame's header, and stops there.
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
    """Whether a part ends after an item.

    Args:
        mark: bytes that identify the item.
        size: the item's size in bytes; a larger item is more likely to be the last.
        collected: the part's size in bytes, including the item.
    """
    if collected < MIN_SIZE:
        return False
    return collected >= MAX_SIZE or zlib.crc32(mark) * TARGET < size << 32
