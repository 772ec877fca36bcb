"""Read a ZIM file with libzim in a separate process, so that its crashes and hangs affect nothing else."""

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
"""The header of a ZIM file (https://wiki.openzim.org/wiki/ZIM_file_format); the last field is its checksum's
position."""

TEXT_LIMIT = 100_000
"""Longest piece of metadata that is read, and longest path, in bytes."""

MEMORY_LIMIT = 2 * 2**30
"""The most memory of the process itself, in bytes: a crafted file would fill the machine's."""

CLUSTER_CACHE = 4 * 2**20
"""Unpacked clusters kept, in bytes. In order of reading each is needed once; libzim keeps the last, however large."""

WINDOW = 4_000_000
"""The most entries sorted at a time, 8 bytes each; a larger file's table is read more than once."""

BEAT = 1.0
"""Seconds between two heartbeats while the table of a large file is read."""

_CHUNK = 8_192  # entries whose place is read at a time
_SPAN = 16 * 2**20
_BUCKETS = 65_536
_DIRENT = 16  # bytes up to cluster and blob, or to the target of a redirect
_IS_REDIRECT = 0xFFFF
_ITEM, _REDIRECT, _OTHER = range(3)
_METADATA = (
    "Title", "Description", "Creator", "Publisher", "License", "Language", "Date", "Tags", "Source", "Counter",
)  # fmt: skip


class FileParts:
    """The bytes of a ZIM file, whole or split, without libzim."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._parts: list[tuple[int, int, int]] = []
        self.size = 0
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            end = self.size + os.fstat(descriptor).st_size
            self._parts.append((self.size, end, descriptor))
            self.size = end

    def read(self, offset: int, length: int) -> bytes:
        """Read bytes at an offset, padded with zeros beyond the end of the file."""
        pieces = []
        for start, end, descriptor in self._parts:
            low, high = max(offset, start), min(offset + length, end)
            if low < high:
                pieces.append(os.pread(descriptor, high - low, low - start))
        return b"".join(pieces).ljust(length, b"\0")


class EntryOrder:
    """The order in which entries are read: by cluster, since a compressed cluster is unpacked as a whole.

    The binding does not say which cluster an entry is in; the file's own table does.
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
        """Yield number and kind of each entry from position ``start``: items, redirects, then other entries."""
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
        """Yield the entries of one kind in the order of the table, without the first ``skipped``."""
        import numpy as np

        for first, kinds, _ in self._read_all():
            found = np.nonzero(kinds == wanted)[0]
            yield from ((first + number, wanted) for number in found[skipped:].tolist())
            skipped = max(0, skipped - len(found))

    def sample(self, start: int, size: int) -> Iterator[tuple[int, int]]:
        """Do the same for at most ``size`` entries, evenly spread over the table, which is in the order of paths."""
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
        """Read kinds and clusters of some entries. Damage may make them wrong, but they only determine the order."""
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
        is_content = np.isin(spaces, list(self._content)) | (spaces <= 0x20) | (spaces >= 0x7F)  # not a letter: damaged
        kinds = np.where(is_content, np.where(codes == _IS_REDIRECT, _REDIRECT, _ITEM), _OTHER)
        return kinds, clusters


Found = tuple[dict[str, Any], bytes]


class ZimService:
    """An open ZIM file.

    Args:
        path: the file's path.
        parts: the files that it consists of.

    Raises ValueError with libzim's message if it cannot be opened.
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
        except UnicodeDecodeError as error:  # libzim's message has a damaged name, which the binding cannot decode
            raise ValueError(describe_error(ValueError(error.object.decode("utf-8", "backslashreplace")))) from error
        except Exception as error:  # any error of libzim on a damaged file
            raise ValueError(describe_error(error)) from error

    def header(self) -> dict[str, Any]:
        """Return what the file says about itself."""
        return self._header

    def check(self) -> bool | None:
        """Verify the file's checksum; None if it has none."""
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
        """Yield head and data of the entry of a path, as :meth:`entries` does; nothing if there is none.

        Args:
            path: the entry's path.
            wanted: the media types whose data is read.
            limit: the largest size of an entry whose data is read, in bytes.
        """
        if self._archive.has_entry_by_path(path):
            yield read_entry(self._archive, self._archive.get_entry_by_path(path)._index, _ITEM, wanted, limit)


def read_entry(archive: Archive, number: int, kind: int, wanted: frozenset[str], limit: int) -> Found:
    """Read an entry.

    Args:
        archive: the open archive.
        number: the entry's number.
        kind: whether it is an item, a redirect or not content; for the last only damage is reported.
        wanted: the media types whose data is read.
        limit: the largest size of an entry whose data is read, in bytes.

    Returns:
        Its head (path, title, media type and size; a redirect's target; or why it cannot be read), and its data.
    """
    path = None
    try:
        entry = archive._get_entry_by_id(number)
        path = entry.path[:TEXT_LIMIT]
        if entry.is_redirect:  # one step, since redirects may be circular
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
    except Exception as error:  # noqa: BLE001 - any error of libzim on a damaged entry
        return {"path": path, "number": number, "reason": describe_error(error), "is_content": kind != _OTHER}, b""


def read_header(archive: Archive) -> dict[str, Any]:
    """Read what the file says about itself, as far as it is readable."""
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
    """Return the path of the main page, or ""."""
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
    """Return a piece of metadata, or "" if it is missing, damaged or too long."""
    try:
        item = archive.get_metadata_item(name)
        return bytes(item.content).decode("utf-8", "replace").strip() if item.size <= TEXT_LIMIT else ""
    except Exception:  # noqa: BLE001
        return ""


def check(archive: Archive) -> bool | None:
    """Verify the file's checksum; None if it has none."""
    try:
        return bool(archive.check()) if archive.has_checksum else None
    except Exception:  # noqa: BLE001
        return False


def describe_error(error: Exception) -> str:
    """Return the reason on one line."""
    return " ".join((str(error) or type(error).__name__).split())[:500]
