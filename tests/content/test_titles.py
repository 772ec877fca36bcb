"""What a site repeats in its titles is taken off, and nothing else."""

from __future__ import annotations

import pytest

from kbjobs.content.titles import NO_SITE, SiteTitles, find_repeated, read_title

PAGES = ("Boil water", "Make a fire", "Find north", "Salt meat")


@pytest.mark.parametrize(
    "form",
    ["{} | Survival Guide", "{} - Survival Guide", "{} — Survival Guide", "{} · Survival Guide", "{}|Survival Guide",
     "{} :: Survival Guide", "Survival Guide: {}", "Survival Guide | {}", "Survival Guide – {}",
     "{} | Docs | Survival Guide"],
)  # fmt: skip
def test_the_name_of_the_site(form: str) -> None:
    titles = [form.format(page) for page in PAGES]
    site = find_repeated(titles)
    assert [site.shorten(title) for title in titles] == list(PAGES)


def test_a_part_in_between_is_kept() -> None:
    titles = [f"{page} — Chapter {number} — Guide 1.2" for number, page in enumerate(PAGES)]
    assert find_repeated(titles) == SiteTitles((), (" — Guide 1.2",))


@pytest.mark.parametrize(
    "titles",
    [
        ["Boil water", "Make a fire", "Find north"],
        ["Boil water | Guide", "Make a fire | Guide"],  # two are too few
        ["Boil water | Guide", "Make a fire | Guide", "Salt | Guide", *(f"Page {number}" for number in range(9))],
        ["Home | Guide"] * 9,  # one page, many times
        ["e-mail", "e-bike", "e-book"],
        ["2:30", "2:40", "2:50"],
        ["| Guide"] * 3,
        [],
    ],
)
def test_what_is_no_site(titles: list[str]) -> None:
    site = find_repeated(titles)
    assert [site.shorten(title) for title in titles] == titles


def test_nothing_is_left_empty() -> None:
    site = SiteTitles(("Guide: ",), (" | Guide",))
    assert [site.shorten(title) for title in (" | Guide", "Guide: ", "Guide", "")] == [
        " | Guide",
        "Guide: ",
        "Guide",
        "",
    ]
    assert site.shorten("Guide: Water | Guide") == "Water"


def test_titles_without_reading_the_page() -> None:
    assert read_title(b"<html><head><TITLE class=x>Salt &amp;\n meat</title>") == "Salt & meat"
    assert read_title("<meta charset=windows-1251><title>Вада</title>".encode("cp1251")) == "Вада"
    assert read_title(b"<p>none") == read_title(b"\x89PNG\r\n\0\0") == read_title(b"") == ""
    assert NO_SITE.shorten("a | b") == "a | b"
