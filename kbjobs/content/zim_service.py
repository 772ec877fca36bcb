"""What libzim says of a ZIM file: runs in a process of its own, so that its crash or hang takes nobody else down."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbjobs.system.child_service import beat

if TYPE_CHECKING:
    import numpy as np
    from libzim.reader import Archive

ZIM_HEADER = struct.Struct("<IHH16sIIQQQQIIQ")
"""The head of a ZIM file (https://wiki.openzim.org/wiki/ZIM_file_format); the last field is where its checksum is."""

TEXT_LIMIT = 100_000
"""Longest piece of metadata read, and longest path, in bytes."""

MEMORY_LIMIT = 2 * 2**30
"""Most memory of the process's own, in bytes: a file made for it would fill the machine's."""

CLUSTER_CACHE = 4 * 2**20
"""Unpacked clusters kept, in bytes. Read in order, each is needed once; libzim keeps the last, however large."""

WINDOW = 4_000_000
"""Most entries put in order at a time, 8 bytes each; a larger file's table is gone through more than once."""

BEAT = 1.0
"""Seconds between two heartbeats while the table of a large file is read."""

_CHUNK = 8_192  # entries whose place is read at a time
_SPAN = 16 * 2**20
_BUCKETS = 65_536
_DIRENT = 16  # up to cluster and blob, or to the target of a redirect
_IS_REDIRECT = 0xFFFF
_ITEM, _REDIRECT, _OTHER = range(3)
_METADATA = (
    "Title", "Description", "Creator", "Publisher", "License", "Language", "Date", "Tags", "Source", "Counter",
)  # fmt: skip


class FileParts:
    """A ZIM file's bytes, be it whole or split, without libzim."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._parts: list[tuple[int, int, int]] = []
        self.size = 0
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            end = self.size + os.fstat(descriptor).st_size
            self._parts.append((self.size, end, descriptor))
            self.size = end

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there, filled up with zeros where the file has none."""
        pieces = []
        for start, end, descriptor in self._parts:
            low, high = max(offset, start), min(offset + length, end)
            if low < high:
                pieces.append(os.pread(descriptor, high - low, low - start))
        return b"".join(pieces).ljust(length, b"\0")


class EntryOrder:
    """The order in which entries are read: by cluster, since a compressed one is unpacked as a whole.

    The binding does not say in which cluster an entry lies; the file's own table does.
    """

    def __init__(self, parts: FileParts, count: int, content: bytes) -> None:
        head = ZIM_HEADER.unpack(parts.read(0, ZIM_HEADER.size))
        self._parts = parts
        self._table: int = head[6]
        self._shift = max(0, int(head[5]).bit_length() - 16)
        self._count = count
        self._content = content
        self._beaten = time.monotonic()

    def walk(self, start: int) -> Iterator[tuple[int, int]]:
        """Number and kind of each entry from the place ``start`` on: items, redirects, then what is no content."""
        import numpy as np

        buckets = np.zeros(_BUCKETS, np.int64)
        counts = np.zeros(3, np.int64)
        for _, kinds, clusters in self._read_all():
            buckets += np.bincount(self._bucket(clusters[kinds == _ITEM]), minlength=_BUCKETS)
            counts += np.bincount(kinds, minlength=3)
        yield from self._walk_items(start, buckets)
        place = int(counts[_ITEM])
        for kind in (_REDIRECT, _OTHER):
            if place + counts[kind] > start:
                yield from self._walk_others(kind, max(0, start - place))
            place += int(counts[kind])

    def _walk_items(self, start: int, buckets: np.ndarray[Any, Any]) -> Iterator[tuple[int, int]]:
        place = low = 0
        while low < _BUCKETS:
            high, size = low + 1, int(buckets[low])
            while high < _BUCKETS and size + int(buckets[high]) <= WINDOW:
                size += int(buckets[high])
                high += 1
            if place + size > start:
                for number in self._sorted(low, high, size)[max(0, start - place) :]:
                    yield int(number) & 0xFFFFFFFF, _ITEM
            place += size
            low = high

    def _walk_others(self, wanted: int, skipped: int) -> Iterator[tuple[int, int]]:
        """The entries of one kind in the order of the table, without the first ``skipped``."""
        import numpy as np

        for first, kinds, _ in self._read_all():
            found = np.nonzero(kinds == wanted)[0]
            yield from ((first + number, wanted) for number in found[skipped:].tolist())
            skipped = max(0, skipped - len(found))

    def sample(self, start: int, size: int) -> Iterator[tuple[int, int]]:
        """The same for ``size`` entries at most, evenly spread over the table, which is the order of paths."""
        numbers = sorted({round(step * (self._count - 1) / max(1, size - 1)) for step in range(size)})
        found = []
        for number in numbers:
            self._beat_in_time()
            kinds, clusters = self._read(number, 1)
            found.append((int(kinds[0]), int(clusters[0]), number))
        for kind, _, number in sorted(found)[start:]:
            yield number, kind

    def _sorted(self, low: int, high: int, size: int) -> np.ndarray[Any, Any]:
        import numpy as np

        keys = np.empty(size, np.uint64)
        end = 0
        for first, kinds, clusters in self._read_all():
            bucket = self._bucket(clusters)
            chosen = np.nonzero((kinds == _ITEM) & (bucket >= low) & (bucket < high))[0]
            numbers = (chosen + first).astype(np.uint64)
            keys[end : end + len(chosen)] = (clusters[chosen].astype(np.uint64) << np.uint64(32)) | numbers
            end += len(chosen)
        keys.sort()
        return keys

    def _beat_in_time(self) -> None:
        if time.monotonic() - self._beaten > BEAT:
            beat()
            self._beaten = time.monotonic()

    def _bucket(self, clusters: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        import numpy as np

        buckets: np.ndarray[Any, Any] = np.minimum(clusters >> self._shift, _BUCKETS - 1)
        return buckets

    def _read_all(self) -> Iterator[tuple[int, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        for first in range(0, self._count, _CHUNK):
            self._beat_in_time()
            yield first, *self._read(first, min(_CHUNK, self._count - first))

    def _read(self, first: int, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Kinds and clusters of some entries. Damage may make them wrong: they only give the order."""
        import numpy as np

        pointers = np.frombuffer(self._parts.read(self._table + 8 * first, 8 * count), "<u8")
        pointers = np.minimum(pointers, self._parts.size)
        low, high = int(pointers.min()), int(pointers.max()) + _DIRENT
        if high - low <= _SPAN:  # the usual case: entries are written in the order of the table
            span = np.frombuffer(self._parts.read(low, high - low), np.uint8)
            dirents = span[(pointers - low).astype(np.int64)[:, None] + np.arange(_DIRENT)]
        else:
            joined = b"".join([self._parts.read(int(pointer), _DIRENT) for pointer in pointers])
            dirents = np.frombuffer(joined, np.uint8).reshape(count, _DIRENT)
        codes = np.ascontiguousarray(dirents[:, :2]).view("<u2")[:, 0]
        clusters = np.ascontiguousarray(dirents[:, 8:12]).view("<u4")[:, 0]
        spaces = dirents[:, 3]
        is_content = np.isin(spaces, list(self._content)) | (spaces <= 0x20) | (spaces >= 0x7F)  # no letter: damaged
        kinds = np.where(is_content, np.where(codes == _IS_REDIRECT, _REDIRECT, _ITEM), _OTHER)
        return kinds, clusters


Found = tuple[dict[str, Any], bytes]


class ZimService:
    """An open ZIM file.

    Args:
        path: of the file.
        parts: the files that it is made of.

    Raises ValueError with what libzim says if it cannot be opened.
    """

    def __init__(self, path: Path, parts: Sequence[Path]) -> None:
        try:
            from libzim.reader import Archive, set_cluster_cache_max_size

            set_cluster_cache_max_size(CLUSTER_CACHE)
            self._archive = Archive(path)
            self._header = read_header(self._archive)
            self._bytes = FileParts(parts)
        except ImportError as error:
            raise ValueError("reading it needs libzim: pip install libzim") from error
        except UnicodeDecodeError as error:  # libzim's message holds a damaged name, and the binding cannot decode it
            raise ValueError(describe_error(ValueError(error.object.decode("utf-8", "backslashreplace")))) from error
        except Exception as error:  # whatever libzim says of a damaged file
            raise ValueError(describe_error(error)) from error

    def header(self) -> dict[str, Any]:
        """What the file says of itself."""
        return self._header

    def check(self) -> bool | None:
        """Whether the file is as it was made; None if it has no checksum to say so."""
        return check(self._archive)

    def entries(self, start: int, wanted: frozenset[str], limit: int, sample: int | None) -> Iterator[Found]:
        """Read the entries in order, each with its place, from which a caller can resume after a crash.

        Args:
            start: the place to begin at.
            wanted: the media types whose data is read.
            limit: the largest size of an entry whose data is read, in bytes.
            sample: the number of entries to read, spread evenly; None for all.

        Returns:
            Head and data of each entry; see :func:`read_entry`.
        """
        content = b"C" if self._header["has_new_namespaces"] else b"AIJ"
        order = EntryOrder(self._bytes, self._header["all_entry_count"], content)
        chosen = order.walk(start) if sample is None else order.sample(start, sample)
        for place, (number, kind) in enumerate(chosen, start):
            head, data = read_entry(self._archive, number, kind, wanted, limit)
            yield head | {"at": place}, data

    def find(self, path: str, wanted: frozenset[str], limit: int) -> Iterator[Found]:
        """Head and data of the entry of a path, as of :meth:`entries`; nothing if there is none."""
        if self._archive.has_entry_by_path(path):
            yield read_entry(self._archive, self._archive.get_entry_by_path(path)._index, _ITEM, wanted, limit)


def read_entry(archive: Archive, number: int, kind: int, wanted: frozenset[str], limit: int) -> Found:
    """Read an entry.

    Args:
        archive: the open archive.
        number: the entry's number.
        kind: whether it is an item, a redirect or no content; of the last only damage is reported.
        wanted: the media types whose data is read.
        limit: the largest size of an entry whose data is read, in bytes.

    Returns:
        Its head (path, title, media type and size; a redirect's target; or why it cannot be read), and its data.
    """
    path = None
    try:
        entry = archive._get_entry_by_id(number)
        path = entry.path[:TEXT_LIMIT]
        if entry.is_redirect:  # one step: redirects may go in a circle
            target = entry.get_redirect_entry().path[:TEXT_LIMIT]
            return ({} if kind == _OTHER else {"path": path, "target": target}), b""
        item = entry.get_item()
        mimetype = item.mimetype.partition(";")[0].strip().lower()[:200]
        size = item.size
        if kind == _OTHER:
            if size <= TEXT_LIMIT:
                _ = item.content
            return {}, b""
        head = {"path": path, "title": entry.title[:TEXT_LIMIT], "mimetype": mimetype, "size": size}
        if mimetype in wanted and size <= limit:
            data = item.content
            return head | {"has_data": True}, bytes(data)
        return head, b""
    except Exception as error:  # noqa: BLE001 - whatever libzim says of a damaged entry
        return {"path": path, "number": number, "reason": describe_error(error), "is_content": kind != _OTHER}, b""


def read_header(archive: Archive) -> dict[str, Any]:
    """What the file says of itself, as far as it can be read."""
    header: dict[str, Any] = {name.lower(): read_metadata(archive, name) for name in _METADATA}
    header["uuid"] = str(archive.uuid)
    header["all_entry_count"] = archive.all_entry_count
    header["has_new_namespaces"] = archive.has_new_namespace_scheme
    for name in ("entry_count", "article_count", "is_multipart", "has_checksum", "filesize"):
        try:
            header[name] = getattr(archive, name)
        except Exception:  # noqa: BLE001 - counted from a list that may be damaged
            header[name] = 0
    try:
        header["has_illustration"] = archive.has_illustration()
    except Exception:  # noqa: BLE001
        header["has_illustration"] = False
    header["main_entry"] = read_main_entry(archive)
    return header


def read_main_entry(archive: Archive) -> str:
    """The path of the page a reader begins with, or nothing."""
    try:
        if not archive.has_main_entry:
            return ""
        entry = archive.main_entry
        for _ in range(20):
            if not entry.is_redirect:
                return str(entry.path[:TEXT_LIMIT])
            entry = entry.get_redirect_entry()
    except Exception:  # noqa: BLE001
        return ""
    return ""


def read_metadata(archive: Archive, name: str) -> str:
    """A piece of metadata, or nothing if it is missing, damaged or too long."""
    try:
        item = archive.get_metadata_item(name)
        return bytes(item.content).decode("utf-8", "replace").strip() if item.size <= TEXT_LIMIT else ""
    except Exception:  # noqa: BLE001
        return ""


def check(archive: Archive) -> bool | None:
    """Whether the file is as it was made; None if it has no checksum to say so."""
    try:
        return bool(archive.check()) if archive.has_checksum else None
    except Exception:  # noqa: BLE001
        return False


def describe_error(error: Exception) -> str:
    """The reason in one line."""
    return " ".join((str(error) or type(error).__name__).split())[:500]
