"""Titles without the name of the site, learned once and kept to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.scanning.title_samples import TitleRules
from kbjobs.services.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.content.zims import build_zim
from tests.phases.test_metadata import age, describe_pages, query

SUBJECTS = [f"Subject {number}" for number in range(9)]


def write_site(pages: Path, site: str = "Guide 1.0") -> Path:
    pages.mkdir(exist_ok=True)
    for number, subject in enumerate(SUBJECTS):
        page = f"<title>{subject} | {site}</title><p>What there is to say of subject number {number}.</p>"
        (pages / f"page{number}.html").write_text(page)
    return pages


def titles_of(home: Home) -> list[str]:
    return [row[0] for row in query(home, "SELECT title FROM documents ORDER BY title")]


def test_a_new_source(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_site(tmp_path / "site")])
    describe_pages(home)
    assert titles_of(home) == SUBJECTS


def test_a_page_that_comes_later_is_read_by_the_same_rules(home: Home, tmp_path: Path) -> None:
    pages = write_site(tmp_path / "site")
    register(home, "docs", [pages])
    describe_pages(home)
    (pages / "new.html").write_text("<title>New | Guide 1.0</title><p>Something new.</p>")
    for number in range(3):  # too few to learn from: they may be a chapter's
        (pages / f"salt{number}.html").write_text(f"<title>Salt {number} | Meat</title><p>Salt number {number}.</p>")
    describe_pages(home)
    assert titles_of(home) == ["New", *(f"Salt {number} | Meat" for number in range(3)), *SUBJECTS]


def test_a_source_of_an_earlier_version_keeps_its_titles(home: Home, tmp_path: Path) -> None:
    """Another title makes other passages, which may have been paid for. --force reads all anew."""
    pages = write_site(tmp_path / "site")
    age(pages)
    register(home, "docs", [pages])
    describe_pages(home)
    ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
    ledger.set_fact("site titles", None)
    ledger.close()
    (pages / "page0.html").write_text("<title>Subject 0 | Guide 1.0</title><p>Changed.</p>")
    describe_pages(home)
    assert titles_of(home) == ["Subject 0 | Guide 1.0", *SUBJECTS[1:]]
    describe_pages(home, force=True)
    assert titles_of(home) == SUBJECTS


def test_a_run_that_was_cut_short_goes_on_by_the_same_rules() -> None:
    facts: dict[str, str | None] = {}

    class Memory:
        def fact(self, name: str) -> str | None:
            return facts.get(name)

        def set_fact(self, name: str, value: str | None) -> None:
            facts[name] = value

    first = TitleRules(Memory(), is_new=True)
    first.learn("", lambda: [f"{subject} | Guide" for subject in SUBJECTS])
    rest = TitleRules(Memory(), is_new=False)
    rest.learn("", lambda: pytest.fail("learned twice"))
    assert rest.site == first.site
    rest.learn("a.zim", lambda: [])
    rest.finish()
    assert json.loads(facts["site titles"] or "") == [[], [" | Guide"], []]


def test_an_archive(home: Home, tmp_path: Path) -> None:
    text = "Salt the meat. " * 20
    pages = [
        (
            f"page{number}",
            subject,
            "text/html",
            f"<html><title>{subject} - Guide</title><body><p>{text}</p></body></html>",
        )
        for number, subject in enumerate(SUBJECTS)
    ]
    register(home, "docs", [build_zim(tmp_path / "guide.zim", pages)])
    describe_pages(home)
    assert titles_of(home) == SUBJECTS
