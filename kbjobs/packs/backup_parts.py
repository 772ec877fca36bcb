"""The backup in a pack: large files cut into pieces of equal size, small files grouped into parts, and their list."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from typing import IO

from kbjobs.packs.backup_files import FileList, SourceFile, open_unchanged
from kbjobs.packs.manifest import PackedBackup, Part
from kbjobs.packs.parts import SealedPart, is_cut_behind, seal
from kbjobs.packs.records import FileRecord, PackedChunk
from kbjobs.packs.tables import TableWriter

PIECE = 8 * 1024 * 1024
"""Bytes of a piece of a large file, which is sent again if a connection breaks: a minute at 1 Mbit/s. Smaller pieces
would need more requests and round trips; S3 and R2 accept no part below 5 MiB in their own multipart uploads."""


def build_backup(listed: FileList, on_read: Callable[[int], None]) -> Generator[SealedPart, None, PackedBackup]:
    """Yield the parts of a backup, and return its description for the manifest.

    Args:
        listed: the files.
        on_read: called with the number of bytes of each read; may raise.
    """
    builder = _BackupBuilder(on_read)
    for file in listed.files:
        yield from builder.add(file)
    yield from builder.finish()
    return PackedBackup(
        roots=listed.roots,
        bytes=builder.bytes,
        case_sensitive=listed.case_sensitive,
        files=builder.table.table,
        data=builder.parts,
    )


class _BackupBuilder:
    def __init__(self, on_read: Callable[[int], None]) -> None:
        self._on_read = on_read
        self.table = TableWriter(lambda size: None)
        self.parts: list[Part] = []
        self.bytes = 0
        self._waiting: list[tuple[SourceFile, bytes]] = []  # small files that go into one part
        self._size = 0

    def add(self, file: SourceFile) -> Iterator[SealedPart]:
        with open_unchanged(file) as opened:
            first = opened.read(PIECE)
            self._on_read(len(first))
            if len(first) == PIECE:
                # The list is in order of name, so the small files before this one come first.
                yield from self._seal_waiting()
                record = yield from self._cut(file, first, opened)
        if len(first) == PIECE:
            yield from self.table.add(record)
            return
        self._waiting.append((file, first))
        self._size += len(first)
        if is_cut_behind(file.name.encode(), len(first), self._size):
            yield from self._seal_waiting()

    def finish(self) -> Iterator[SealedPart]:
        yield from self._seal_waiting()
        yield from self.table.finish()

    def _cut(self, file: SourceFile, first: bytes, rest: IO[bytes]) -> Generator[SealedPart, None, FileRecord]:
        digest = hashlib.sha256()
        pieces: list[PackedChunk] = []
        data = first
        size = 0
        while data:
            digest.update(data)
            size += len(data)
            sealed = seal(data, is_packed=False)  # large files are archives, PDFs and pictures
            pieces.append(PackedChunk(part=self._add_part(sealed.part), offset=0, length=len(data)))
            yield sealed
            data = rest.read(PIECE)
            self._on_read(len(data))
        self.bytes += size
        return FileRecord(name=file.name, size=size, sha256=digest.hexdigest(), pieces=pieces)

    def _seal_waiting(self) -> Iterator[SealedPart]:
        number = 0
        if self._size:
            sealed = seal(b"".join(data for _, data in self._waiting))
            number = self._add_part(sealed.part)
            yield sealed
        offset = 0
        for file, data in self._waiting:
            pieces = [PackedChunk(part=number, offset=offset, length=len(data))] if data else []
            offset += len(data)
            digest = hashlib.sha256(data).hexdigest()
            yield from self.table.add(FileRecord(name=file.name, size=len(data), sha256=digest, pieces=pieces))
        self.bytes += self._size
        self._waiting, self._size = [], 0

    def _add_part(self, part: Part) -> int:
        self.parts.append(part)
        return len(self.parts) - 1
