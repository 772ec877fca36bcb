"""``kbjobs documents``: what was read, seen by whoever doubts an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT, Kbjobs, read_json, real_input

PROSE = "The water of the lake is boiled for ten minutes, cooled, and kept in closed cans, which were cleaned before."
GERMAN = "Das Feuer wird am Abend mit trockenem Holz und etwas Papier angezündet, und nachts wacht einer von uns."
NEWS = f"""<html lang=en><head><title>Clean water</title><meta property="og:type" content="article">
<script type="application/ld+json">{{"@type": "NewsArticle", "author": {{"@type": "Person", "name": "Ann Lee"}},
"datePublished": "2024-05-17", "articleSection": "Water"}}</script></head><body>
<nav><a href=/>Home</a> <a href=/news>News</a>{"".join(f"<a class=nav href=/{n}>{n}</a>" for n in range(9))}</nav>
<article class="post entry-content"><h1>Clean water</h1>
{"".join(f"<p>{PROSE} So says page {n}.</p>" for n in range(8))}</article>
<div class="related-posts sidebar-widget"><h3>Most popular</h3><ul><li><a href=/a>Ten lamps</a></li>
<li><a href=/b>A stove of stone</a></li></ul></div></body></html>"""


@pytest.fixture
def pages(tmp_path: Path, kbjobs: Kbjobs) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "news.html").write_text(NEWS)
    (folder / "feuer.html").write_text(f"<html lang=de><title>Feuer</title><p>{GERMAN}</p>")
    (folder / "empty.html").write_text("<p></p>")
    kbjobs("sources", "add", "wiki", folder)
    kbjobs("run", "metadata", "wiki", "--quiet", check=3)
    return folder


def test_the_list_tells_who_wrote_what_when(pages: Path, kbjobs: Kbjobs) -> None:
    listed = [line.split("\t") for line in kbjobs("documents", "list", "wiki").stdout.splitlines()]
    assert [row[1:5] for row in listed] == [["Feuer", "de", "", ""], ["Clean water", "en", "2024-05-17", "Ann Lee"]]
    numbers = [json.loads(line)["number"] for line in kbjobs("documents", "list", "wiki", "--json").stdout.splitlines()]
    assert numbers == [1, 2]


@pytest.mark.parametrize(
    ("options", "titles"),
    [
        (("--lang", "de"), ["Feuer"]),
        (("--tag", "water"), ["Clean water"]),
        (("--since", "2024-05"), ["Clean water"]),
        (("--until", "2024-05"), ["Clean water"]),
        (("--until", "2024-04"), []),
        (("--since", "2024-05-18"), []),
    ],
)
def test_filters(pages: Path, kbjobs: Kbjobs, options: tuple[str, ...], titles: list[str]) -> None:
    lines = kbjobs("documents", "list", "wiki", *options, "--json").stdout.splitlines()
    assert [json.loads(line)["title"] for line in lines] == titles


def test_what_failed_and_what_is_no_date(pages: Path, kbjobs: Kbjobs) -> None:
    assert "no text" in kbjobs("documents", "list", "wiki", "--failed").stdout
    assert "Nothing of source wiki was skipped" in kbjobs("documents", "list", "wiki", "--skipped").stderr
    refused = kbjobs("documents", "list", "wiki", "--since", "yesterday", check=2)
    assert "'yesterday' is not a date" in refused.stderr


def test_what_is_kept_and_what_is_not(pages: Path, kbjobs: Kbjobs) -> None:
    number = next(
        str(document["number"])
        for document in map(json.loads, kbjobs("documents", "list", "wiki", "--json").stdout.splitlines())
        if document["title"] == "Clean water"
    )
    shown = kbjobs("documents", "show", "wiki", number).stdout
    assert "# Clean water" in shown
    assert "So says page 7." in shown
    assert "Most popular" not in shown
    dropped = kbjobs("documents", "show", "wiki", number, "--dropped").stdout
    assert "A stove of stone" in dropped
    assert "[marked as furniture]\nNews" in dropped
    assert "So says page" not in dropped
    told = read_json(kbjobs("documents", "show", "wiki", number, "--json"))
    assert {"kind": "heading", "level": 1, "text": "Clean water"} in told["text"]
    assert told["authors"] == ["Ann Lee"]


@pytest.mark.parametrize("name", ["path", "doc_id", "url", "number"])
def test_a_document_by_any_of_its_names(pages: Path, kbjobs: Kbjobs, name: str) -> None:
    document = json.loads(kbjobs("documents", "list", "wiki", "--json").stdout.splitlines()[0])
    assert GERMAN in kbjobs("documents", "show", "wiki", str(document[name])).stdout


def test_a_document_that_is_not_there(pages: Path, kbjobs: Kbjobs) -> None:
    refused = kbjobs("documents", "show", "wiki", "17", check=4)
    assert "kbjobs documents list wiki" in refused.stderr


def test_passages_and_a_file_that_is_gone(pages: Path, kbjobs: Kbjobs, small_model: Path) -> None:
    kbjobs("run", "index-offline", "wiki", "--model", small_model, "--quiet", check=3)
    cut = kbjobs("documents", "show", "wiki", "1", "--passages").stdout
    assert "--- passage 1" in cut
    for page in pages.iterdir():
        page.unlink()
    shown = kbjobs("documents", "show", "wiki", "1")
    assert "its file is gone; this text is put together from its passages" in shown.stdout + shown.stderr
    assert "mit trockenem Holz" in shown.stdout


def test_a_document_without_an_address_is_not_opened(kbjobs: Kbjobs) -> None:
    books = ROOT.parent / "shared" / "data" / "zim" / "wikibooks_be_all_nopic_2017-02.zim"
    kbjobs("sources", "add", "zim", real_input(books, "a ZIM file"))
    kbjobs("run", "metadata", "zim", "--quiet")
    assert json.loads(kbjobs("documents", "list", "zim", "--json").stdout.splitlines()[0])["url"] == ""
    refused = kbjobs("documents", "show", "zim", "1", "--open", check=2)
    assert "kbjobs sources edit zim --base-url URL" in refused.stderr
    assert "кухн" in kbjobs("documents", "show", "zim", "1").stdout  # read again from the archive
