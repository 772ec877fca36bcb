"""Sources: what is registered, what is copied, what is verified and rebuilt."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.content.source_files import FoundFile, find_files
from kbjobs.errors import ConflictError, KbjobsError, NotFoundError, UnavailableError, UsageError
from kbjobs.services.sources import SourceFields, describe_all, register
from kbjobs.store.sources import SourceFolder
from tests.conftest import Kbjobs, read_json, write_pages


def keys(paths: tuple[str, ...]) -> dict[str, str]:
    """The files that a source's paths give: text by key."""
    found = (entry for entry in find_files([Path(path) for path in paths]) if isinstance(entry, FoundFile))
    return {entry.key: entry.path.read_text() for entry in found}


def is_absent(home: Home, source_id: str) -> bool:
    """Whether nothing at all is left of a source."""
    return describe_all(home, lambda one, error: None) == [] and not SourceFolder(home.sources, source_id).path.exists()


def test_a_relative_path_is_kept_whole(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pages(tmp_path / "pages", 1)
    monkeypatch.chdir(tmp_path)
    source, _ = register(home, "x", [Path("pages")])
    assert source.paths == (str(tmp_path / "pages"),)


# -- copies ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("minilm")
def test_a_copied_source_does_not_need_its_originals(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    pages = write_pages(tmp_path / "pages", 2)
    write_pages(pages / "sub", 1, "A telescope shows the stars")
    kbjobs("sources", "add", "x", pages, "--copy", "--base-url", "https://x.example.org/base")
    shutil.rmtree(pages)
    for entry in SourceFolder(home.sources, "x").pages.rglob("*"):
        assert stat.S_IMODE(entry.stat().st_mode) == (0o700 if entry.is_dir() else 0o600)
    kbjobs("run", "index-offline", "x")
    urls = {hit["url"] for hit in read_json(kbjobs("search", "x", "water", "--json"))}
    assert urls == {f"https://x.example.org/base/{path}" for path in ("page0.html", "page1.html", "sub/page0.html")}
    assert kbjobs("sources", "verify", "x").stdout == "x: 3 passages verified, no drift\n"


def test_a_copy_has_the_documents_of_the_originals(home: Home, tmp_path: Path) -> None:
    """Two folders and two files of one name, a name of odd bytes: ids and names stay as they would be."""
    roots = [write_pages(tmp_path / side / "pages", 2, side) for side in ("left", "right")]
    write_pages(roots[0] / "sub" / "sub", 1, "deep")
    (roots[0] / "50% \n off.html").write_text("<p>odd")
    (roots[0] / os.fsdecode(b"\xff.html")).write_text("<p>bytes")
    for side in ("left", "right"):
        single = tmp_path / side / "single.html"
        single.write_text(f"<p>{side}")
        roots.append(single)
    original, files = register(home, "original", [*roots, roots[0] / "sub"])
    copied, copies = register(home, "copied", [*roots, roots[0] / "sub"], copy=True)
    assert files == copies == 9
    assert keys(copied.paths) == keys(original.paths)
    assert {"pages/page0.html", "pages~2/page0.html", "single.html", "single.html~2"} < set(keys(copied.paths))
    assert all(Path(path).is_relative_to(SourceFolder(home.sources, "copied").pages) for path in copied.paths)


def test_a_failing_copy_leaves_nothing(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = write_pages(tmp_path / "pages", 3)
    real, count = shutil.copyfile, iter(range(10))

    def fails_late(source: Path, target: Path) -> Path:
        if next(count) == 2:
            raise OSError(28, "No space left on device", str(target))
        return real(source, target)

    monkeypatch.setattr(shutil, "copyfile", fails_late)
    with pytest.raises(UnavailableError, match="No space left on device") as caught:
        register(home, "x", [pages], copy=True)
    assert "Nothing was registered" in caught.value.hint
    assert is_absent(home, "x")
    monkeypatch.undo()
    home.prepare()
    source, _ = register(home, "x", [pages], copy=True)
    assert len(keys(source.paths)) == 3


def test_an_unreadable_file_is_not_left_out_of_a_copy(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = write_pages(tmp_path / "pages", 3)
    monkeypatch.setattr("kbjobs.content.source_files.os.access", lambda path, mode: "page1" not in str(path))
    with pytest.raises(UsageError, match=r"1 file or folder cannot be copied.*pages/page1\.html: permission denied"):
        register(home, "x", [pages], copy=True)
    assert is_absent(home, "x")
    _, files = register(home, "x", [pages])  # read in place, it is told by the job
    assert files == 2


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here (it needs root)")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_copy_to_a_full_disk(
    tiny_disk: Path, tmp_path: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_HOME", str(tiny_disk / "home"))
    pages = write_pages(tmp_path / "pages", 2)
    (pages / "large.html").write_text("<p>" + "large " * 300_000)
    refused = kbjobs("sources", "add", "x", pages, "--copy", check=7)
    assert "No space left" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert is_absent(Home(tiny_disk / "home"), "x")
    (pages / "large.html").unlink()
    kbjobs("sources", "add", "x", pages, "--copy")


def test_what_a_killed_copy_left_is_cleared_and_what_was_kept_is_not(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 1)
    folder = SourceFolder(home.sources, "x")
    write_pages(folder.path / "pages.part" / "1" / "pages", 5)
    source, _ = register(home, "x", [pages], copy=True)
    assert len(keys(source.paths)) == 1
    assert not (folder.path / "pages.part").exists()
    write_pages(home.sources / "kept" / "pages", 2)  # of a source that is registered no more
    with pytest.raises(ConflictError, match="holds copied pages already"):
        register(home, "kept", [pages], copy=True)
    assert len(list((home.sources / "kept" / "pages").iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"described": SourceFields(base_url="ftp://x")}, UsageError),
        ({"paths": [Path("nowhere")]}, NotFoundError),
        ({"source_id": "A"}, UsageError),
    ],
)
def test_a_refused_source_leaves_nothing(
    home: Home, tmp_path: Path, options: dict[str, Any], error: type[KbjobsError]
) -> None:
    pages = write_pages(tmp_path / "pages", 1)
    values: dict[str, Any] = {"source_id": "x", "paths": [pages], **options}
    values["paths"] = [tmp_path / path for path in values["paths"]]
    for copy in (False, True):
        with pytest.raises(error):
            register(home, **values, copy=copy)
    assert is_absent(home, "x")


# -- two roots, verify and rebuild -------------------------------------------------------------------


@pytest.mark.usefixtures("minilm")
def test_two_roots_of_one_name_are_both_indexed(tmp_path: Path, kbjobs: Kbjobs) -> None:
    left = write_pages(tmp_path / "left" / "pages", 2)
    right = write_pages(tmp_path / "right" / "pages", 2, "A telescope shows the stars")
    kbjobs("sources", "add", "x", left, right)
    kbjobs("run", "index-offline", "x")
    found = read_json(kbjobs("search", "x", "water", "--json"))
    assert len({hit["doc_id"] for hit in found}) == 4
    assert {hit["url"] for hit in found} == {
        (root / f"page{number}.html").as_uri() for root in (left, right) for number in (0, 1)
    }
