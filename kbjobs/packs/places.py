"""The places that packs are read from.

A reader asks for a name below the root of a store, and for a maximum number of bytes."""

from __future__ import annotations

import os
import re
import stat
import tarfile
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import unquote, urlsplit

from kbjobs.errors import NotFoundError, UnavailableError, UsageError
from kbjobs.object_storage.bucket import Bucket, NoObjectError
from kbjobs.object_storage.folder import FolderBucket
from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.manifest import MANIFEST, MAX_MANIFEST, MAX_PART
from kbjobs.packs.whole_files import WholeFiles

MAX_MEMBERS = 100_000
"""Most members of a pack in one file."""

NO_FILES = WholeFiles(Path(), (), ())
_MEMBER = re.compile(r"objects/[0-9a-f]{64}|manifest\.json")
_PACK = re.compile(r"(?P<name>packs/(?P<source>[^/]+)/(?P<version>[0-9a-f]{64})/manifest\.json)\Z")


class Place(Protocol):
    """A place that holds a pack."""

    @property
    def label(self) -> str:
        """Its name in messages."""
        ...

    @property
    def manifest(self) -> str:
        """The name of the manifest."""
        ...

    def close(self) -> None:
        """Release open files and connections."""
        ...

    def read(self, name: str, max_bytes: int) -> bytes:
        """Read a file; of a file larger than ``max_bytes``, only one byte more than that.

        Raises:
            DamagedPackError: the file is missing or is not a regular file.
            UnavailableError: the file cannot be read.
        """
        ...

    @property
    def whole(self) -> WholeFiles:
        """Files of the backup that are on this machine as they are."""
        ...


class StorePlace:
    """A pack in a store; ``manifest`` is its name there.

    Args:
        bucket: the store.
        manifest: the manifest's name in it.
        whole: files of its backup that lie beside the store; their parts are not in it.
    """

    def __init__(self, bucket: Bucket, manifest: str, whole: WholeFiles = NO_FILES) -> None:
        self._bucket, self.whole = bucket, whole
        self.manifest = manifest
        self.label = f"{bucket.label}/{manifest}"

    def close(self) -> None:
        """Close the store."""
        self._bucket.close()

    def read(self, name: str, max_bytes: int) -> bytes:
        """See :class:`Place`."""
        try:
            content = self._bucket.read(name, max_bytes)
        except NoObjectError as error:
            raise DamagedPackError(self.label, name, "is not a regular file") from error
        if content is None:
            raise DamagedPackError(self.label, name, "is missing")
        return content.data


class FilePlace:
    """A pack in one file; close it after use."""

    manifest = MANIFEST
    whole = NO_FILES

    def __init__(self, path: Path) -> None:
        self.label = str(path)
        try:
            self._file = _open_regular(path, self.label, "the file")
        except OSError as error:
            raise UnavailableError(f"cannot read {path}: {error.strerror}", "Check its permissions.") from error
        try:
            self._members = self._list()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, name: str, max_bytes: int) -> bytes:
        """See :class:`Place`."""
        if name not in self._members:
            raise DamagedPackError(self.label, name, "is missing")
        start, size = self._members[name]
        self._file.seek(start)
        return self._file.read(min(size, max_bytes + 1))

    def _list(self) -> dict[str, tuple[int, int]]:
        """The start and size of each member. A tar may hold links, devices and any names; those are refused."""
        found: dict[str, tuple[int, int]] = {}
        whole = os.fstat(self._file.fileno()).st_size
        place = 0
        while MANIFEST not in found:
            self._file.seek(place)
            block = self._file.read(tarfile.BLOCKSIZE)
            try:
                header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.TarError as error:
                what = "is cut, its manifest is missing" if place >= whole or found else f"is no tar file ({error})"
                raise DamagedPackError(self.label, "the file", what) from error
            name, start = header.name, place + tarfile.BLOCKSIZE
            if not _MEMBER.fullmatch(name) or header.type != tarfile.REGTYPE:
                raise DamagedPackError(self.label, f"{name!r}", "is no file that a pack has")
            if name in found:
                raise DamagedPackError(self.label, name, "appears twice")
            max_bytes = MAX_MANIFEST if name == MANIFEST else MAX_PART
            if not 0 <= header.size <= max_bytes:
                raise DamagedPackError(
                    self.label, name, f"has {header.size:,} bytes, more than the {max_bytes:,} it may have"
                )
            if start + header.size > whole:
                raise DamagedPackError(self.label, name, "is cut: the file ends in it")
            if len(found) == MAX_MEMBERS:
                raise DamagedPackError(self.label, "the file", f"has more than {MAX_MEMBERS:,} parts")
            found[name] = (start, header.size)
            place = start + header.size + -header.size % tarfile.BLOCKSIZE
        return found


def find_place(where: str) -> StorePlace | FilePlace:
    """Find the pack that a user names by a path or file:// URL.

    It may be a manifest.json, the folder that holds one, or a pack in one file.

    Raises:
        UsageError: it is none of these.
        NotFoundError: it does not exist.
    """
    named = _path_of(where)
    path = Path(named).absolute()
    if "\0" in named or not path.exists():
        raise NotFoundError(
            f"there is no pack {where!r}", f"Name a {MANIFEST}, the folder that holds it, or a pack in one file."
        )
    if path.name != MANIFEST:
        path = path.resolve()  # the user may name a link; a store itself holds no links
    if path.is_dir():
        if not (path / MANIFEST).exists():
            raise UsageError(f"{where} holds no {MANIFEST}", _name_packs(path))
        path /= MANIFEST
    if path.name != MANIFEST:
        return FilePlace(path)
    found = _PACK.search(path.as_posix())
    if found is None:
        raise UsageError(
            f"{where} is not at a pack's place in a store",
            f"Its place is packs/SOURCE/VERSION/{MANIFEST}; the parts lie in objects/ beside packs/.",
        )
    return StorePlace(FolderBucket(path.parents[3]), found["name"])


def _path_of(where: str) -> str:
    if "://" not in where:
        return where
    parts = urlsplit(where)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise UsageError(f"{where} cannot be read", "Give a path, or a URL that begins with file:///.")
    return unquote(parts.path)


def _name_packs(path: Path) -> str:
    packs = sorted(path.glob(f"packs/*/*/{MANIFEST}"))
    return (
        f"It is a store; name one of its packs, such as {packs[0].parent}." if packs else "Name the folder of a pack."
    )


def _open_regular(path: Path, label: str, name: str) -> IO[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedPackError(label, name, "is not a regular file")
    return os.fdopen(descriptor, "rb")
