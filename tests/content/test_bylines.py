"""Who wrote a page and when, as its marks and the text beside its title say."""

from __future__ import annotations

import json

import pytest

from kbjobs.content.bylines import clean_author, find_byline
from kbjobs.content.dates import date_in_path, find_date
from kbjobs.content.document import About
from kbjobs.content.html import extract_html

TEXT = (
    "<p>The water of the lake is boiled for ten minutes, cooled, and kept in closed cans, which were cleaned.</p>" * 3
)


def about(body: str, head: str = "", tag: str = "<html>") -> About:
    return extract_html(f"{tag}<head><title>Water</title>{head}</head><body>{body}</body></html>".encode()).about


def script(value: object) -> str:
    return f'<script type="application/ld+json">{json.dumps(value)}</script>'


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("By Ann Lee", ["Ann Lee"]),
        ("Von Karl Meier und Eva Groß | 12.03.2020", ["Karl Meier", "Eva Groß"]),
        ("par Anne-Marie d'Eu, publié le 3 mai", ["Anne-Marie d'Eu"]),
        ("Autor: Perry Bacon Jr.", ["Perry Bacon Jr."]),
        ("Posted by admin", []),
        ("Zeige alle Beiträge von Petra Ruland", ["Petra Ruland"]),
        ("Text und Fotos: Jo Ek", ["Jo Ek"]),
        ("12.03.2020", []),
        ("Weekend By Ann Lee", ["Ann Lee"]),
        ("By Ann Lee And Bo Ek", ["Ann Lee", "Bo Ek"]),
        ("By Ann Lee, CNN", ["Ann Lee"]),
        ("Autor Ann Lee: EN", ["Ann Lee"]),
        ("The long sentence that somebody has put into the field for the name", []),
    ],
)
def test_names_are_freed_of_what_stands_around_them(text: str, names: list[str]) -> None:
    assert clean_author(text) == names


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("Am 17. Mai 2024 um 12 Uhr", "2024-05-17"),
        ("publié le 3 févr. 2021", "2021-02-03"),
        ("12 de octubre de 2019", "2019-10-12"),
        ("12 luglio 2015", "2015-07-12"),
        ("1 июня 2020", "2020-06-01"),
        ("4 lipca 2011", "2011-07-04"),
        ("5. března 2018", "2018-03-05"),
        ("2019年3月4日", "2019-03-04"),
        ("3.4.2019, 12:00", "2019-04-03"),
        ("25/06/2024", "2024-06-25"),
        ("Jan. 5, 2020", "2020-01-05"),
        ("version 1.2.3.2020", ""),
        ("31.02.2020", ""),
    ],
)
def test_dates_in_the_languages_of_the_web(text: str, date: str) -> None:
    assert find_date(text) == date


def test_months_first_on_american_pages() -> None:
    body = f"<h1>Water</h1><p>05/06/2024</p>{TEXT}"
    assert about(body).published == "2024-06-05"
    assert about(body, tag="<html lang=en-US>").published == "2024-05-06"


@pytest.mark.parametrize(
    ("path", "date"),
    [("/2024/05/17/title", "2024-05-17"), ("/news/20240517-x", "2024-05-17"), ("/news/29-10-2021", "2021-10-29"),
     ("/2024/99/1/x", ""), ("/a/1066/10/14/x", "")],
)  # fmt: skip
def test_dates_in_addresses(path: str, date: str) -> None:
    assert date_in_path(path) == date


def test_references_in_json_ld_are_followed() -> None:
    graph = {
        "@graph": [
            {"@type": "Person", "@id": "#ann", "name": "Ann Lee"},
            {"@type": "WebPage", "datePublished": "2020-01-01"},
            {"@type": "NewsArticle", "author": {"@id": "#ann"}, "datePublished": "2021-02-03"},
        ]
    }
    found = about(TEXT, script(graph))
    assert (found.authors, found.published, found.kind) == (("Ann Lee",), "2021-02-03", "news")


def test_a_weaker_claim_never_beats_a_stronger_one() -> None:
    strong = script(
        {"@type": "Article", "author": {"@type": "Person", "name": "Ann Lee"}, "datePublished": "2021-02-03"}
    )
    weak = '<meta name=author content="Bo Ek"><meta name=date content="2001-01-01">'
    found = about(f"<h1>Water</h1><p class=byline>By Cy Ott, 5 May 2011</p>{TEXT}", strong + weak)
    assert (found.authors, found.published) == (("Ann Lee",), "2021-02-03")


def test_the_byline_before_the_name_of_the_site() -> None:
    head = '<meta property="og:site_name" content="The Daily Lake"><meta name=author content="The Daily Lake">'
    assert about(f"<h1>Water</h1><div>By Cy Ott</div>{TEXT}", head).authors == ("Cy Ott",)
    assert about(f"<h1>Water</h1>{TEXT}", head).authors == ()


def test_comments_and_teasers_say_nothing_of_the_page() -> None:
    comment = '<div class=comments><span class=author>Bo Ek</span><time datetime="2022-01-01"></time></div>'
    found = about(f"<h1>Water</h1>{TEXT}{comment}")
    assert (found.authors, found.published) == ((), "")


