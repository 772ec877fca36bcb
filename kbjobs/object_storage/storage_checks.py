"""A check of the stores of packs, for kbjobs doctor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.object_storage.store_address import open_bucket, read_address
from kbjobs.system.findings import Finding


def check_stores(home: Home) -> Iterator[Finding]:
    """Check whether the stores in the settings answer."""
    settings = Settings(home)
    for name in ("packs.to", "packs.from"):
        where = settings.text(name)
        if not where:
            continue
        address = read_address(where)
        with closing(open_bucket(home, settings, address)) as bucket:
            there = "has a catalogue" if bucket.find("catalogue.json") is not None else "answers, and is empty"
        yield Finding("stores", "ok", f"{name}: {address.url} {there}")
