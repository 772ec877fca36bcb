"""What is to outlast a power cut is flushed before it is renamed into place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kbjobs.system.files import sync_tree
from kbjobs.vectors.collection_swap import WorkingCopy


def test_every_file_and_folder_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("x")
    (tmp_path / "a" / "link").symlink_to("nowhere")
    flushed = watch_fsync(monkeypatch)
    sync_tree(tmp_path / "a")
    assert flushed == [tmp_path / "a", tmp_path / "a" / "b" / "file", tmp_path / "a" / "b"]


def test_a_collection_is_flushed_before_it_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = WorkingCopy(tmp_path / "model")
    copies.begin(empty=True)
    (copies.building / "header.bin").write_bytes(b"x" * 100)
    flushed = watch_fsync(monkeypatch)
    copies.publish()
    assert flushed == [copies.building / "header.bin", copies.building, tmp_path]
    assert (copies.live / "header.bin").exists()


def watch_fsync(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths that are flushed from now on."""
    flushed: list[Path] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    return flushed
