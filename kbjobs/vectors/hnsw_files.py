"""Checking that the files of a collection are complete, before Chroma opens them.

Chroma does not check: a truncated header ended its process with a segmentation fault, and truncated neighbour lists,
which decide what a search finds, went unreported (chromadb 1.5.9). The layout is hnswlib's as Chroma writes it
(`hnswalg.h`, ``saveIndex`` and ``persistDirty``): a little-endian header of 100 bytes; then, in files of their own, the
records of level 0, all of one size; a length for each record; and for each record its neighbour lists, preceded by
their number of bytes.
"""

from __future__ import annotations

import struct
from pathlib import Path

from kbjobs.store.connection import find_cut

DATABASE = "chroma.sqlite3"
_HEADER = struct.Struct("<iQQQQQQiIQQQdQ")
_VERSION = 1  # the version of the layout
_NUMBER = struct.Struct("<I")


def find_damage(directory: Path) -> str:
    """Describe which file of a collection is truncated or missing; '' if none is.

    A collection of fewer than about a thousand records has no index files yet. Files of an unknown layout are not
    checked.
    """
    damage = find_cut(directory / DATABASE)
    for header in sorted(directory.glob("*/header.bin")):
        damage = damage or _check_index(header)
    for data in sorted(directory.glob("*/data_level0.bin")):
        if not damage and not data.with_name("header.bin").exists():
            damage = f"{data.parent.name}/header.bin is missing"
    return damage


def _check_index(header: Path) -> str:
    folder = header.parent
    head = header.read_bytes()
    if len(head) < _HEADER.size:
        return f"{folder.name}/{header.name} is cut: {len(head)} bytes of {_HEADER.size}"
    version, _, _, count, record_bytes, *_ = _HEADER.unpack_from(head)
    if len(head) > _HEADER.size or version != _VERSION or not count:
        return ""  # if the files have no records, all are in the database's log
    for name, wanted in (("data_level0.bin", count * record_bytes), ("length.bin", count * _NUMBER.size)):
        path = folder / name
        size = path.stat().st_size if path.is_file() else 0
        if size != wanted:
            return f"{folder.name}/{name} is cut: {size:,} bytes of {wanted:,}"
    return _check_lists(folder, count) or _check_names(folder)


def _check_lists(folder: Path, count: int) -> str:
    path = folder / "link_lists.bin"
    lists = path.read_bytes() if path.is_file() else b""
    place = 0
    for _ in range(count):
        if place + _NUMBER.size > len(lists):
            break
        place += _NUMBER.size + _NUMBER.unpack_from(lists, place)[0]
    else:
        if place == len(lists):
            return ""
    return f"{folder.name}/{path.name} is cut, or not of these records"


def _check_names(folder: Path) -> str:
    path = folder / "index_metadata.pickle"
    content = path.read_bytes() if path.is_file() else b""
    return "" if content.endswith(b".") else f"{folder.name}/{path.name} is cut"
