"""Unpacking compressed bodies piece by piece, so that a small body cannot become a huge one unnoticed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

PIECE = 64 * 1024
"""Bytes unpacked at once."""
MAX_RATIO = 250
"""Largest ratio of unpacked to packed bytes. Pages of tables reach 1:100; gzip reaches 1:1032 with zeros only."""
FREE_BYTES = 1 << 20
"""Bytes that may be unpacked at any ratio."""
ENCODINGS = ("gzip", "x-gzip", "deflate", "")
"""The supported encodings; '' is none."""
GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW = 16 + zlib.MAX_WBITS


class BombError(ValueError):
    """A body unpacks to far more bytes than any page does, or to more than allowed."""


class Unpacker:
    """Unpacks a body as it arrives. A body that is declared as gzip but is not stays unchanged.

    Args:
        encoding: one of :data:`ENCODINGS`, in lower case.
        guesses: whether to unpack a body without a declared encoding if it looks like gzip.
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
        """Yield the unpacked pieces of arrived data, each of at most :data:`PIECE` bytes if it was packed.

        Raises:
            ValueError: the data is damaged.
            BombError: it unpacks to too many bytes.
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
        is_full = False  # the last piece had the maximum size, so more may be waiting
        while data or is_full:
            if self._stream.eof:
                # gzip files may be concatenated (RFC 1952, 2.2). Other bytes after the end are ignored.
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
        """The remaining bytes, after all data has arrived.

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
        A zlib decompressor, None if the body is not packed.
    """
    if encoding == "deflate":
        # Some servers send deflate with a zlib header, some without (RFC 9110, 8.4.1.2; RFC 1950, 2.2).
        has_header = head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
        return zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
    if head.startswith(GZIP_MAGIC) and (encoding or guesses):
        return zlib.decompressobj(GZIP_WINDOW)
    return None


def unpack(body: bytes, max_bytes: int) -> bytes:
    """Unpack a body if it is gzip.

    Args:
        body: the body as received.
        max_bytes: the largest size of the unpacked body.
    Raises:
        ValueError: the body is damaged.
        BombError: the unpacked body is too large.
    """
    unpacker = Unpacker("", guesses=True)
    unpacked = bytearray()
    for part in unpacker.feed(body):
        unpacked += part
        if len(unpacked) > max_bytes:
            raise BombError(f"it has more than {max_bytes:,} bytes")
    return bytes(unpacked) + unpacker.finish()
