"""The targets that a pack is written to: a store, or one file. A pack exists once its manifest is written."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from kbjobs.object_storage.bucket import Bucket
from kbjobs.object_storage.folder import writing
from kbjobs.packs.manifest import MANIFEST, Manifest, manifest_name, name_version
from kbjobs.packs.parts import SealedPart
from kbjobs.system.crashpoints import crash_point
from kbjobs.system.files import sync_folder

FILE_SUFFIX = ".kbpack"
"""The suffix of a pack in one file."""


class Builder(Protocol):
    """Produces the parts of a pack, and then its manifest."""

    def parts(self) -> Iterator[SealedPart]:
        """Yield every part; the caller stores each before it takes the next."""
        ...

    @property
    def manifest(self) -> Manifest:
        """The manifest, available after all parts were taken."""
        ...


class PackTarget(Protocol):
    """Stores the parts of a pack, and then its manifest."""

    def has(self, sealed: SealedPart) -> bool:
        """Whether a part is stored already."""
        ...

    def put(self, sealed: SealedPart) -> None:
        """Store a part."""
        ...

    def publish(self, manifest: Manifest) -> None:
        """Store the manifest, after all parts are stored durably."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """A written pack: its version, the number of its different parts, and how many of them had to be stored."""

    manifest: Manifest
    version: str
    parts: int
    new_parts: int
    new_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """The result as the JSON that ``--json`` prints."""
        return {
            "source": self.manifest.source.id,
            "version": self.version,
            "size": self.manifest.size,
            "parts": self.parts,
            "new_parts": self.new_parts,
            "new_bytes": self.new_bytes,
        }


def write_pack(builder: Builder, target: PackTarget) -> Written:
    """Write a pack part by part; parts that the target has already are not written again."""
    seen: set[str] = set()
    new_parts = new_bytes = 0
    for sealed in builder.parts():
        if sealed.part.sha256 in seen:
            continue
        seen.add(sealed.part.sha256)
        if not target.has(sealed):
            target.put(sealed)
            new_parts += 1
            new_bytes += sealed.part.size
            crash_point("pack.part_written")
    crash_point("pack.before_manifest")
    target.publish(builder.manifest)
    crash_point("pack.published")
    version = name_version(builder.manifest.encode())
    return Written(builder.manifest, version, len(seen), new_parts, new_bytes)


class StoreTarget:
    """A store: ``objects/HASH`` and ``packs/SOURCE/VERSION/manifest.json``."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def has(self, sealed: SealedPart) -> bool:
        """Whether there is an object of that name and size; objects are stored completely or not at all."""
        there = self._bucket.find(sealed.part.name)
        return there is not None and there.size == sealed.part.size

    def put(self, sealed: SealedPart) -> None:
        """Store a part."""
        self._bucket.put(sealed.part.name, sealed.data)

    def publish(self, manifest: Manifest) -> None:
        """Store the manifest."""
        text = manifest.encode()
        self._bucket.put(manifest_name(manifest.source.id, name_version(text)), text)


class FileTarget:
    """A pack in one file, an uncompressed tar of the parts and then the manifest. Use it as a context.

    The same pack gives the same file. It is written under a temporary name, and renamed once it is complete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished = path.with_name(f".{path.name}.part")

    def __enter__(self) -> Self:
        with writing(self._path):
            descriptor = os.open(self._unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(descriptor, "wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # unwritten bytes no longer matter
            self._file.close()
        self._unfinished.unlink(missing_ok=True)

    def has(self, sealed: SealedPart) -> bool:
        """Always False, because the file is written from the start each time."""
        return False

    def put(self, sealed: SealedPart) -> None:
        """Append a part."""
        self._append(sealed.part.name, sealed.data)

    def publish(self, manifest: Manifest) -> None:
        """Append the manifest and the end of the archive, and rename the file into place."""
        self._append(MANIFEST, manifest.encode())
        with writing(self._path):
            self._file.write(bytes(2 * tarfile.BLOCKSIZE))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._unfinished.replace(self._path)
            sync_folder(self._path.parent)

    def _append(self, name: str, data: bytes) -> None:
        header = tarfile.TarInfo(name)
        header.size, header.mode = len(data), 0o600
        with writing(self._path):
            self._file.write(header.tobuf(tarfile.USTAR_FORMAT))
            self._file.write(data)
            self._file.write(bytes(-len(data) % tarfile.BLOCKSIZE))
