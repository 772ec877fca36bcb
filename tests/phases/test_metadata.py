"""metadata reads what changed, and its language filter keeps documents out of the index without losing anything."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import PhaseResult
from kbjobs.errors import JobCancelled, NotFoundError, UsageError
from kbjobs.phases import metadata
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.phases.metadata import MetadataParams
from kbjobs.scanning.enumeration import TooManyRemovedError
from kbjobs.services.sources import SourceFields, describe, register, verify
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import Kbjobs, copy_pages, read_json, write_pages
from tests.phases.test_index_offline import context, index, ledger_vectors, titles


def describe_pages(home: Home, source: str = "docs", **params: Any) -> PhaseResult:
    folder = SourceFolder(home.sources, source)
    plan = metadata.plan(PhaseRequest(home, Settings(home), MetadataParams(**params), folder))
    return metadata.JOB_TYPE.run(context(home, source), plan.params)


def query(home: Home, statement: str, source: str = "docs") -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(SourceFolder(home.sources, source).ledger)
    rows = connection.execute(statement).fetchall()
    connection.close()
    return rows


def age(pages: Path) -> None:
    """Let the files be an hour old: one just written is not yet trusted to be what it was."""
    for page in pages.rglob("*.html"):
        os.utime(page, (time.time() - 3600, time.time() - 3600))


def write_languages(pages: Path) -> Path:
    """Five English pages of different regions, three French, one of no known language."""
    write_pages(pages, 4)
    (pages / "british.html").write_text("<html lang=en-GB><title>Tea</title><p>The kettle sings at four o'clock.</p>")
    for number in range(3):
        (pages / f"fr{number}.html").write_text(
            f"<html lang=fr><title>Bouilloire {number}</title><p>La bouilloire chante {number} fois.</p>"
        )
    (pages / "unknown.html").write_text("<title>Table</title><p>12 34 56 kettle</p>")
    return pages


# -- what is read ------------------------------------------------------------------------------------


def test_the_counts_of_real_pages(home: Home, tmp_path: Path, python_docs: Path) -> None:
    pages = copy_pages(python_docs, tmp_path / "html" / "tutorial", 40, "tutorial").parent
    age(pages)
    register(home, "docs", [pages], SourceFields(base_url="https://docs.example.org/3/"))
    first = describe_pages(home).counts
    number = len(list(pages.rglob("*.html")))
    assert {name: first[name] for name in ("documents", "new", "changed", "unchanged", "removed", "failed")} == {
        "documents": number, "new": number, "changed": 0, "unchanged": 0, "removed": 0, "failed": 0,
    }  # fmt: skip
    assert first["languages"]["en"] >= number - 1
    assert first["headings"] > number
    again = describe_pages(home).counts
    assert (again["unchanged"], again["read"], again["new"], again["changed"]) == (number, 0, 0, 0)
    # every link of a page to a page that is here leads to its document, and to the right one
    rows = query(
        home,
        "SELECT l.url, d.url FROM links l LEFT JOIN documents d ON d.doc_id = l.target WHERE l.url LIKE '%tutorial/%'",
    )
    there = {page.name for page in pages.rglob("*.html")}
    expected = [url for url, _ in rows if url.rpartition("/")[2] in there]
    assert len(expected) > 20
    assert all(url == target for url, target in rows if url in expected)
    assert first["links"] == first["unresolved"] + len(query(home, "SELECT 1 FROM links WHERE target IS NOT NULL"))


def test_what_is_written_of_a_document(home: Home, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    (pages / "sub").mkdir(parents=True)
    sentence = "Boil the water for one minute before you drink it. "
    (pages / "a b (c).html").write_text(
        f"<html lang=en><title>Water</title><main><h1>Water</h1><p>{sentence * 20}</p><h2>When</h2>"
        "<p><a href='sub/'>folder</a> <a href='sub/b.html#x'>page</a> <a href='gone.html'>gone</a></p></main>"
    )
    (pages / "sub" / "index.html").write_text(
        "<title>Index</title><p><a href='../a%20b%20(c).html'>up</a> the water</p>"
    )
    (pages / "sub" / "b.html").write_text("<title>B</title><p>Nothing but the text of a page.</p>")
    register(home, "docs", [pages])
    counts = describe_pages(home).counts
    assert (counts["links"], counts["unresolved"]) == (4, 1)
    [row] = query(
        home, "SELECT snippet, characters, heading_count, headings, m.language, word_count, url FROM metadata m"
        " JOIN documents USING (doc_id) WHERE title = 'Water'"
    )  # fmt: skip
    snippet, characters, heading_count, headings, language, words, url = row
    assert 200 <= len(snippet) <= 300
    assert snippet.startswith("Boil the water") and snippet.endswith("…")
    assert sentence.startswith(snippet[:-1].split(". ")[-1])
    assert (heading_count, json.loads(headings), language) == (2, [[1, "Water"], [2, "When"]], "en")
    assert words > 200 and characters > len(sentence) * 19
    targets = dict(
        query(home, "SELECT d.title, t.title FROM links l JOIN documents d USING (doc_id) JOIN documents t"
              " ON t.doc_id = l.target WHERE d.title != 'Water'")
    )  # fmt: skip
    assert targets == {"Index": "Water"}
    assert url.startswith("file://")


def test_a_changed_a_new_and_a_removed_page(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 10)
    (pages / "page1.html").write_text("<html lang=en><title>One</title><p>See <a href='page2.html'>two</a>.</p>")
    register(home, "docs", [pages])
    assert describe_pages(home).counts["unresolved"] == 0
    (pages / "page0.html").write_text("<html lang=de><title>Null</title><p>Anders.</p>")
    (pages / "page2.html").unlink()
    (pages / "new.html").write_text("<html lang=en><title>New</title><p>New.</p>")
    result = describe_pages(home)
    counts = result.counts
    assert (counts["new"], counts["changed"], counts["unchanged"], counts["removed"], counts["documents"]) == (
        1, 1, 8, 1, 10,
    )  # fmt: skip
    assert (counts["languages"], counts["unresolved"]) == ({"en": 9, "de": 1}, 1)
    assert "1 new, 1 changed, 1 removed" in result.summary
    assert describe_pages(home, force=True).counts["read"] == 10


def test_a_fifth_is_not_removed_unasked(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 10)
    register(home, "docs", [pages])
    describe_pages(home)
    for number in range(3):
        (pages / f"page{number}.html").unlink()
    with pytest.raises(TooManyRemovedError, match="3 of the 10"):
        describe_pages(home)
    assert len(query(home, "SELECT 1 FROM documents")) == 10
    assert describe_pages(home, allow_delete=True).counts["removed"] == 3
    assert len(query(home, "SELECT 1 FROM metadata")) == 7


def test_a_page_that_cannot_be_read_is_counted(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 3)
    register(home, "docs", [pages])
    describe_pages(home)
    (pages / "page1.html").write_bytes(b"")
    result = describe_pages(home)
    assert (result.failed, result.counts["failed"], result.counts["documents"]) == (1, 1, 3)
    assert "could not be read" in result.summary


def test_a_missing_folder_and_a_wrong_filter_are_refused_at_submit(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    pages = write_pages(tmp_path / "pages", 1)
    register(home, "docs", [pages])
    wrong = kbjobs("run", "metadata", "docs", "--language-filter", "english", check=2)
    assert "Did you mean en (English)?" in wrong.stderr
    with pytest.raises(UsageError, match="'xx'"):
        describe_pages(home, language_filter="en,xx")
    folder = SourceFolder(home.sources, "docs")
    filled = metadata.plan(
        PhaseRequest(home, Settings(home), MetadataParams(language_filter="ENG, pt_BR,en"), folder)
    ).params
    assert filled.model_dump()["language_filter"] == "en,pt-br"
    assert metadata.JOB_TYPE.plan(PhaseRequest(home, Settings(home), filled, folder)).params == filled
    pages.rename(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match=str(pages)):
        describe_pages(home)


# -- the index and the filter --------------------------------------------------------------------------


@pytest.mark.usefixtures("minilm")
def test_filtered_documents_are_neither_embedded_nor_found_and_come_back_for_nothing(
    home: Home, tmp_path: Path, kbjobs: Kbjobs
) -> None:
    register(home, "docs", [write_languages(tmp_path / "pages")])
    counts = describe_pages(home, language_filter="en").counts
    assert (counts["filtered"], counts["documents"]) == (3, 9)
    first = index(home).counts
    assert (first["documents"], first["chunks"], first["embedded"], first["reused"]) == (6, 6, 6, 0)
    assert "Bouilloire 1" not in titles(home, "bouilloire chante", 20)
    assert {"Tea", "Table"} <= set(titles(home, "kettle", 20))
    assert verify(home, "docs").ok
    shown = read_json(kbjobs("sources", "show", "docs", "--json"))
    assert (shown["documents"], shown["filtered"]) == (6, 3)
    assert shown["languages"] == {"en": 5, "fr": 3, "unknown": 1}
    assert "3 more documents" in kbjobs("sources", "show", "docs").stdout

    assert describe_pages(home).counts["filtered"] == 0
    second = index(home).counts
    assert (second["documents"], second["embedded"], second["reused"]) == (9, 3, 6)
    vectors = ledger_vectors(home)
    assert describe_pages(home, language_filter="fr").counts["filtered"] == 5
    third = index(home).counts
    assert (third["documents"], third["embedded"], third["chunks"]) == (4, 0, 4)
    assert set(titles(home, "kettle", 20)) == {"Bouilloire 0", "Bouilloire 1", "Bouilloire 2", "Table"}
    assert verify(home, "docs").ok
    describe_pages(home)
    assert index(home).counts["embedded"] == 0
    assert len(titles(home, "kettle", 20)) == 9
    assert ledger_vectors(home) == vectors


@pytest.mark.usefixtures("minilm")
def test_the_order_of_metadata_and_index_makes_no_difference(home: Home, tmp_path: Path) -> None:
    pages = write_languages(tmp_path / "pages")
    register(home, "first", [pages])
    register(home, "second", [pages])
    describe_pages(home, "first")
    assert index(home, "first").counts["embedded"] == 9
    index(home, "second")
    late = describe_pages(home, "second").counts
    assert (late["new"], late["unchanged"], late["read"]) == (0, 9, 9)
    assert index(home, "second").counts["embedded"] == 0
    rows = [
        query(home, "SELECT path, snippet, m.language, headings, state FROM metadata m JOIN documents USING (doc_id)"
              " ORDER BY path", source)
        for source in ("first", "second")
    ]  # fmt: skip
    assert rows[0] == rows[1]
    assert len(rows[0]) == 9


@pytest.mark.usefixtures("minilm")
def test_a_page_changed_before_metadata_is_still_indexed_anew(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 4)
    register(home, "docs", [pages])
    index(home)
    (pages / "page1.html").write_text("<html lang=en><title>Axolotl</title><p>It regrows its limbs.</p>")
    assert describe_pages(home).counts["changed"] == 1
    assert verify(home, "docs").ok  # what is searched is what the ledger says until the next index run
    counts = index(home).counts
    assert (counts["embedded"], counts["reused"]) == (1, 3)
    assert "Axolotl" in titles(home, "regrows limbs")
    assert "Page 1" not in titles(home, "kettle number 1", 10)
    (pages / "page0.html").unlink()
    assert describe_pages(home, allow_delete=True).counts["removed"] == 1
    index(home)
    assert "Page 0" not in titles(home, "kettle number 0", 10)
    assert verify(home, "docs").ok


@pytest.mark.usefixtures("minilm")
def test_links_keep_their_targets_through_an_index_run(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 3)
    (pages / "page1.html").write_text("<html lang=en><title>One</title><p>See <a href='page2.html'>two</a>.</p>")
    register(home, "docs", [pages])
    describe_pages(home)
    index(home, force=True)
    assert query(home, "SELECT d.title FROM links l JOIN documents d ON d.doc_id = l.target") == [("Page 2",)]


# -- interruptions -----------------------------------------------------------------------------------


def test_a_stopped_run_goes_on_where_it_was(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 100)
    age(pages)
    register(home, "docs", [pages])
    ledger = SourceFolder(home.sources, "docs").ledger

    def has_begun() -> bool:
        return ledger.exists() and len(query(home, "SELECT 1 FROM metadata")) > 0

    with pytest.raises(JobCancelled):
        metadata.run(context(home, "docs", has_begun), MetadataParams())
    saved = len(query(home, "SELECT 1 FROM metadata"))
    assert 0 < saved < 100
    counts = describe_pages(home).counts
    assert (counts["documents"], counts["new"], counts["unchanged"], counts["read"]) == (
        100, 100 - saved, saved, 100 - saved,
    )  # fmt: skip
    assert describe(home, "docs").languages == {"en": 100}


def test_has_metadata(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
    assert not ledger.has_metadata()
    describe_pages(home)
    assert ledger.has_metadata()
    ledger.close()
