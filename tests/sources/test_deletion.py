"""What is told of a source that goes: numbers, what stays, and how it is registered again."""

from __future__ import annotations

import shlex
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.services.sources import SourceFields, describe_deletion, register
from kbjobs.sources.deletion import DeletionFacts, find_facts, format_untouched, summarise
from kbjobs.store.source_deletion import SourceFolderDeletion
from kbjobs.store.sources import SourceFolder
from tests.conftest import write_pages
from tests.phases.test_clear_vectors import add_other_model


def test_documents_and_vectors_are_counted_without_a_write(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 2)
    register(home, "docs", [pages])
    add_other_model(home, 7)
    folder = SourceFolder(home.sources, "docs")
    facts = find_facts(SourceFolderDeletion(home.sources, "docs"), keep_files=False)
    assert (facts.documents, facts.vectors, facts.outside) == (0, 7, [str(pages)])
    assert facts.files == sum(path.is_file() for path in folder.path.rglob("*"))
    text = describe_deletion(home, "docs", keep_files=False)
    size = f"{facts.freed_bytes / 1e6:,.1f} MB"
    assert text.startswith(f"docs: 0 documents, 7 vectors and {facts.files} files, {size}, are to be deleted for good")
    assert text.endswith(f"not touched: {pages}.")


def test_a_ledger_that_cannot_be_read_is_no_obstacle(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 2)])
    SourceFolder(home.sources, "docs").ledger.write_bytes(b"no database at all, but long enough to be taken for one")
    facts = find_facts(SourceFolderDeletion(home.sources, "docs"), keep_files=False)
    assert (facts.documents, facts.vectors, facts.files) == (None, None, 2)
    assert summarise(facts).startswith("2 files deleted, 0.0 MB freed")


def test_nothing_is_written_beside_a_ledger_that_is_a_link(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 2)])
    add_other_model(home, 7)
    folder = SourceFolder(home.sources, "docs")
    (tmp_path / "beyond").mkdir()
    folder.ledger.rename(tmp_path / "beyond" / "source.db")
    folder.ledger.symlink_to(tmp_path / "beyond" / "source.db")
    assert find_facts(SourceFolderDeletion(home.sources, "docs"), keep_files=False).vectors is None
    assert [path.name for path in (tmp_path / "beyond").iterdir()] == ["source.db"]


def test_the_command_registers_the_same_source_again(home: Home, tmp_path: Path) -> None:
    given, more = write_pages(tmp_path / "it's mine", 2), write_pages(tmp_path / "more" / "deep", 1).parent
    source, _ = register(home, "docs", [given, more], SourceFields("Our docs", "CC0-1.0", "https://e.org/"), copy=True)
    facts = find_facts(SourceFolderDeletion(home.sources, "docs"), keep_files=True)
    folder = SourceFolder(home.sources, "docs").path
    assert (facts.kept, facts.outside) == (str(folder), [])
    assert facts.again is not None
    expected = [*source.paths, "--name", "Our docs", "--license", "CC0-1.0", "--base-url", "https://e.org/"]
    assert shlex.split(facts.again) == ["kbjobs", "sources", "add", "docs", *expected]
    assert f"its files are kept in {folder}; {facts.again} registers them again" in summarise(facts)


def test_with_a_damaged_manifest_the_command_names_the_pages(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)], copy=True)
    folder = SourceFolder(home.sources, "docs")
    folder.manifest.write_text("{")
    facts = find_facts(SourceFolderDeletion(home.sources, "docs"), keep_files=True)
    assert facts.again == f"kbjobs sources add docs {folder.pages}"


def test_of_very_many_paths_the_command_names_the_folder(home: Home, tmp_path: Path) -> None:
    folders = [write_pages(tmp_path / f"{number}-{'x' * 100}", 1) for number in range(20)]
    register(home, "docs", folders, copy=True)
    facts = find_facts(SourceFolderDeletion(home.sources, "docs"), keep_files=True)
    assert facts.again == f"kbjobs sources add docs {SourceFolder(home.sources, 'docs').pages}"


def test_of_many_paths_the_first_are_named() -> None:
    [text] = format_untouched(DeletionFacts(outside=[f"/data/{number}" for number in range(15)]))
    assert text.startswith("not touched: /data/0, /data/1") and text.endswith("/data/9 and 5 more")
