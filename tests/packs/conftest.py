"""A pack in a store, and what makes a bad one of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from kbjobs.config.home import Home
from kbjobs.object_storage.folder import FolderBucket
from kbjobs.packs.manifest import Manifest
from kbjobs.packs.pack_building import PackBuilder
from kbjobs.packs.parts import seal
from kbjobs.packs.targets import StoreTarget, Written, write_pack
from kbjobs.store.sources import SourceFolder
from tests.packs.sources import make_source


def build(folder: SourceFolder, store: Path, include_backup: bool = False) -> Written:
    with PackBuilder(folder, include_backup) as builder:
        return write_pack(builder, StoreTarget(FolderBucket(store)))


def place_of(store: Path, written: Written) -> str:
    return str(store / "packs" / written.manifest.source.id / written.version / "manifest.json")


@pytest.fixture
def wiki(home: Home, tmp_path: Path) -> SourceFolder:
    """A source of five pages."""
    return make_source(home, tmp_path)


class Forger:
    """A whole pack with its backup, whose manifest and parts can be changed; hashes and names are then put right."""

    def __init__(self, store: Path, written: Written) -> None:
        self.store = store
        self.values: dict[str, Any] = written.manifest.model_dump()

    def put(self, raw: bytes, is_packed: bool = True) -> dict[str, Any]:
        """Store bytes; returns what the manifest says of them."""
        sealed = seal(raw, is_packed)
        StoreTarget(FolderBucket(self.store)).put(sealed)
        return sealed.part.model_dump()

    def put_packed(self, packed: bytes, unpacked: int) -> dict[str, Any]:
        """Store bytes that are said to be packed."""
        digest = hashlib.sha256(packed).hexdigest()
        (self.store / "objects" / digest).write_bytes(packed)
        return {"sha256": digest, "size": len(packed), "packing": "zstd", "unpacked": unpacked}

    def read(self, part: dict[str, Any]) -> bytes:
        data = (self.store / "objects" / part["sha256"]).read_bytes()
        return zstandard.ZstdDecompressor().decompress(data) if part["packing"] == "zstd" else data

    def lines(self, table: dict[str, Any]) -> list[dict[str, Any]]:
        return [json.loads(line) for part in table["parts"] for line in self.read(part).splitlines()]

    def change(self, table: dict[str, Any], make: Callable[[list[Any]], Any]) -> None:
        """Change the records of a table, in place."""
        records = self.lines(table)
        make(records)
        self.replace(table, records)

    def replace(self, table: dict[str, Any], records: list[Any]) -> None:
        """Put other records in the place of a table's."""
        table["records"] = len(records)
        table["parts"] = [self.put(b"".join(json.dumps(one).encode() + b"\n" for one in records))]

    def write_text(self, text: bytes) -> str:
        """Put a manifest in its place; returns where that is."""
        folder = self.store / "packs" / "wiki" / hashlib.sha256(text).hexdigest()
        folder.mkdir(exist_ok=True)
        (folder / "manifest.json").write_bytes(text)
        return str(folder / "manifest.json")

    def write(self) -> str:
        return self.write_text(json.dumps(self.values).encode())


@pytest.fixture
def forger(wiki: SourceFolder, tmp_path: Path) -> Forger:
    written = build(wiki, tmp_path / "store", include_backup=True)
    shutil.rmtree(tmp_path / "store" / "packs" / "wiki" / written.version)
    assert isinstance(written.manifest, Manifest)
    return Forger(tmp_path / "store", written)
