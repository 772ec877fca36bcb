"""What a page says of itself: its description, date, authors, categories and kind."""

from __future__ import annotations

import json
from string import ascii_letters

import pytest

from kbjobs.content.document import KINDS, SAYS_NOTHING, About
from kbjobs.content.document_reading import Origin, extract_page, make_document
from kbjobs.content.html import extract_html
from kbjobs.content.pdf_reading import extract_pdf
from tests.content.pdfs import make_pdf, set_lines


def about(head: str = "", body: str = "<p>Boil the water.</p>") -> About:
    return extract_html(f"<html><head>{head}</head><body>{body}</body></html>".encode()).about


def script(value: object) -> str:
    return f'<script type="application/ld+json">{json.dumps(value)}</script>'


def test_a_page_that_says_nothing() -> None:
    assert about() == SAYS_NOTHING._replace(kind="page")


def test_meta() -> None:
    found = about(
        '<meta name="Description" content=" How to boil\n water "><meta property="article:published_time"'
        ' content="2024-05-17T10:00:00Z"><meta name=author content="Ann Lee"><meta name=author content="Bo Ek">'
        '<meta property="article:author" content="https://e.org/ann"><meta property="article:section" content="Water">'
        '<meta property="article:tag" content="fire"><meta name=keywords content="not, taken">'
        '<meta property="og:type" content="article">'
    )
    assert found == About("How to boil water", "2024-05-17", ("Ann Lee", "Bo Ek"), ("Water", "fire"), "article")


def test_json_ld() -> None:
    article = {
        "@type": ["Thing", "https://schema.org/NewsArticle"], "datePublished": "2023-01-02",
        "articleSection": ["A", "B"],
        "author": [{"@type": "Person", "name": "Ann"}, "Bo"], "description": "Told by JSON-LD",
    }  # fmt: skip
    expected = About("Told by JSON-LD", "2023-01-02", ("Ann", "Bo"), ("A", "B"), "news")
    assert about(script(article)) == expected
    assert about(script({"@graph": [{"@type": "WebSite", "name": "Site"}, article]})) == expected
    assert about("", script([{"@type": "BreadcrumbList"}, article])) == expected


@pytest.mark.parametrize(
    "text",
    ["{", "[" * 100_000, "null", "3", '{"@graph": {"@graph": {}}}', '{"author": {"name": {"x": 1}}, "@type": 7}',
     "\x00",      '{"datePublished": ["", null, {}], "author": [[["a"]]]}'],
)  # fmt: skip
def test_hostile_json_ld(text: str) -> None:
    found = about(f'<script type="application/ld+json">{text}</script><meta name=description content=kept>')
    assert (found.description, found.published, found.authors) == ("kept", "", ())


def test_keywords_where_there_is_nothing_better() -> None:
    assert about('<meta name=keywords content="water; fire, , water">').categories == ("water", "fire")


def test_marks_in_the_text() -> None:
    body = (
        "<article><header><p class=byline>By <a rel=\"author\" href=/ann>Ann</a> <time datetime='2022-03-04'>4 March"
        "</time></p></header><p>In <time datetime='1969-07-20'>1969</time> a man walked there.</p></article>"
        '<a rel="tag" href=/t>moon</a>'
    )
    found = about("", body)
    assert (found.published, found.authors, found.categories) == ("2022-03-04", ("Ann",), ("moon",))
    assert about("", "<p>In <time datetime='1969-07-20'>1969</time> a man walked.</p>").published == ""


def test_categories_of_a_wiki() -> None:
    body = (
        "<div id=mw-content-text><p>Text of the page.</p></div><div id=catlinks class=catlinks>"
        "<div id=mw-normal-catlinks>"
        "<a href=/C>Categories</a>: <ul><li><a href=/C:W>Water</a></li><li><a href=/C:F>Fire</a></li></ul></div></div>"
    )
    assert about("", body).categories == ("Water", "Fire")


def test_what_is_no_name_or_too_much() -> None:
    head = "".join(f'<meta name=author content="Ann {letter}{letter.lower()}">' for letter in ascii_letters)
    assert len(about(head).authors) == 20
    assert about(f'<meta name=author content="{"x" * 500}">').authors == ()
    assert len(about(f'<meta name=description content="{"word " * 500}">').description) <= 500
    assert about('<meta name=author content="a\x07b\u202ec">').authors == ("a b c",)


def test_the_date_in_the_address() -> None:
    extract = extract_page("a", b"<title>T</title><p>Text</p>", ".html")

    def published(key: str, url: str) -> str:
        return make_document("s", extract, Origin(key, "a", url, url, None)).about.published

    assert published("pages/a.html", "https://e.org/2024/05/17/a.html") == "2024-05-17"
    assert published("pages/2024/05/a.html", "file:///home/2019/01/pages/2024/05/a.html") == "2024-05"
    assert published("pages/a.html", "file:///home/2019/01/pages/a.html") == ""


def test_the_language_a_page_names_itself_for() -> None:
    head = (
        "<link rel=alternate hreflang=de href=../de/a.html><link rel=alternate hreflang=pt-BR href=a.html>"
        "<link rel=alternate hreflang=x-default href=https://e.org/>"
    )
    extract = extract_page("a", f"<html><head>{head}<title>T</title></head><p>Text</p>".encode(), ".html")
    url = "https://e.org/br/a.html"
    document = make_document("s", extract, Origin("a.html", "a", url, url, None))
    assert document.said_languages == (("alternate", "pt-BR"),)


def test_markdown() -> None:
    text = (
        "---\ntitle: Water, and fire\nlang: en\ndescription: \"How to\"\ndate: 2024-05-17\nauthors: [Ann, 'Bo Ek']\n"
        "tags:\n  - water\n  - fire\nunknown:\n  - lost\n---\n\nBoil it.\n"
    )
    extract = extract_page("a.md", text.encode(), ".md")
    assert (extract.title, extract.language) == ("Water, and fire", "en")
    assert extract.about == About("How to", "2024-05-17", ("Ann", "Bo Ek"), ("water", "fire"), "text")


def test_pdf() -> None:
    more = b"/Author (Ann; Bo) /Subject (How to boil) /Keywords (water, fire) /CreationDate (D:20240517)"
    found = extract_pdf(make_pdf([set_lines("Boil the water for one minute.")], "Water", information=more)).about
    assert found == About("How to boil", "2024-05-17", ("Ann", "Bo"), ("water", "fire"), "pdf")


def test_all_kinds_are_named() -> None:
    from kbjobs.content import about as reader

    assert set(reader._KINDS.values()) <= set(KINDS)
