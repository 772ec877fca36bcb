"""Compressed bodies, piece by piece, so that a small one cannot become a large one unseen."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

PIECE = 64 * 1024
"""Bytes that are unpacked at once."""
MAX_RATIO = 250
"""Pages that consist of tables come to 1:100; gzip could do 1:1032, which only empty bytes reach."""
FREE_BYTES = 1 << 20
"""What may be unpacked at any ratio."""
ENCODINGS = ("gzip", "x-gzip", "deflate", "")
"""The encodings that are understood; none is the empty one."""
GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW = 16 + zlib.MAX_WBITS


class BombError(ValueError):
    """A body becomes far larger by unpacking than any page does, or larger than it may be."""


class Unpacker:
    """Unpacks a body as it arrives. What is declared to be gzip and is not, is given as it is.

    Args:
        encoding: one of :data:`ENCODINGS`, in lower case.
        guesses: whether a body of no declared encoding is unpacked if it looks like gzip.
    """

    def __init__(self, encoding: str, guesses: bool = False) -> None:
        self._encoding = encoding
        self._guesses = guesses
        self._head: bytes | None = b""
        self._behind = b""
        self._stream: Any = None
        self._taken = 0
        self._given = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The unpacked pieces of what has arrived, each of at most :data:`PIECE` bytes if it was packed.

        Raises:
            ValueError: it is damaged.
            BombError: see there.
        """
        self._taken += len(data)
        if self._head is not None:
            data = self._head + data
            if len(data) < len(GZIP_MAGIC):
                self._head = data
                return
            self._head = None
            self._stream = open_stream(self._encoding, data, self._guesses)
        if self._stream is None:
            yield data
        else:
            yield from self._unpack(data)

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        is_full = False  # the last piece was as large as it may be, and more of it may be waiting
        while data or is_full:
            if self._stream.eof:
                # Files may be joined (RFC 1952, 2.2). Other bytes behind the end mean nothing.
                data = self._behind + data
                self._behind = data[: len(GZIP_MAGIC)]
                if self._behind != GZIP_MAGIC:
                    return
                self._behind = b""
                self._stream = zlib.decompressobj(GZIP_WINDOW)
            try:
                part = self._stream.decompress(data, PIECE)
            except zlib.error as error:
                raise ValueError(f"it cannot be unpacked: {error}") from error
            self._given += len(part)
            if self._given > max(FREE_BYTES, self._taken * MAX_RATIO):
                raise BombError(f"{self._taken:,} bytes become more than {self._given:,}")
            yield part
            data = self._stream.unconsumed_tail or self._stream.unused_data
            is_full = len(part) == PIECE

    def finish(self) -> bytes:
        """What is left when all has arrived.

        Raises:
            ValueError: the end is missing.
        """
        if self._stream is not None and not self._stream.eof:
            raise ValueError("its end is missing")
        return self._head or b""


def open_stream(encoding: str, head: bytes, guesses: bool) -> Any:
    """Make a decompressor for a body.

    Args:
        encoding: its Content-Encoding, '' if it has none.
        head: its first bytes.
        guesses: whether to unpack gzip that the server has not declared.

    Returns:
        A decompressor of zlib, None if the body is not packed.
    """
    if encoding == "deflate":
        # Some servers send it with, some without the header of zlib (RFC 9110, 8.4.1.2; RFC 1950, 2.2).
        has_header = head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
        return zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
    if head.startswith(GZIP_MAGIC) and (encoding or guesses):
        return zlib.decompressobj(GZIP_WINDOW)
    return None


def unpack(body: bytes, max_bytes: int) -> bytes:
    """A body without its gzip, if it has one.

    Args:
        body: as it came.
        max_bytes: bytes it may have then.
    Raises:
        ValueError: it is damaged.
        BombError: it is too large.
    """
    unpacker = Unpacker("", guesses=True)
    unpacked = bytearray()
    for part in unpacker.feed(body):
        unpacked += part
        if len(unpacked) > max_bytes:
            raise BombError(f"it has more than {max_bytes:,} bytes")
    return bytes(unpacked) + unpacker.finish()
