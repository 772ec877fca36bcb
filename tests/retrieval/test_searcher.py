"""Searching: every cosine is computed, words count too, and what cannot be used is told."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import JobCancelled, NotFoundError, UsageError
from kbjobs.phases import index_offline
from kbjobs.phases.index_offline import IndexOfflineParams
from kbjobs.retrieval.fusion import fuse
from kbjobs.retrieval.hits import Hit, Mode, Query
from kbjobs.retrieval.searcher import Searcher
from kbjobs.services.sources import rebuild, register, verify
from kbjobs.store.document_filter import DocumentFilter
from kbjobs.store.locks import lock_source
from kbjobs.store.passages import Filter
from kbjobs.store.sources import SourceFolder
from kbjobs.vectors.collection import open_directory
from kbjobs.vectors.exact import read_state
from kbjobs.vectors.matrix import nearest, open_matrix
from tests.conftest import MODEL, rest_full, write_pages
from tests.phases.test_index_offline import context, index
from tests.phases.test_metadata import describe_pages

pytestmark = pytest.mark.usefixtures("minilm")


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def searcher(home: Home, notices: list[str]) -> Iterator[Searcher]:
    with Searcher(home, Settings(home), notices.append) as opened:
        yield opened


def page(folder: Path, name: str, title: str, text: str, language: str = "en") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.html").write_text(
        f"<html lang={language}><title>{title}</title><body><p>{text}</p></body></html>"
    )


def titles(hits: list[Hit]) -> list[str]:
    return [hit.title for hit in hits]


def live(home: Home) -> Path:
    [directory] = SourceFolder(home.sources, "docs").vectors.iterdir()
    return directory


@pytest.fixture
def library(home: Home, tmp_path: Path) -> Path:
    """A few pages of different subjects and languages."""
    pages = tmp_path / "pages"
    page(pages, "boil", "Making water safe", "Water is boiled for a minute to kill germs. Let it cool.")
    page(pages, "code", "Error codes", "The pump shows E-4711 when its filter is clogged.")
    page(pages, "stars", "Galaxies", "A telescope shows distant stars at night.")
    page(pages / "de", "wasser", "Wasser abkochen", "Kochendes Wasser tötet Keime.", "de")
    page(pages / "ja", "mizu", "水", "水を沸かすと安全になる。", "ja")
    register(home, "docs", [pages])
    index(home)
    return pages


@pytest.mark.usefixtures("library")
def test_words_and_meaning_together(searcher: Searcher) -> None:
    [best, *_] = searcher.search(Query("E-4711"))
    assert (best.title, best.mode, best.matched) == ("Error codes", "hybrid", ("E", "4711"))
    assert titles(searcher.search(Query("how do I sterilise drinking water", count=1))) == ["Making water safe"]
    assert titles(searcher.search(Query("boiling", mode="words"))) == ["Making water safe"]  # by its stem
    assert titles(searcher.search(Query("kochende", mode="words"))) == ["Wasser abkochen"]
    assert titles(searcher.search(Query("沸かす", mode="words"))) == ["水"]


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(("mode", "has_score"), [("vectors", True), ("words", False)])
def test_one_way_alone(searcher: Searcher, mode: Mode, has_score: bool) -> None:
    hits = searcher.search(Query("water", mode=mode))
    assert hits
    assert {hit.mode for hit in hits} == {mode}
    assert all((hit.score is not None) == has_score for hit in hits)
    assert all((hit.model is not None) == has_score for hit in hits)


@pytest.mark.usefixtures("library")
def test_filters(searcher: Searcher) -> None:
    assert titles(searcher.search(Query("water", which=Filter(language="de")))) == ["Wasser abkochen"]
    assert titles(searcher.search(Query("water", which=Filter(path="pages/ja/")))) == ["水"]
    assert searcher.search(Query("water", which=Filter(language="fr"))) == []


@pytest.fixture
def dated(home: Home, tmp_path: Path) -> None:
    """Three pages on water, two of them with a date and a category."""
    pages = tmp_path / "pages"
    pages.mkdir()
    for name, date, tag in (("old", "2021-03-04", "Radio"), ("new", "2024-05-17", "Kitchen"), ("none", "", "")):
        facts = f'<meta property="article:published_time" content="{date}">' if date else ""
        facts += f'<meta name="keywords" content="{tag}, water">' if tag else ""
        text = f"<title>{name}</title>{facts}<p>Water of the {name} page is boiled before anybody drinks it.</p>"
        (pages / f"{name}.html").write_text(f"<html lang=en>{text}</html>")
    register(home, "docs", [pages])
    index(home)


def test_documents_of_a_kind(home: Home, tmp_path: Path, searcher: Searcher) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    body = "Water is boiled before anybody drinks it."
    (pages / "page.html").write_text(f"<title>page</title><meta property='og:type' content='Article'><p>{body}")
    (pages / "note.txt").write_text(f"note\n\n{body} Twice.")
    (pages / "table.csv").write_text(f"table,water\n1,{body}\n")
    register(home, "docs", [pages])
    index(home)
    describe_pages(home)

    def found(kind: str) -> list[str]:
        hits = searcher.search(Query("boiled water", documents=DocumentFilter(kind=kind)))
        return sorted(hit.url.rpartition("/")[2] for hit in hits)

    assert found("text") == ["note.txt"] and found("HTML") == ["page.html"] and found("table") == ["table.csv"]
    assert found("article") == ["page.html"] and found("pdf") == []


@pytest.mark.usefixtures("dated")
def test_documents_of_a_category_or_a_time(home: Home, searcher: Searcher, notices: list[str]) -> None:
    def found(mode: Mode = "hybrid", **wanted: str) -> list[str]:
        return sorted(titles(searcher.search(Query("boiled water", mode=mode, documents=DocumentFilter(**wanted)))))

    assert found(tag="radio") == [] and "kbjobs run metadata docs reads" in notices[0]
    describe_pages(home)
    assert found() == ["new", "none", "old"]
    for mode in ("hybrid", "vectors", "words"):
        assert found(mode, tag="radio") == ["old"]
        assert found(mode, since="2022") == ["new"]
        assert found(mode, until="2021-03") == ["old"]
        assert found(mode, since="2021-03-04", tag="WATER") == ["new", "old"]
    assert found(tag="'; DROP TABLE documents; --") == []
    assert len(notices) == 1


@pytest.mark.parametrize("date", ["yesterday", "24", "2024-5", "2024-05-17T00:00"])
def test_a_date_is_a_year_a_month_or_a_day(date: str) -> None:
    with pytest.raises(UsageError, match="is not a date"):
        DocumentFilter(since=date).check()
    with pytest.raises(UsageError, match="--until"):
        DocumentFilter(until=date).check()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "words",
    [
        '"',
        "*",
        "NEAR(water stars)",
        "title:water",
        "-",
        "a AND OR NOT",
        "(",
        "água'; DROP TABLE passages",
        "x " * 50_000,
    ],
)
def test_a_query_is_text_and_no_syntax(searcher: Searcher, words: str) -> None:
    assert len(searcher.search(Query(words))) == 5


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(("words", "count"), [("", 1), ("  ", 1), ("caf\udce9", 1), ("water", 0), ("water", 10**7)])
def test_what_cannot_be_asked(searcher: Searcher, words: str, count: int) -> None:
    with pytest.raises(UsageError):
        searcher.search(Query(words, count=count))


def test_one_hit_a_document_and_how_many_more(home: Home, tmp_path: Path, searcher: Searcher) -> None:
    page(tmp_path / "pages", "long", "Kettles", "The kettle sings when the water boils. " * 200)
    page(tmp_path / "pages", "short", "Stars", "A telescope shows the stars.")
    register(home, "docs", [tmp_path / "pages"])
    chunks = index(home).counts["chunks"]
    [first, second] = searcher.search(Query("kettle"))
    assert (first.title, second.title, second.more) == ("Kettles", "Stars", 0)
    assert first.more == chunks - 2 > 1
    everything = searcher.search(Query("kettle", count=100, passages=True))
    assert len(everything) == chunks
    assert [hit.rank for hit in everything] == list(range(1, chunks + 1))


def test_one_page_among_very_many_alike(home: Home, tmp_path: Path, searcher: Searcher) -> None:
    """A graph of neighbours falls apart on these; every call must give the same answer."""
    pages = tmp_path / "pages"
    for number in range(400):
        page(pages, f"page{number}", f"Page {number}", f"Page {number}")
    for number in range(600):
        page(pages / "same", f"same{number}", "Notice", "This page was left empty on purpose.")
    page(pages, "giraffe", "Giraffes", "Giraffes eat leaves of the acacia.")
    register(home, "docs", [pages])
    index(home)
    for mode in ("hybrid", "vectors", "words"):
        answers = [searcher.search(Query("giraffes", count=3, mode=mode)) for _ in range(5)]
        assert answers[0][0].title == "Giraffes"
        assert answers.count(answers[0]) == 5
    assert len(searcher.search(Query("left empty on purpose", count=600))) == 600
    assert verify(home, "docs").ok


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("passages.db", lambda content: b"no database"),
        ("passages.db", lambda content: content[: len(content) // 2]),
        ("matrix.f32", lambda content: content[:-4]),
        ("matrix.f32", lambda content: content[:40]),
        ("matrix.f32", lambda content: b"KBJM\x09" + content[5:]),
        ("matrix.f32", lambda content: content[:24] + b"\0" * 16 + content[40:]),
    ],
)
def test_a_damaged_index_is_told_and_mended_from_the_ledger(
    home: Home, searcher: Searcher, notices: list[str], name: str, damage: object
) -> None:
    path = live(home) / name
    before = searcher.search(Query("telescope"))
    searcher.close()
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert not verify(home, "docs").ok
    with lock_source(SourceFolder(home.sources, "docs").lock, "docs", 0):  # as a job does
        assert titles(searcher.search(Query("telescope", count=1))) == ["Galaxies"]
        assert "docs is searched with Chroma, not exactly" in notices[0]
        assert "a job is at work on it. kbjobs sources rebuild docs mends it" in notices[0]
    searcher.close()
    notices.clear()
    assert searcher.search(Query("telescope")) == before
    assert "the index of docs was damaged" in notices[0]
    assert notices[0].endswith("built again from the ledger.")
    assert verify(home, "docs").ok
    assert sorted(live(home).glob("mending-*")) == []
    searcher.close()
    notices.clear()
    assert searcher.search(Query("telescope")) == before
    assert notices == []


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", ["passages.db", "matrix.f32"])
def test_a_part_of_an_index_that_is_gone_is_written_again(home: Home, searcher: Searcher, name: str) -> None:
    before = searcher.search(Query("telescope"))
    searcher.close()
    (live(home) / name).unlink()
    assert searcher.search(Query("telescope")) == before
    assert verify(home, "docs").ok


def test_what_is_mended_is_what_was_published_not_what_a_job_has_begun(
    home: Home, library: Path, searcher: Searcher, notices: list[str]
) -> None:
    before = searcher.search(Query("telescope"))
    searcher.close()
    page(library, "stars", "Galaxies", "A microscope shows small animals.")
    calls = iter(range(1))
    with pytest.raises(JobCancelled):
        index_offline.run(context(home, "docs", lambda: next(calls, None) is None), IndexOfflineParams(model=MODEL))
    (live(home) / "matrix.f32").write_bytes(b"")
    assert searcher.search(Query("telescope")) == before
    assert len(notices) == 1


def test_a_matrix_too_large_is_left_out_and_chroma_answers(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searcher: Searcher, notices: list[str]
) -> None:
    monkeypatch.setenv("KBJOBS_MATRIX_MAX_MB", "0")
    pages = tmp_path / "many"
    pages.mkdir()
    for number in range(300):
        page(pages, f"same{number}", "Left empty", "This page is left empty on purpose.")
    for number, animal in enumerate(["giraffes", "zebras", "lions", "tigers"]):
        page(pages, f"animal{number}", animal.title(), f"In the savanna we met {animal}.")
    register(home, "docs", [pages])
    index(home)
    assert not (live(home) / "matrix.f32").exists()
    with open_directory(live(home)) as collection:
        assert collection.count() == 5  # one record for each text
    for mode in ("hybrid", "vectors", "words"):
        answers = [searcher.search(Query("giraffes", count=3, mode=mode)) for _ in range(5)]
        assert answers[0][0].title == "Giraffes"
        assert answers.count(answers[0]) == 5
    assert len(searcher.search(Query("left empty on purpose", count=304, mode="vectors"))) == 304
    only = searcher.search(Query("left empty", count=9, mode="vectors", which=Filter(path="many/animal")))
    assert {hit.title for hit in only} <= {"Giraffes", "Zebras", "Lions", "Tigers"}
    assert len(only) == 4
    assert notices == []
    assert verify(home, "docs").ok
    (pages / "same0.html").unlink()  # the document by which the record was named
    assert index(home).counts["embedded"] == 0
    assert verify(home, "docs").ok
    assert len(searcher.search(Query("left empty on purpose", count=304, mode="vectors"))) == 303
    monkeypatch.delenv("KBJOBS_MATRIX_MAX_MB")
    rebuild(home, "docs")
    assert (live(home) / "matrix.f32").exists()
    with open_directory(live(home)) as collection:
        assert collection.count() == 303


def test_before_any_index_the_words_are_searched(
    home: Home, tmp_path: Path, searcher: Searcher, notices: list[str]
) -> None:
    pages = tmp_path / "library"
    pages.mkdir()
    page(pages, "stars", "Galaxies", "A telescope shows far galaxies.")
    page(pages, "tea", "Tea", "Boil the water and wait. " * 40 + "Then the kettle whistles.")
    register(home, "docs", [pages])
    with pytest.raises(NotFoundError, match=r"has (no|an) index|has an index|no source"):
        searcher.search(Query("telescope", ("docs",)))
    describe_pages(home)
    [hit] = searcher.search(Query("telescopes", ("docs",)))
    assert (hit.title, hit.score, hit.model, hit.mode, hit.matched) == ("Galaxies", None, None, "words", ("telescope",))
    assert notices == ["docs has no index yet: searched by the words of its titles, headings and beginnings."]
    assert searcher.search(Query("whistles")) == []  # it stands too far down
    with pytest.raises(NotFoundError, match=r"has (no|an) index|has an index|no source"):
        searcher.search(Query("telescope", mode="vectors"))
    with pytest.raises(NotFoundError, match=r"has (no|an) index|has an index|no source"):
        searcher.search(Query("telescope", model=MODEL))
    page(pages, "stars", "Galaxies", "A microscope shows small animals.")
    describe_pages(home)
    assert searcher.search(Query("telescope")) == []
    assert titles(searcher.search(Query("microscope"))) == ["Galaxies"]

    path = SourceFolder(home.sources, "docs").words
    before = path.stat().st_ino
    with pytest.raises(JobCancelled):  # once the pages are cut
        index_offline.run(context(home, "docs", lambda: path.stat().st_ino != before), IndexOfflineParams(model=MODEL))
    assert titles(searcher.search(Query("whistles"))) == ["Tea"]
    assert notices[-1] == "docs has no index yet: searched by the words of its passages."
    index(home)
    assert not SourceFolder(home.sources, "docs").words.exists()
    assert searcher.search(Query("whistles"))[0].mode == "hybrid"


@pytest.mark.usefixtures("library")
def test_what_an_older_version_has_published_is_searched_as_before(
    home: Home, searcher: Searcher, notices: list[str]
) -> None:
    for name in ("passages.db", "matrix.f32"):
        (live(home) / name).unlink()
    [best, *_] = searcher.search(Query("telescope"))
    assert (best.title, best.mode, notices) == ("Galaxies", "vectors", [])
    assert verify(home, "docs").ok
    rebuild(home, "docs")
    assert searcher.search(Query("telescope"))[0].mode == "hybrid"


def test_an_edit_changes_just_what_it_changed(home: Home, library: Path, searcher: Searcher) -> None:
    page(library, "stars", "Galaxies", "A microscope shows small animals.")
    (library / "code.html").unlink()
    index(home)
    assert titles(searcher.search(Query("telescope", mode="words"))) == []
    assert titles(searcher.search(Query("E-4711", mode="words"))) == []
    assert titles(searcher.search(Query("microscope", mode="words"))) == ["Galaxies"]
    assert titles(searcher.search(Query("animals under a lens", count=1))) == ["Galaxies"]
    assert verify(home, "docs").ok


def test_a_source_that_has_no_index_yet(home: Home, tmp_path: Path, searcher: Searcher) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    for mode in ("hybrid", "words"):
        with pytest.raises(NotFoundError, match="no index") as caught:
            searcher.search(Query("water", ("docs",), mode=mode))
        assert "kbjobs run index-offline docs" in caught.value.hint


@pytest.mark.parametrize("mode", rest_full(["hybrid", "vectors", "words"], "hybrid"))
@pytest.mark.parametrize("which", [Filter(), Filter(path="shelf/common")])
def test_many_sources_are_ranked_as_if_each_passage_were_read(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searcher: Searcher, mode: Mode, which: Filter
) -> None:
    """Passages are read only of what is shown; the order is that of all of them, equal ones by source and document."""
    monkeypatch.setattr("kbjobs.retrieval.searcher.DEPTH", 12)
    monkeypatch.setattr("kbjobs.retrieval.searcher.DEPTH_OF_HIT", 1)
    for number in range(3):
        shelf = tmp_path / f"library{number}" / "shelf"
        for copy in range(9):
            page(shelf / "common", f"same{copy}", "Kettle", "The kettle sings when the water boils.")
        for copy in range(6):
            page(shelf, f"page{copy}", f"Tea {copy}", f"Tea number {copy} of shelf {number} likes boiled water.")
        register(home, f"docs{number}", [shelf])
        index(home, f"docs{number}")

    hits = searcher.search(Query("boiled water", count=12, mode=mode, which=which, passages=True))
    assert [
        searcher.search(Query("boiled water", count=12, mode=mode, which=which, passages=True)) for _ in range(3)
    ] == ([hits] * 3)
    assert [(hit.source, hit.doc_id, hit.text, hit.score) for hit in hits] == rank_all(home, searcher, mode, which)


def rank_all(home: Home, searcher: Searcher, mode: Mode, which: Filter) -> list[tuple[str, str, str, float | None]]:
    """The twelve best passages of both rankings: every passage is read and scored, then all are sorted."""
    vector = searcher.embed("boiled water", MODEL)
    by_vectors, by_words = [], []
    for source_id in ("docs0", "docs1", "docs2"):
        [directory] = SourceFolder(home.sources, source_id).vectors.iterdir()
        matrix = open_matrix(directory / "matrix.f32", read_state(directory) or "")
        with closing(sqlite3.connect(directory / "passages.db")) as connection:
            condition, values = which.conditions()
            of_vectors = connection.execute(
                f"SELECT p.record, p.doc_id, p.text, p.vector FROM passages p WHERE 1{condition}", values
            ).fetchall()
            of_words = connection.execute(
                "SELECT p.record, p.doc_id, p.text, bm25(words, 2.0, 1.0) FROM words JOIN passages p"
                f" ON p.id = words.rowid WHERE words MATCH ?{condition}",
                ['"boiled" OR "boil" OR "water"', *values],
            ).fetchall()
        cosines = dict(nearest(matrix, vector, len(matrix)))
        scored = [((source_id, record, doc_id, text), cosines[row], row) for record, doc_id, text, row in of_vectors]
        by_vectors += sorted(scored, key=lambda one: (-one[1], one[2], one[0][2], one[0][1]))[:12]
        matched = [((source_id, record, doc_id, text), -score) for record, doc_id, text, score in of_words]
        by_words += sorted(matched, key=lambda one: (-one[1], one[0][2], one[0][1]))[:12]
    near = {} if mode == "words" else {key: score for key, score, _ in by_vectors}
    rankings = [
        [] if mode == "words" else [key for key, *_ in sorted(by_vectors, key=lambda one: -one[1])[:12]],
        [] if mode == "vectors" else [key for key, *_ in sorted(by_words, key=lambda one: -one[1])[:12]],
    ]
    return [(key[0], key[2], key[3], round(near[key], 4) if key in near else None) for key in fuse(rankings)[:12]]


@pytest.mark.usefixtures("library")
def test_the_files_of_a_deleted_source_are_closed(searcher: Searcher, home: Home) -> None:
    assert searcher.search(Query("water"))
    folder = SourceFolder(home.sources, "docs").path

    def held() -> list[str]:
        mapped = Path("/proc/self/maps").read_text().splitlines()
        opened = [str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
        return [name for name in (*mapped, *opened) if str(folder) in name]

    assert held()
    shutil.rmtree(folder)
    with pytest.raises(NotFoundError, match="no source has an index yet"):
        searcher.search(Query("water"))
    assert not held()


def test_a_notice_is_given_once_unless_it_is_forgotten(
    home: Home, tmp_path: Path, searcher: Searcher, notices: list[str]
) -> None:
    page(tmp_path / "pages", "boil", "Boiling", "Water is boiled.")
    register(home, "docs", [tmp_path / "pages"])
    describe_pages(home)
    for _ in range(2):
        searcher.search(Query("water"))
    assert len(notices) == 1
    searcher.forget_notices()
    searcher.search(Query("water"))
    assert len(notices) == 2 and notices[0] == notices[1]
