"""The text of a page is found where names, tags or styles say that it is none; and what it never is stays out."""

from __future__ import annotations

import pytest

from kbjobs.content.html import extract_html

TEXT = "The river floods in spring and the road is closed for weeks. " * 8
MENU = "<ul><li><a href=a>Home</a><li><a href=b>About us</a></ul>"


def lines(page: str) -> list[str]:
    return [block.text for block in extract_html(page.encode()).blocks]


@pytest.mark.parametrize(
    "page",
    [
        f"<div class=content>{MENU}</div><div class=text><p>{TEXT}</p></div>",
        f"<div class=content>{MENU}</div><div class=sidebar><p>{TEXT}</p></div>",
        f"<div>Home</div><div class=sidebar><div><p>{TEXT}</p></div></div>",
        f"<nav>{MENU}<div><main><p>{TEXT}</p></main></div></nav>",
        f"<nav><p>{TEXT}</p></nav>",
        f"<aside><p>{TEXT}</p></aside>",
        f"<header><p>{TEXT}</p></header><p>Start</p>",
        f"<footer><p>{TEXT}</p></footer><p>Contact</p>",
        f"<form action=x><div class=content><p>{TEXT}</p></div></form>",
        f"<form action=x><p>{TEXT}</p></form><form action=y><p>{TEXT}</p></form><p>Start</p>",
        f"<dialog open><p>{TEXT}</p></dialog>",
        f"<div id=app>Loading</div><noscript><p>{TEXT}</p></noscript>",
        f"<div hidden><p>{TEXT}</p></div><div>Loading</div>",
        f"<div style='display: none'><p>{TEXT}</p></div><p>Please wait</p>",
        f"<div aria-hidden=true><p>{TEXT}</p></div><div role=dialog>Accept all</div>",
        f"<div role=banner><p>{TEXT}</p></div>",
        f"<div class=cookie-notice><p>We use cookies</p><div><p>{TEXT}</p></div></div>",
        f"<div class=cookie-banner><p>We use cookies</p></div><div class=menu><main><p>{TEXT}</p></main></div>",
        f"<main></main><div><p>{TEXT}</p></div>",
        f"<div><p>{TEXT}</p></div><article><p>A first comment</p></article>",
        f"<table><tr><td class=menu>{MENU}<td><p>{TEXT}</p></table>",
    ],
)
def test_the_text_is_found_wherever_it_stands(page: str) -> None:
    assert TEXT.strip() in " ".join(lines(page))


def test_a_list_of_teasers_is_content() -> None:
    teasers = "".join(
        f"<article><h2><a href=s{n}>Story {n}</a></h2><p>What story {n} tells.</p></article>" for n in "123"
    )
    found = [line for n in "123" for line in (f"Story {n}", f"What story {n} tells.")]
    assert lines(f"<nav>{MENU}</nav><main>{teasers}</main>") == found
    assert lines(f"<nav>{MENU}</nav><div>{teasers}</div>") == found
    assert lines(f"<nav>{MENU}</nav><div>{teasers}</div><div>else</div>") == found


@pytest.mark.parametrize(
    "furniture",
    [
        f"<nav>{MENU * 50}</nav>",
        f"<div class=sidebar>{MENU * 50}</div>",
        "<noscript>Please switch scripts on to read this page.</noscript>",
        "<div class=cookie-notice><p>We use cookies. You may accept or refuse them.</p></div>",
        "<footer>© 2020 The Company. All rights reserved.</footer>",
        f"<script>{TEXT}</script>",
        f"<template>{TEXT}</template>",
    ],
)
def test_a_short_page_is_no_reason_to_doubt_what_it_says(furniture: str) -> None:
    assert lines(f"<body>{furniture}<p>A short page.</p>{furniture}") == ["A short page."]


def test_much_text_is_kept_without_its_hidden_parts() -> None:
    assert lines(f"<div hidden><p>{TEXT}</p></div><p>{TEXT * 2}</p>") == [(TEXT * 2).strip()]


@pytest.mark.parametrize(
    "note",
    ["<aside role=doc-footnote>", "<aside role=note>", "<aside class='footnote brackets'>", "<aside class=topic>"],
)
def test_an_aside_that_is_a_note_is_content(note: str) -> None:
    assert lines(f"<p>{TEXT}</p>{note}a note</aside><aside>aside</aside>") == [TEXT.strip(), "a note"]


def test_the_navigation_of_docbook_is_none() -> None:
    menu = "<tr><td><a href=x>Prev</a><td>Chapter 1"
    page = (
        f"<div class=navheader><table>{menu}</table></div><p>{TEXT}</p><div class=navfooter><table>{menu}</table></div>"
    )
    assert lines(page) == [TEXT.strip()]


LINKS = "".join(f"<li><a href=p{number}>Page number {number}</a>" for number in range(9))


def test_a_list_of_links_is_a_menu_where_no_part_is_said_to_be_the_content() -> None:
    text = f"<p>{TEXT * 2}</p>"
    assert lines(f"<div><ul>{LINKS}</ul></div><div>{text}</div><table><tr><td><ul>{LINKS}</ul></table>") == [
        (TEXT * 2).strip()
    ]
    assert len(lines(f"<main>{text}<ul>{LINKS}</ul></main>")) == 10
    assert len(lines(f"{text}<h2>See also</h2>\n<ul>{LINKS}</ul>")) == 11
    assert len(lines(f"<p>All pages:</p><ul>{LINKS}</ul>")) == 10
    assert len(lines(f"{text}<p>{'<a href=x>a link</a> and some words, ' * 9}</p>")) == 2
