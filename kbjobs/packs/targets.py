"""Where a pack is written to: a store, or one file. A pack is there once its manifest is."""

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
"""What a pack in one file is called."""


class Builder(Protocol):
    """What gives the parts of a pack, and after all of them its manifest."""

    def parts(self) -> Iterator[SealedPart]:
        """Every part, each to be stored before the next is asked for."""
        ...

    @property
    def manifest(self) -> Manifest:
        """The manifest, once all parts were taken."""
        ...


class PackTarget(Protocol):
    """What takes the parts of a pack, and after all of them its manifest."""

    def has(self, sealed: SealedPart) -> bool:
        """Whether a part is there already."""
        ...

    def put(self, sealed: SealedPart) -> None:
        """Store a part."""
        ...

    def publish(self, manifest: Manifest) -> None:
        """Store the manifest, once all parts are stored for good."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """A pack that was written: its version; how many different parts it has, and how many had to be stored."""

    manifest: Manifest
    version: str
    parts: int
    new_parts: int
    new_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """As the JSON that ``--json`` prints."""
        return {
            "source": self.manifest.source.id,
            "version": self.version,
            "size": self.manifest.size,
            "parts": self.parts,
            "new_parts": self.new_parts,
            "new_bytes": self.new_bytes,
        }


def write_pack(builder: Builder, target: PackTarget) -> Written:
    """Write a pack part by part; what is there already is not written again."""
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
        """Whether there is an object of that name and size: each is stored whole or not at all."""
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
    """A pack in one file, a tar without compression: the parts, then the manifest. To be used as a context.

    The same pack is the same file. It is written next to its place, and renamed once it is whole.
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
        with suppress(OSError):  # what is still to be written does not matter any more
            self._file.close()
        self._unfinished.unlink(missing_ok=True)

    def has(self, sealed: SealedPart) -> bool:
        """Whether the part is there: never, the file is begun again each time."""
        return False

    def put(self, sealed: SealedPart) -> None:
        """Append a part."""
        self._append(sealed.part.name, sealed.data)

    def publish(self, manifest: Manifest) -> None:
        """Append the manifest and the end of the archive, and put the file into its place."""
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
