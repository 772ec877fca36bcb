"""Dates in the many forms in which pages write them."""

from __future__ import annotations

import datetime

import pytest

from kbjobs.content.dates import date_in_path, read_date


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2024-05-17", "2024-05-17"), ("2024-05-17T12:00:00Z", "2024-05-17"), ("2024-05-17 12:00", "2024-05-17"),
        (" 2024/5/7 ", "2024-05-07"), ("2024.05.17", "2024-05-17"), ("20240517", "2024-05-17"),
        ("20240517T120000", "2024-05-17"), ("D:20240517120000+02'00'", "2024-05-17"), ("2024-05", "2024-05"),
        ("2024", "2024"), ("May 17, 2024", "2024-05-17"), ("17 May 2024", "2024-05-17"),
        ("Sept. 3rd, 2021", "2021-09-03"),
        ("May 2024", "2024-05"), ("Fri, 17 May 2024 12:00:00 +0000", "2024-05-17"), ("1687", "1687"),
        ("", ""), ("yesterday", ""), ("05/06/2024", ""), ("2024-13-01", ""), ("2024-02-30", ""), ("0000-00-00", ""),
        ("0001-01-01", ""), ("9999-12-31", ""), ("17 Foo 2024", ""), ("1715940000", ""), ("12", ""), ("D:", ""),
        ("٢٠٢٤", "2024"), ("2024" * 1000, ""), ("\x00", ""),
    ],
)  # fmt: skip
def test_dates(text: str, date: str) -> None:
    assert read_date(text) == date


def test_next_year_is_the_latest() -> None:
    year = datetime.datetime.now(datetime.UTC).year
    assert read_date(f"{year + 1}-01-01") == f"{year + 1}-01-01"
    assert read_date(f"{year + 2}-01-01") == ""


@pytest.mark.parametrize(
    ("path", "date"),
    [
        ("/2024/05/17/boil-water.html", "2024-05-17"), ("/blog/2024/5/boil-water/", "2024-05"),
        ("/news/2024-05-17-boil-water.html", "2024-05-17"), ("/2024/boil.html", ""), ("/1024/05/17/a", ""),
        ("/1924/05/17/a", ""), ("/v/2024/99/a", ""), ("/a/12024/05/17/b", ""), ("/", ""), ("", ""),
    ],
)  # fmt: skip
def test_dates_in_paths(path: str, date: str) -> None:
    assert date_in_path(path) == date
