"""Which names of folders and files mean a language is decided by the source as a whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.content.document import Document
from kbjobs.content.html import extract_html
from kbjobs.content.language import are_alike
from kbjobs.content.language_rules import Claim, decide_language, weigh
from kbjobs.content.source_files import FoundFile, find_files
from kbjobs.scanning.source_languages import judge
from kbjobs.services.sources import register
from tests.content.test_language_rules import page
from tests.phases.test_metadata import describe_pages, query

ENGLISH = "The kettle is on the stove and the water in it will boil within a few minutes, so let us wait for it. "
ITALIAN = "La pentola è sul fuoco e l'acqua bollirà tra pochi minuti, quindi aspettiamo insieme in cucina. "


def test_a_department_is_no_language() -> None:
    documents = [page(ENGLISH * 3, path=f"pages/it/{number}.html") for number in range(9)]
    documents.append(page("12 34", path="pages/it/prices.html"))
    evidence = [weigh(document) for document in documents]
    assert decide_language(evidence[-1]) == "it"
    verdict = judge(evidence)
    assert Claim("folder", "it") in verdict.dropped
    assert [decide_language(one, verdict) for one in evidence] == ["en"] * 9 + [None]


def test_a_translation_that_has_just_begun() -> None:
    """The pages that are not translated yet belong to it: a filter for English wants each of them once."""
    documents = [page(ITALIAN * 3, path=f"book/it-it/{number}.html") for number in range(3)]
    documents += [page(ENGLISH * 3, path=f"book/it-it/{number}.html") for number in range(3, 40)]
    evidence = [weigh(document) for document in documents]
    verdict = judge(evidence)
    assert {decide_language(one, verdict) for one in evidence} == {"it-it"}


def test_names_that_look_like_languages() -> None:
    """A manual with a page per function: of those whose name is a language, none is in that language."""
    names = ["pi", "is", "no", "so", "to", "id"]
    documents = [page(ENGLISH * 3, path=f"manual/function.{name}.html") for name in names[:4]]
    documents += [page("pi ( ) : float", path=f"manual/function.{name}.html") for name in names[4:]]
    evidence = [weigh(document) for document in documents]
    assert judge(evidence).dropped == {Claim("file name", name) for name in names}
    assert Counter(decide_language(one, judge(evidence)) for one in evidence)["en"] == 4


def test_a_filter_loses_no_page_of_a_manual(home: Home, tmp_path: Path) -> None:
    pages = tmp_path / "manual"
    pages.mkdir()
    for name in ("is-bool", "mt-rand", "gd-info", "pi", "is-int", "dl", "tr-long"):
        text = f"<title>{name}</title><h1>{name}</h1><p>{ENGLISH * 2}</p>"
        (pages / f"function.{name}.html").write_text(text)
    (pages / "function.ps-close.html").write_text("<title>ps_close</title><p>ps_close ( $x ) : bool</p>")
    register(home, "php", [pages])
    counts = describe_pages(home, "php", language_filter="en").counts
    assert (counts["documents"], counts["filtered"]) == (8, 0)
    assert counts["languages"] in ({"en": 7, "unknown": 1}, {"en": 8})


def test_settled_languages_are_what_is_kept(home: Home, tmp_path: Path) -> None:
    """Pages that come later may change what is known of the earlier ones."""
    pages = tmp_path / "site" / "it"
    pages.mkdir(parents=True)
    (pages / "prices.html").write_text("<title>12</title><p>12 34</p>")
    register(home, "site", [tmp_path / "site"])
    assert describe_pages(home, "site").counts["languages"] == {"it": 1}
    for number in range(4):
        (pages / f"page{number}.html").write_text(f"<title>{number}</title><p>{ENGLISH * 3}</p>")
    assert describe_pages(home, "site").counts["languages"] == {"en": 4, "unknown": 1}
    assert query(
        home, "SELECT metadata.language FROM metadata JOIN documents USING (doc_id) WHERE title = '12'", "site"
    ) == [(None,)]


@pytest.mark.full
@pytest.mark.slow
def test_a_handbook_in_26_languages(handbook: Path) -> None:
    """Its pages name no language: its folders do, and most of some are not translated."""
    evidence, folders = [], []
    for file in find_files([handbook]):
        if not isinstance(file, FoundFile) or file.path.suffix != ".html":
            continue
        extract = extract_html(file.path.read_bytes())
        document = Document("1", file.key, "", extract.title, None, tuple(extract.blocks), "h", 1, ())
        evidence.append(weigh(document))
        folders.append(file.path.parent.name.lower())
    verdict = judge(evidence)
    right = sum(
        are_alike(decide_language(one, verdict) or "", folder) for one, folder in zip(evidence, folders, strict=True)
    )
    assert len(folders) > 3000
    assert right / len(folders) >= 0.995
