"""Where a source was uploaded to: a store in the home moves with it."""

from __future__ import annotations

from pathlib import Path

from kbjobs.object_storage.upload_targets import note_store, upload_targets
from kbjobs.store.ledger import Ledger


def test_a_store_in_the_home_moves_with_it(tmp_path: Path) -> None:
    home, moved = tmp_path / "home", tmp_path / "moved"
    with Ledger(tmp_path / "source.db") as ledger:
        for address in (str(home / "packs"), "s3://bucket/packs", "/srv/packs", str(home / "packs")):
            note_store(ledger, address, home)
        assert upload_targets(ledger, moved) == [str(moved / "packs"), "s3://bucket/packs", "/srv/packs"]
