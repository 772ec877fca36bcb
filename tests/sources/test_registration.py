"""Registering and editing a source: what is asked first, what is refused, and that no document is renamed unasked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ConflictError, KbjobsError, NotFoundError, UsageError
from kbjobs.services.jobs import JobManager
from kbjobs.sources import registration
from kbjobs.sources.registration import SourceFields, edit, register
from kbjobs.store.ledger import Ledger
from kbjobs.store.locks import lock_source
from kbjobs.store.sources import SourceFolder
from tests.conftest import Kbjobs, wait_until, write_pages


def documents(home: Home) -> dict[str, str]:
    """The ids of the source's documents by their keys."""
    ledger = Ledger(SourceFolder(home.sources, "x").ledger)
    try:
        return {key: doc_id for doc_id, key in ledger.document_paths()}
    finally:
        ledger.close()


def run_metadata(home: Home, **params: Any) -> dict[str, Any]:
    manager = JobManager(home)
    job = manager.submit("metadata", "x", **params)
    ended = wait_until(lambda: (status := manager.get_status(job)).has_ended and status)
    assert ended.status == "completed", ended.error
    return ended.result


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    """Three folders, two of them of one name."""
    return [write_pages(tmp_path / place / "pages", 2, place) for place in ("a", "b")] + [
        write_pages(tmp_path / "single", 2, "single")
    ]


# -- asking first ------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["/", "/etc", "/usr/share", "/proc/self", "~"])
def test_a_folder_of_the_system_is_asked_about_before_it_is_walked(
    home: Home, tmp_path: Path, kbjobs: Kbjobs, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(write_pages(tmp_path / "user", 1)))
    refused = kbjobs("sources", "add", "x", folder, check=2, timeout=20)
    assert "a folder of the system" in refused.stderr and "--yes" in refused.stderr
    assert "--yes" in kbjobs("sources", "add", "x", folder, "--no-input", check=2, timeout=20).stderr
    assert not SourceFolder(home.sources, "x").path.exists()


def test_what_lies_below_a_system_folder_is_not_asked_about(
    tmp_path: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    pages = write_pages(tmp_path / "documents", 1)
    kbjobs("sources", "add", "x", pages)
    assert "system" in kbjobs("sources", "edit", "x", "--add", "~", check=2).stderr
    kbjobs("sources", "add", "y", "~", "--yes")
    (tmp_path / "link").symlink_to("/etc")
    assert "system" in kbjobs("sources", "add", "z", tmp_path / "link", check=2).stderr


def test_more_than_20_000_files_are_asked_about_once(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(20_000):
        os.mknod(folder / f"{number}.txt")
    doubts: list[str] = []
    register(home, "x", [folder], ask=doubts.append)
    assert doubts == []
    for number in range(20_000, 20_003):
        os.mknod(folder / f"{number}.txt")
    register(home, "y", [folder], ask=doubts.append)
    assert len(doubts) == 1 and "more than 20,000 files" in doubts[0]

    def stop(doubt: str) -> None:
        raise UsageError(doubt)

    with pytest.raises(UsageError):
        register(home, "z", [folder], ask=stop)
    assert not SourceFolder(home.sources, "z").path.exists()


# -- editing -----------------------------------------------------------------------------------------


def test_what_is_edited_is_indexed_and_what_is_dropped_is_removed(
    home: Home, roots: list[Path], kbjobs: Kbjobs
) -> None:
    register(home, "x", roots[:2])
    run_metadata(home)
    before = documents(home)
    kbjobs("sources", "edit", "x", "--add", roots[2], "--license", "CC0", "--base-url", "")
    assert run_metadata(home)["new"] == 2
    assert before.items() < documents(home).items()
    dropped = kbjobs("sources", "edit", "x", "--drop", roots[1]).stderr
    assert "2 of its 6 documents" in dropped and "--allow-delete" in dropped
    assert documents(home).keys() > {"pages~2/page0.html"}  # until the next job
    kbjobs("run", "metadata", "x", check=1)  # the guard of a job against a mistake
    kbjobs("run", "metadata", "x", "--allow-delete")
    assert documents(home).keys() == {f"{name}/page{n}.html" for name in ("pages", "single") for n in (0, 1)}
    source = SourceFolder(home.sources, "x").read()
    assert (source.paths, source.license, source.base_url) == ((str(roots[0]), str(roots[2])), "CC0", "")


def test_no_document_is_renamed_unasked(home: Home, roots: list[Path]) -> None:
    register(home, "x", roots)
    run_metadata(home)
    before = documents(home)
    with pytest.raises(UsageError, match=r"b/pages would get new ids: 'pages~2' would be called 'pages'"):
        edit(home, "x", drop=[roots[0]])
    with pytest.raises(UsageError, match="would get new ids"):
        edit(home, "x", drop=[roots[0]], add=[roots[0]])
    assert SourceFolder(home.sources, "x").read().paths == tuple(map(str, roots))
    edit(home, "x", drop=[roots[2]])
    edit(home, "x", add=[roots[2]])
    assert run_metadata(home)["unchanged"] == 6
    assert documents(home) == before
    # Asked for in so many words, they are new documents.
    assert edit(home, "x", drop=[roots[0], roots[1]], add=[roots[1]]).dropped_documents == 4
    run_metadata(home, allow_delete=True)
    assert documents(home).keys() == {f"{name}/page{n}.html" for name in ("pages", "single") for n in (0, 1)}


def test_a_path_that_is_gone_can_be_dropped(home: Home, roots: list[Path]) -> None:
    register(home, "x", roots)
    run_metadata(home)
    shutil.rmtree(roots[2])
    edited = edit(home, "x", drop=[roots[2]])
    assert (edited.source.paths, edited.dropped_documents) == ((str(roots[0]), str(roots[1])), 2)


def test_a_folder_that_took_another_place_has_the_urls_of_it(home: Home, tmp_path: Path, roots: list[Path]) -> None:
    for page in roots[0].iterdir():
        os.utime(page, (1e9, 1e9))  # settled: not read again as long as it is as it was
    register(home, "x", roots[:1])
    run_metadata(home)
    before = documents(home)
    moved = tmp_path / "elsewhere" / "pages"
    moved.parent.mkdir()
    roots[0].rename(moved)
    edit(home, "x", drop=[roots[0]], add=[moved])
    assert run_metadata(home)["unchanged"] == 2
    assert documents(home) == before
    ledger = Ledger(SourceFolder(home.sources, "x").ledger)
    urls = {row[0] for row in ledger.connection.execute("SELECT url FROM documents")}
    ledger.close()
    assert urls == {page.as_uri() for page in moved.iterdir()}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({}, UsageError, "nothing to change"),
        ({"drop": ["singel"]}, NotFoundError, "has no path"),
        ({"drop": ["single", "a/pages"]}, UsageError, "no paths left"),
        ({"add": ["single"]}, UsageError, "already"),
        ({"add": ["single/page0.html"]}, UsageError, "already"),
        ({"add": ["link"]}, UsageError, "already"),
        ({"add": ["b/pages", "b/pages"]}, UsageError, "already"),
        ({"add": ["missing"]}, NotFoundError, "cannot be reached"),
        ({"add": ["empty"]}, UsageError, "there is no web page"),
        ({"described": SourceFields(base_url="ftp://x")}, UsageError, "not a base URL"),
    ],
)
def test_a_refused_edit_changes_nothing(
    home: Home, tmp_path: Path, roots: list[Path], changes: dict[str, Any], error: type[KbjobsError], message: str
) -> None:
    register(home, "x", [roots[0], roots[2]])
    (tmp_path / "link").symlink_to(roots[2])
    (tmp_path / "empty").mkdir()
    before = SourceFolder(home.sources, "x").manifest.read_bytes()
    given: dict[str, Any] = {
        name: [tmp_path / path for path in value] if isinstance(value, list) else value
        for name, value in changes.items()
    }
    with pytest.raises(error) as caught:
        edit(home, "x", **given)
    assert message in str(caught.value)
    assert SourceFolder(home.sources, "x").manifest.read_bytes() == before
    if message == "has no path":
        assert caught.value.hint == f"Did you mean {roots[2]}?"


