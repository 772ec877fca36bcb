"""The front door to packs and their stores: list, build, inspect, open and prune them."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import KbjobsError, NotFoundError, UsageError
from kbjobs.object_storage.store_address import open_bucket, read_address
from kbjobs.store.sources import SourceFolder

if TYPE_CHECKING:
    from kbjobs.object_storage.bucket import Bucket
    from kbjobs.packs.pack_building import PackBuilder
    from kbjobs.packs.pack_reading import Pack
    from kbjobs.packs.pruning import Pruned
    from kbjobs.packs.targets import Written


def opened(home: Home, where: str) -> AbstractContextManager[Bucket]:
    """Open the store at an address, as a context."""
    return closing(open_bucket(home, Settings(home), read_address(where)))


def find_store(home: Home, where: str | None) -> str:
    """The address of the store to install from: the one given, else the settings', else the store in the home."""
    settings = Settings(home)
    return where or settings.text("packs.from") or settings.text("packs.to") or str(home.packs)


def list_remote(home: Home, where: str | None = None) -> list[dict[str, Any]]:
    """The newest version of each source in a store; ``here`` says whether this home has the source.

    ``here`` is one of "no", "this version", "another version" and "not from a pack".

    Raises NotFoundError if the store has no catalogue.
    """
    from kbjobs.packs.pack_catalogue import CATALOGUE, as_rows, read_catalogue

    address = find_store(home, where)
    with opened(home, address) as bucket:
        catalogue, _ = read_catalogue(bucket)
        if catalogue is None:
            raise NotFoundError(
                f"{bucket.label} has no {CATALOGUE}: it is not a store of packs, or nothing was uploaded yet",
                "kbjobs run upload SOURCE --to URL",
            )
    return [{**row, "here": _compare_here(home, row)} for row in as_rows(catalogue)]


def _compare_here(home: Home, row: dict[str, Any]) -> str:
    try:
        folder = SourceFolder(home.sources, row["source"])
        folder.read()
        installed = folder.read_pack().get("version")
    except NotFoundError:
        return "no"
    except KbjobsError:  # a damaged manifest
        return "not from a pack"
    if installed is None:
        return "not from a pack"
    return "this version" if installed == row["version"] else "another version"


def build(home: Home, source_id: str, target: Path, include_backup: bool) -> tuple[Written, list[tuple[str, str]]]:
    """Write a source into a pack: a file, or a store in a local folder.

    Args:
        home: the source's home.
        source_id: the source's id.
        target: a file that ends in ``.kbpack``, or the folder of a store.
        include_backup: whether to include the source's files.

    Returns:
        The written pack, and the files that could not be read, each with the reason.
    """
    from kbjobs.packs.pack_building import PackBuilder
    from kbjobs.packs.targets import FILE_SUFFIX, FileTarget, write_pack

    with PackBuilder(SourceFolder(home.sources, source_id), include_backup) as builder:
        if target.suffix == FILE_SUFFIX:
            with FileTarget(target) as file:
                written = write_pack(builder, file)
        else:
            written = _add_to_store(home, builder, target)
        return written, list(builder.unseen)


def inspect(home: Home, where: str, source_id: str | None, verify: bool) -> dict[str, Any]:
    """Describe a pack.

    Args:
        home: the home whose settings have the credentials.
        where: the pack's file or manifest, or a store.
        source_id: the source, if ``where`` is a store with several.
        verify: whether to read and check the whole pack first.

    Raises:
        DamagedPackError: the pack is damaged.
    """
    from kbjobs.packs.inspecting import describe_pack, verify_pack

    with open_named(home, where, source_id) as pack:
        if verify:
            verify_pack(pack)
        return describe_pack(pack)


def _add_to_store(home: Home, builder: PackBuilder, folder: Path) -> Written:
    """Write a pack into a store in a local folder, and add it to the catalogue."""
    from datetime import UTC, datetime

    from kbjobs.packs.pack_catalogue import describe_version, publish_version, version_name
    from kbjobs.packs.targets import StoreTarget, write_pack

    with opened(home, str(folder)) as bucket:
        written = write_pack(builder, StoreTarget(bucket))
        version = describe_version(written.manifest, datetime.now(UTC))
        keep = Settings(home).integer("packs.keep")
        dropped = publish_version(bucket, written.manifest, version, keep, keeps_conditions=True)
        bucket.delete([version_name(written.manifest.source.id, one) for one in dropped])
    return written


def open_named(home: Home, where: str, source_id: str | None = None) -> Pack:
    """Open a pack that a user names, as a context manager.

    Args:
        home: the home whose settings have the credentials.
        where: the pack's file or manifest, or a store.
        source_id: the source, if ``where`` is a store with several.

    Raises:
        NotFoundError: there is no such pack or store.
        UsageError: the store does not have exactly one source, and none was named.
    """
    from kbjobs.packs.pack_catalogue import CATALOGUE
    from kbjobs.packs.pack_reading import open_pack

    address = read_address(where)
    if address.path is not None and not (address.path / CATALOGUE).exists():
        if source_id is not None:
            raise NotFoundError(f"{where} has no {CATALOGUE}: it is not a store of packs", "Leave out the source.")
        return open_pack(where)
    return _open_in_store(home, where, source_id)


def _open_in_store(home: Home, where: str, source_id: str | None) -> Pack:
    """Open a pack in a store: the one that the address names, otherwise the source's newest.

    Raises NotFoundError, or UsageError if it is unclear which pack is meant.
    """
    from kbjobs.packs.manifest import MANIFEST
    from kbjobs.packs.pack_catalogue import find_version, read_catalogue, version_name
    from kbjobs.packs.pack_reading import Pack
    from kbjobs.packs.places import StorePlace

    store, found, name = where.rstrip("/").partition("/packs/")
    steps = name.removesuffix(f"/{MANIFEST}").split("/")
    is_named = bool(found) and len(steps) == 2 and source_id is None
    bucket = open_bucket(home, Settings(home), read_address(store if is_named else where))
    try:
        if is_named:
            return Pack(StorePlace(bucket, f"packs/{steps[0]}/{steps[1]}/{MANIFEST}"))
        if source_id is None:
            catalogue, _ = read_catalogue(bucket)
            names = [pack.source for pack in catalogue.packs] if catalogue is not None else []
            if len(names) != 1:
                choice = f"It has {', '.join(names[:20])}." if names else "It has none."
                raise UsageError(f"{bucket.label} is a store: name the source of the pack, too", choice)
            source_id = names[0]
        return Pack(StorePlace(bucket, version_name(source_id, find_version(bucket, source_id))))
    except BaseException:
        bucket.close()
        raise


def prune(home: Home, where: str, grace: timedelta, dry_run: bool) -> Pruned:
    """Remove files that nothing needs from a store; see :func:`kbjobs.packs.pruning.prune`.

    Args:
        home: the home whose settings have the credentials.
        where: the store's address.
        grace: the age below which files are kept.
        dry_run: whether to count only, and remove nothing.
    """
    from kbjobs.packs.pruning import prune as prune_store

    with opened(home, where) as bucket:
        return prune_store(bucket, grace, dry_run)


def rebuild_catalogue(home: Home, where: str) -> int:
    """Rebuild the catalogue of a store from its packs; returns the number of its sources."""
    from kbjobs.packs.pruning import rebuild_catalogue as rebuild

    with opened(home, where) as bucket:
        return len(rebuild(bucket).packs)
