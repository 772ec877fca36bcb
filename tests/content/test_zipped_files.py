"""Zip files of strangers: what they may not do."""

from __future__ import annotations

import time
import zipfile

import pytest

from kbjobs.content.zipped_files import FILE_LIMIT, TOTAL_LIMIT, UNPACKED_LIMIT, DamagedFile, ZippedFiles
from tests.content.office_files import zip_files


def test_reads_what_is_in_it() -> None:
    files = ZippedFiles(zip_files({"a/b.txt": "x" * 1000, "c": b"y"}))
    assert files.names == {"a/b.txt", "c"}
    assert files.read("a/b.txt") == b"x" * 1000
    assert "c" in files and "d" not in files


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "\\x", "a\\..\\x", ".."])
def test_a_name_outside_of_it_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="outside of itself"):
        ZippedFiles(zip_files({"a": "x", name: "y"}))


def test_a_bomb_costs_no_more_than_the_limit() -> None:
    bomb = zip_files({str(number): b"\0" * UNPACKED_LIMIT for number in range(2)} | {"big": b"\0" * 2 * UNPACKED_LIMIT})
    assert len(bomb) < 500_000
    files = ZippedFiles(bomb)
    with pytest.raises(ValueError, match="unpacks to more"):
        files.read("big")
    for _ in range(TOTAL_LIMIT // UNPACKED_LIMIT - 2):
        files.read("0")
    with pytest.raises(ValueError, match="unpacks to more"):
        files.read("1")


def test_too_many_files_are_refused_at_once() -> None:
    many = zip_files({f"{number}": b"" for number in range(FILE_LIMIT + 1)}, zipfile.ZIP_STORED)
    started = time.process_time()
    with pytest.raises(ValueError, match=r"too many files in it: 20,001, the limit is 20,000"):
        ZippedFiles(many)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("cut", [1, 10, 60, -10, -30])
def test_a_cut_file_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="damaged or incomplete"):
        ZippedFiles(zip_files({"a": "x" * 100})[:cut])


def test_flipped_bytes_are_noticed() -> None:
    data = bytearray(zip_files({"a": "some text " * 100}))
    data[40:44] = b"\xff\xff\xff\xff"
    with pytest.raises(DamagedFile, match="a cannot be unpacked"):
        ZippedFiles(bytes(data)).read("a")
    with pytest.raises(DamagedFile, match="b is missing"):
        ZippedFiles(bytes(data)).read("b")


def test_methods_that_take_memory_are_refused() -> None:
    with pytest.raises(DamagedFile, match="packed in an unknown way"):
        ZippedFiles(zip_files({"a": "x" * 100}, zipfile.ZIP_LZMA)).read("a")


def test_an_encrypted_file_is_refused() -> None:
    data = bytearray(zip_files({"a": "x" * 100}))
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flags of the line in the table of contents
    with pytest.raises(ValueError, match="encrypted"):
        ZippedFiles(bytes(data)).read("a")
