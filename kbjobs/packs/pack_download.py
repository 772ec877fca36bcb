"""Downloading a pack from a store, several parts at a time; parts that are here already are not fetched."""

from __future__ import annotations

import hashlib
import shutil
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from kbjobs.context import Context
from kbjobs.errors import UnavailableError
from kbjobs.formatting import counted
from kbjobs.object_storage.bucket import Bucket
from kbjobs.object_storage.folder import FolderBucket
from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.manifest import MAX_MANIFEST, Manifest, Part, name_version, read_manifest
from kbjobs.packs.places import StorePlace
from kbjobs.system.crashpoints import crash_point

AT_ONCE = 8
"""Parts fetched at the same time. At up to 20 MiB each, this bounds the memory, and what a kill makes fetch again."""
FETCH = (0.0, 0.5)


def fetch_pack(context: Context, bucket: Bucket, name: str, with_backup: bool, folder: Path) -> StorePlace:
    """Download a pack into a folder that is itself a store; parts that are there already are kept.

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
    here = FolderBucket(folder, is_durable=False)
    parts = {part.sha256: part for part in manifest.parts(with_backup)}
    missing = [part for part in parts.values() if not _is_here(here, part)]
    _check_room(folder, manifest, sum(part.size for part in missing), with_backup)
    _fetch_all(context, bucket, here, missing, sum(part.size for part in parts.values()))
    here.put(name, content.data)
    crash_point("install.fetched")
    return StorePlace(here, name)


def _is_here(here: FolderBucket, part: Part) -> bool:
    """Whether a part was fetched before. Its hash is checked, since a power cut may have left other bytes."""
    content = here.read(part.name, part.size)
    return content is not None and hashlib.sha256(content.data).hexdigest() == part.sha256


def _fetch_all(context: Context, bucket: Bucket, here: FolderBucket, missing: list[Part], total: int) -> None:
    done = total - sum(part.size for part in missing)
    running: dict[Future[None], Part] = {}
    waiting = iter(missing)
    stopping = threading.Event()

    def report() -> None:
        message = f"fetching {counted(len(missing), 'part')} of {bucket.label}"
        context.progress(done, max(total, 1), "bytes", message, FETCH)

    report()
    with ThreadPoolExecutor(AT_ONCE, "fetch") as pool:
        try:
            while True:
                while len(running) < AT_ONCE and (part := next(waiting, None)) is not None:
                    running[pool.submit(_fetch, bucket, here, part, stopping)] = part
                if not running:
                    return
                ended, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in ended:
                    done += running.pop(future).size
                    future.result()
                context.saved(len(ended))
                report()
        except BaseException:
            stopping.set()
            for future in running:
                future.cancel()
            raise


def _fetch(bucket: Bucket, here: FolderBucket, part: Part, stopping: threading.Event) -> None:
    if stopping.is_set():
        return
    content = bucket.read(part.name, part.size)
    if content is None:
        raise DamagedPackError(bucket.label, part.name, "is missing")
    if len(content.data) != part.size or hashlib.sha256(content.data).hexdigest() != part.sha256:
        raise DamagedPackError(bucket.label, part.name, "differs from the manifest in size or sha256")
    here.put(part.name, content.data)
    crash_point("install.part")


def _check_room(folder: Path, manifest: Manifest, to_fetch: int, with_backup: bool) -> None:
    """Raise UnavailableError if the disk has no room for the parts and for the source built from them."""
    unpacked = sum(part.unpacked for part in manifest.parts(with_backup=False))
    vectors = sum(4 * model.dimension * model.vectors for model in manifest.models)
    backup = manifest.backup.bytes if manifest.backup is not None and with_backup else 0
    # Texts are kept in the ledger, in Chroma and in the file of words; vectors in the ledger, Chroma and the matrix.
    needed = to_fetch + 4 * unpacked + 2 * vectors + backup
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UnavailableError(
            f"{free / 1e6:,.0f} MB are free on the disk of {there}, this pack needs about {needed / 1e6:,.0f} MB",
            "Free some space, or move the home to a larger disk. Nothing was changed.",
        )
