"""Compressed bodies as servers send them, right and wrong."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest

from kbjobs.scraping.decompression import PIECE, BombError, Unpacker, unpack

TEXT = b"".join(b"Line %d of the text, not quite like the others.\n" % number for number in range(20_000))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def read(data: bytes, encoding: str, *, guesses: bool = False, step: int = 1000) -> bytes:
    unpacker = Unpacker(encoding, guesses)
    parts: list[bytes] = []
    for start in range(0, len(data), step):
        parts += unpacker.feed(data[start : start + step])
    return b"".join(parts) + unpacker.finish()


@pytest.mark.parametrize("step", [1, 7, 1000, 10_000_000])
@pytest.mark.parametrize(
    ("data", "encoding", "guesses"),
    [
        (gzip.compress(TEXT), "gzip", False), (gzip.compress(TEXT), "x-gzip", False),
        (zlib.compress(TEXT), "deflate", False), (raw_deflate(TEXT), "deflate", False),
        (TEXT, "", True), (gzip.compress(TEXT), "", True), (TEXT, "gzip", False),
        (gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:]), "gzip", False),
        (gzip.compress(TEXT) + b"\0" * 512, "gzip", False),
    ],
)  # fmt: skip
def test_it_is_unpacked(data: bytes, encoding: str, guesses: bool, step: int) -> None:
    assert read(data, encoding, guesses=guesses, step=step) == TEXT


@pytest.mark.parametrize("data", [b"", b"<", b"\x1f"])
@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_hardly_anything(data: bytes, encoding: str) -> None:
    assert read(data, encoding) == data


def test_random_bytes_and_lengths() -> None:
    generator = random.Random(7)
    for length in [*range(300), PIECE - 1, PIECE, PIECE + 1, 3 * PIECE]:
        data = generator.randbytes(length // 2) + b"a" * (length - length // 2)
        for packed, encoding in ((gzip.compress(data), "gzip"), (raw_deflate(data), "deflate")):
            assert read(packed, encoding, step=61) == data


def test_gzip_that_was_asked_for_stays_gzip() -> None:
    packed = gzip.compress(TEXT)
    assert read(packed, "") == packed


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (gzip.compress(TEXT)[:-20], "gzip"),
        (gzip.compress(TEXT)[:-20] + b"x" * 20, "gzip"),
        (b"<html><body>", "deflate"),
    ],
)
def test_a_damaged_body(data: bytes, encoding: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be unpacked|its end is missing"):
        read(data, encoding)


def test_a_bomb_is_noticed_before_it_fills_the_memory() -> None:
    bomb = gzip.compress(bytes(200 << 20), 9)
    tracemalloc.start()
    with pytest.raises(BombError):
        for _ in Unpacker("gzip").feed(bomb):
            pass
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_unpack() -> None:
    assert unpack(TEXT, len(TEXT)) == unpack(gzip.compress(TEXT), len(TEXT)) == TEXT
    for body in (TEXT, gzip.compress(TEXT)):
        with pytest.raises(BombError):
            unpack(body, len(TEXT) - 1)