def test_a_source_in_use_is_not_edited(home: Home, roots: list[Path]) -> None:
    register(home, "x", roots)
    folder = SourceFolder(home.sources, "x")
    with pytest.raises(ConflictError), lock_source(folder.lock, "x", 1):
        registration.edit(home, "x", described=SourceFields("n"))


# -- one base URL for two folders ----------------------------------------------------------------------


def test_two_files_of_one_url_are_refused(home: Home, roots: list[Path], kbjobs: Kbjobs) -> None:
    base = ("--base-url", "https://x.example.org/")
    refused = kbjobs("sources", "add", "x", roots[0], roots[1], *base, check=2).stderr
    assert f"{roots[0]}/page0.html and {roots[1]}/page0.html" in refused
    assert not SourceFolder(home.sources, "x").path.exists()
    kbjobs("sources", "add", "x", roots[0], *base)
    assert "page0.html" in kbjobs("sources", "edit", "x", "--add", roots[1], check=2).stderr
    kbjobs("sources", "edit", "x", "--add", roots[1], "--base-url", "")  # each page has the URL of its file
    assert "page0.html" in kbjobs("sources", "edit", "x", *base, check=2).stderr
    for number in range(2):
        (roots[1] / f"page{number}.html").rename(roots[1] / f"more{number}.html")
    kbjobs("sources", "edit", "x", *base)


def test_a_url_that_two_files_come_to_share_fails_the_second(home: Home, roots: list[Path], kbjobs: Kbjobs) -> None:
    for number in range(2):
        (roots[1] / f"page{number}.html").rename(roots[1] / f"more{number}.html")
    register(home, "x", roots[:2], SourceFields(base_url="https://x.example.org/"))
    assert run_metadata(home)["documents"] == 4
    (roots[1] / "page0.html").write_text("<p>It has come later")
    ended = kbjobs("run", "metadata", "x", check=3)
    assert "1 could not be read" in ended.stdout
    assert "pages~2/page0.html: its URL would be that of pages/page0.html" in kbjobs("logs", "2").stdout
    assert len(documents(home)) == 4
