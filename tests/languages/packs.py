"""Language packs put into a home without a download."""

from __future__ import annotations

from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.languages.installation import begin_folder, locked, publish
from kbjobs.languages.language_packs import LanguagePack, PackRecord, Pair, find_pack, size_of
from tests.servers.language_packs import pack_members


def put_pack(home: Home, source: str, target: str, version: str = "1.0", prefix: str = "") -> LanguagePack:
    """Put a pack there that translates as tests.servers.language_packs tells."""
    pair = Pair(source, target)
    with locked(home, pair):
        built = begin_folder(home, pair)
        metadata = {"target_prefix": prefix} if prefix else {}
        for name, content in pack_members(source, target, version, **metadata).items():
            write(built / name.partition("/")[2], content)
        publish(home, pair, built, record(version, prefix=prefix, unpacked=size_of(built)))
    found = find_pack(home, pair)
    assert found is not None
    return found


def put_hollow(home: Home, source: str, target: str, version: str = "1.0", sha256: str = "ab" * 32) -> LanguagePack:
    """Put a pack there that has all its files and no model in them."""
    pair = Pair(source, target)
    with locked(home, pair):
        built = begin_folder(home, pair)
        for name in ("metadata.json", "sentencepiece.model", "model/model.bin"):
            write(built / name, b"no model")
        publish(home, pair, built, record(version, sha256))
    found = find_pack(home, pair)
    assert found is not None
    return found


def record(version: str = "1.0", sha256: str = "ab" * 32, prefix: str = "", unpacked: int = 24) -> PackRecord:
    """What is known of a pack."""
    return PackRecord(version, sha256, 10_000, unpacked, "http://127.0.0.1/x", "2026-01-01T00:00:00Z", "CC0", prefix)


def write(path: Path, content: bytes) -> None:
    """Write a file and make its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