@pytest.mark.parametrize("date", ["2999-01-01", "1969-07-20"])
def test_an_unlikely_date_needs_a_second_witness(date: str) -> None:
    head = f'<meta name=date content="{date}">'
    assert about(TEXT, head).published == ""
    expected = date if date < "2000" else ""
    assert (
        about(f'<h1>Water</h1><p class=byline><time datetime="{date}">then</time></p>{TEXT}', head).published
        == expected
    )


def test_the_day_that_readers_see_where_the_head_tells_utc() -> None:
    head = '<meta property="article:published_time" content="2023-11-09T05:30:59+00:00">'
    assert about(f"<h1>Water</h1><p>November 8, 2023</p>{TEXT}", head).published == "2023-11-08"
    assert about(f"<h1>Water</h1><p>November 7, 2023</p>{TEXT}", head).published == "2023-11-09"


def test_the_day_before_is_shown_only_for_a_morning_in_utc() -> None:
    head = '<meta property="article:published_time" content="2023-11-09T17:30:59+00:00">'
    assert about(f"<h1>Water</h1><p>November 8, 2023</p>{TEXT}", head).published == "2023-11-09"


def test_the_one_day_that_is_marked_beside_the_title_before_that_of_the_head() -> None:
    head = '<meta name=date content="2021-12-20">'
    shown = "<span class=date>27.01.2022</span>"
    assert about(f"<h1>Water</h1>{shown}{TEXT}", head).published == "2022-01-27"
    assert about(f"<h1>Water</h1><p>27.01.2022</p>{TEXT}", head).published == "2021-12-20"
    assert about(f"<h1>Water</h1>{shown}{TEXT}<span class=date>1.2.2022</span>", head).published == "2021-12-20"
    told = script({"@type": "Article", "datePublished": "2021-12-20"})
    assert about(f"<h1>Water</h1>{shown}{TEXT}", told).published == "2021-12-20"


def test_the_day_of_an_address_before_that_of_a_move() -> None:
    thing = {"@type": "Article", "datePublished": "2019-06-17", "author": "Ann Lee"}
    head = script(thing) + '<link rel=canonical href="https://e.org/2017/07/12/water">'
    assert about(f"<h1>Water</h1>{TEXT}", head).published == "2017-07-12"
    later = head.replace("2017", "2021")
    assert about(f"<h1>Water</h1>{TEXT}", later).published == "2019-06-17"


def test_a_day_in_the_text_before_the_month_of_an_address() -> None:
    head = '<link rel=canonical href="https://e.org/2008/05/water.html">'
    assert about(f"<h1>Water</h1>{TEXT}<p>Posted 26 May 2008</p>", head).published == "2008-05-26"


def test_the_claim_that_names_both_authors() -> None:
    told = script({"@type": "Article", "author": {"@type": "Person", "name": "Ann Lee"}})
    assert about(TEXT, f'{told}<meta name=author content="Ann Lee, Bo Ek">').authors == ("Ann Lee", "Bo Ek")
    assert about(TEXT, f'{told}<meta name=author content="Bo Ek, Cy Ott">').authors == ("Ann Lee",)


@pytest.mark.parametrize(
    ("description", "name"), [("Ann Lee is a writer", "Ann Lee"), ("Ann is a writer", "Ann"), ("A writer", "Ann")]
)
def test_a_first_name_with_the_whole_name_of_its_description(description: str, name: str) -> None:
    author = {"@type": "Person", "name": "Ann", "description": description}
    assert about(TEXT, script({"@type": "Article", "author": author})).authors == (name,)


@pytest.mark.parametrize(
    "body",
    [
        "<h1>Water</h1><figure><figcaption><span class=author>Bo Ek</span></figcaption></figure>",
        "<h1>Water</h1><div class=license><span class=author>Bo Ek</span></div>",
        "<h1>Water</h1><p>by</p><p>cooking it slowly</p>",
    ],
)
def test_pictures_licences_and_sentences_name_no_author(body: str) -> None:
    assert about(f"{body}{TEXT}").authors == ()


def test_a_title_that_begins_as_a_byline_does() -> None:
    assert find_byline(["By Words and Laws", "12 May", "By Ann Lee"], "A talk - By Words and Laws") == ["Ann Lee"]


def test_a_page_that_marks_its_site_as_its_author() -> None:
    head = '<meta property="og:site_name" content="The Daily Lake">'
    assert about(f"<h1>Water</h1><p class=author>The Daily Lake</p><p>By Water</p>{TEXT}", head).authors == (
        "The Daily Lake",
    )


def test_when_it_was_changed_which_site_it_is_of_and_its_licence() -> None:
    thing = {
        "@type": "Article", "datePublished": "2021-02-03", "dateModified": "2022-04-05",
        "publisher": {"@type": "Organization", "name": "Lake &amp; Co"}, "license": "https://e.org/licence",
    }  # fmt: skip
    found = about(TEXT, script(thing))
    assert (found.modified, found.site, found.licence) == ("2022-04-05", "Lake & Co", "https://e.org/licence")
    found = about(
        f'{TEXT}<a rel="license" href="https://e.org/by">CC BY</a>',
        '<meta name=date content="2020-01-01"><meta property="og:site_name" content="The Lake">'
        '<meta property="article:modified_time" content="2023-01-02">',
    )
    assert (found.modified, found.site, found.licence) == ("2023-01-02", "The Lake", "https://e.org/by")
    same = script({"@type": "Article", "datePublished": "2021-02-03", "dateModified": "2021-02-03"})
    assert about(TEXT, same).modified == ""
