"""The front door to stores of packs: what is in one, and what nothing in it needs any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kbjobs.errors import KbjobsError, NotFoundError
from kbjobs.settings import Home, Settings
from kbjobs.storage.opening import open_bucket, read_address
from kbjobs.store.sources import SourceFolder

if TYPE_CHECKING:
    from kbjobs.packs.pruning import Pruned
    from kbjobs.storage.bucket import Bucket


@contextmanager
def opened(home: Home, where: str) -> Iterator[Bucket]:
    """The store at an address."""
    bucket = open_bucket(home, Settings(home), read_address(where))
    try:
        yield bucket
    finally:
        bucket.close()


def find_store(home: Home, where: str | None) -> str:
    """The address of the store that sources come from: what is given, else the settings', else that in the home."""
    settings = Settings(home)
    return where or settings.text("packs.from") or settings.text("packs.to") or str(home.packs)


def list_remote(home: Home, where: str | None = None) -> list[dict[str, Any]]:
    """The newest version of each source in a store; ``here`` tells what this home has of it.

    ``here`` is one of "no", "this version", "another version" and "not from a pack".

    Raises NotFoundError where the store has no catalogue.
    """
    from kbjobs.packs.catalogue import CATALOGUE, as_rows, read_catalogue

    address = find_store(home, where)
    with opened(home, address) as bucket:
        catalogue, _ = read_catalogue(bucket)
        if catalogue is None:
            raise NotFoundError(
                f"{bucket.label} has no {CATALOGUE}: it is no store of packs, or nothing was uploaded yet",
                "kbjobs run upload SOURCE --to URL",
            )
    return [{**row, "here": _tell_here(home, row)} for row in as_rows(catalogue)]


def _tell_here(home: Home, row: dict[str, Any]) -> str:
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


def prune(home: Home, where: str, grace: timedelta, dry_run: bool) -> Pruned:
    """Remove from a store what nothing needs and is older than the grace time."""
    from kbjobs.packs.pruning import prune as prune_store

    with opened(home, where) as bucket:
        return prune_store(bucket, grace, dry_run)


def rebuild_catalogue(home: Home, where: str) -> int:
    """Write the catalogue of a store anew from its packs; returns how many sources it names."""
    from kbjobs.packs.pruning import rebuild_catalogue as rebuild

    with opened(home, where) as bucket:
        return len(rebuild(bucket).packs)
