"""Downloading a pack from a store, several parts at a time; parts that are here already are not fetched."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from kbjobs.context import Context
from kbjobs.errors import UnavailableError
from kbjobs.formatting import counted
from kbjobs.object_storage.bucket import Bucket
from kbjobs.object_storage.folder import FolderBucket
from kbjobs.packs.backup_unpacking import BackupReader
from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.manifest import MAX_MANIFEST, Manifest, PackedBackup, Part, name_version, read_manifest
from kbjobs.packs.pack_reading import Pack
from kbjobs.packs.places import StorePlace
from kbjobs.packs.whole_files import WholeFiles
from kbjobs.system.crashpoints import crash_point

AT_ONCE = 8
"""Parts fetched at the same time. At up to 20 MiB each, this bounds the memory, and what a kill makes fetch again."""
FETCH = (0.0, 0.5)


def fetch_pack(context: Context, bucket: Bucket, name: str, with_backup: bool, folder: Path) -> StorePlace:
    """Download a pack into a folder that is itself a store; parts that are there already are kept.

    Large files of the backup are written as whole files beside the parts: see :mod:`kbjobs.packs.whole_files`.

    Args:
        context: the job's context.
        bucket: the store that has the pack.
        name: the name of the manifest in the store.
        with_backup: whether to download the source's files too.
        folder: the target folder; the caller keeps it until the pack is installed.

    Raises:
        DamagedPackError: a part is missing, or differs from what the manifest says.
        UnavailableError: the disk has no room.
    """
    if isinstance(bucket, FolderBucket):
        return StorePlace(bucket, name)  # on this machine already, and checked while it is read
    content = bucket.read(name, MAX_MANIFEST)
    if content is None:
        raise DamagedPackError(bucket.label, name, "is missing")
    if len(content.data) > MAX_MANIFEST:
        raise DamagedPackError(bucket.label, name, f"has more than {MAX_MANIFEST:,} bytes")
    if name_version(content.data) != name.split("/")[2]:
        raise DamagedPackError(bucket.label, name, "was changed: its hash differs")
    manifest = read_manifest(content.data, bucket.label, name)
    fetching = _Fetching(context, bucket, FolderBucket(folder, is_durable=False), manifest, with_backup)
    backup = manifest.backup if with_backup else None
    tables = [*manifest.parts(with_backup=False), *(backup.files.parts if backup is not None else ())]
    fetching.take(tables, _rest(backup, folder / "files") if backup is not None else 0)
    fetching.here.put(name, content.data)
    place = StorePlace(fetching.here, name)
    if backup is not None:
        place = _fetch_backup(fetching, place, backup, folder / "files")
    crash_point("install.fetched")
    return place


def _rest(backup: PackedBackup, folder: Path) -> int:
    """About how many bytes of the backup's files are not on the disk yet; exactly, once their list is here."""
    there = sum(path.stat().st_blocks * 512 for path in folder.iterdir()) if folder.exists() else 0
    return max(backup.bytes - there, 0)


def _fetch_backup(fetching: _Fetching, place: StorePlace, backup: PackedBackup, folder: Path) -> StorePlace:
    """Fetch the files of the pack at a place; returns the place with them."""
    with Pack(place) as pack:
        whole = WholeFiles(folder, BackupReader(pack, backup).files(), backup.data)
    fetching.whole = whole
    fetching.take(backup.data, backup.bytes)
    return StorePlace(fetching.here, place.manifest, whole)


class _Fetching:
    """Fetches parts of a pack into a folder, several at a time, and reports how much of the pack is there.

    Attributes:
        here: the folder.
        whole: the files into which parts are written as they come.
    """

    def __init__(
        self, context: Context, bucket: Bucket, here: FolderBucket, manifest: Manifest, with_backup: bool
    ) -> None:
        self._context, self._bucket, self._manifest = context, bucket, manifest
        self.here = here
        self.whole = WholeFiles(here.root, (), ())
        wanted = {part.sha256: part.size for part in manifest.parts(with_backup)}
        self._total, self._parts = sum(wanted.values()), len(wanted)
        self._there: dict[str, int] = {}
        self._stopping = threading.Event()

    def take(self, parts: Iterable[Part], more: int) -> None:
        """Fetch what is missing of some parts.

        Args:
            parts: the parts.
            more: bytes of files that the disk must have room for besides the parts and the source built from them.

        Raises:
            DamagedPackError: a part is missing, or differs from what the manifest says.
            UnavailableError: the disk has no room.
        """
        missing, needed = [], more
        for part in {part.sha256: part for part in parts}.values():
            self._context.check()
            is_here, is_whole = self._is_here(part), self.whole.has(part)
            if is_here:
                self._there[part.sha256] = part.size
            else:
                missing.append(part)
            if is_here == is_whole:  # an object comes on top of the files; a part of a whole file is one of them
                needed += -part.size if is_here else part.size
        _check_room(self.here.root, self._manifest, needed)
        self._fetch_all(missing)

    def _is_here(self, part: Part) -> bool:
        """Whether a part was fetched before. Its hash is checked, since a power cut may have left other bytes."""
        if self.whole.has(part):
            return self.whole.is_written(part)
        content = self.here.read(part.name, part.size)
        return content is not None and hashlib.sha256(content.data).hexdigest() == part.sha256

    def _fetch_all(self, missing: list[Part]) -> None:
        running: dict[Future[None], Part] = {}
        waiting = iter(missing)
        self._report()
        with ThreadPoolExecutor(AT_ONCE, "fetch") as pool:
            try:
                while True:
                    while len(running) < AT_ONCE and (part := next(waiting, None)) is not None:
                        running[pool.submit(self._fetch, part)] = part
                    if not running:
                        return
                    ended, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in ended:
                        part = running.pop(future)
                        future.result()
                        self._there[part.sha256] = part.size
                    self._context.saved(len(ended))
                    self._report()
            except BaseException:
                self._stopping.set()
                for future in running:
                    future.cancel()
                raise

    def _report(self) -> None:
        message = f"fetching {counted(self._parts, 'part')} of {self._bucket.label}"
        self._context.progress(sum(self._there.values()), max(self._total, 1), "bytes", message, FETCH)

    def _fetch(self, part: Part) -> None:
        if self._stopping.is_set():
            return
        content = self._bucket.read(part.name, part.size)
        if content is None:
            raise DamagedPackError(self._bucket.label, part.name, "is missing")
        if len(content.data) != part.size or hashlib.sha256(content.data).hexdigest() != part.sha256:
            raise DamagedPackError(self._bucket.label, part.name, "differs from the manifest in size or sha256")
        if self.whole.has(part):
            self.whole.write(part, content.data)
        else:
            self.here.put(part.name, content.data)
        crash_point("install.part")


def _check_room(folder: Path, manifest: Manifest, more: int) -> None:
    """Raise UnavailableError if the disk has no room for the source built from the tables, and for more bytes."""
    unpacked = sum(part.unpacked for part in manifest.parts(with_backup=False))
    vectors = sum(4 * model.dimension * model.vectors for model in manifest.models)
    # Texts are kept in the ledger, in Chroma and in the file of words; vectors in the ledger, Chroma and the matrix.
    needed = more + 4 * unpacked + 2 * vectors
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UnavailableError(
            f"{free / 1e6:,.0f} MB are free on the disk of {there}, this pack needs about {needed / 1e6:,.0f} MB",
            "Free some space, or move the home to a larger disk. Nothing was changed.",
        )
