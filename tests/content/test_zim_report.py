"""What a report says of a ZIM file, and what it recommends."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from kbjobs.content.zim import ZimError
from kbjobs.content.zim_report import DAMAGED_SHOWN, SAMPLES, inspect_zim
from tests.conftest import real_input
from tests.content.zims import ZIMS, build_zim, find_dirents, page

ENGLISH = "The kettle is on the stove and the water boils while we wait for the guests who come from the village. "
FRENCH = "La bouilloire est sur le feu et l'eau chauffe pendant que nous attendons les invités du village voisin. "


def html(number: int, text: str) -> tuple[str, str, str, str]:
    return f"p{number:04}", f"Title {number}", "text/html", f"<title>Title {number}</title><p>{number} {text}</p>"


@pytest.mark.slow
def test_wikibooks() -> None:
    path = real_input(ZIMS, "the openZIM testing suite") / "wikibooks_be_all_nopic_2017-02.zim"
    report = inspect_zim(path)
    assert (report.content_type, report.articles, report.indexable, report.skipped) == ("website", 66, 66, 0)
    assert (report.items, report.redirects, report.entries, report.total) == (104, 5, 109, 109)
    assert not report.is_sampled
    assert report.checksum == "good"
    assert report.languages["be"] > 40
    assert set(report.languages) <= {"be", "", "uk", "ru"}
    assert len(report.samples) == SAMPLES
    assert all(sample.title and sample.snippet and sample.path.endswith(".html") for sample in report.samples)
    assert {kind.mimetype: kind.count for kind in report.types}["image/png"] == 32
    assert sum(bucket.count for bucket in report.lengths) == 66
    assert report.recommended.command == f"kbjobs run zim-index {path}"
    assert json.loads(json.dumps(report.as_dict()))["header"]["language"] == "be"
    assert inspect_zim(path) == report


@pytest.mark.slow
def test_the_public_suite() -> None:
    for path in sorted(real_input(ZIMS, "the openZIM testing suite").glob("invalid.*.zim")):
        try:
            report = inspect_zim(path)
        except ZimError:
            continue
        assert report.checksum == "bad"
        assert report.damaged_count == len(report.damaged)
        if "first_clusterptr" in path.name:
            assert report.damaged_count == 10
            assert report.damaged[0].path == "main.html"


def test_texts_and_minimum(tmp_path: Path) -> None:
    pages = [html(number, ENGLISH * 3) for number in range(8)]
    pages += [html(8, "short"), ("empty", "", "text/html", ""), ("plain", "", "text/plain", ENGLISH * 2)]
    path = build_zim(tmp_path / "it's here.zim", pages, [("r", "p0001")], Language="eng")
    report = inspect_zim(path, min_text_length=150)
    assert (report.articles, report.indexable, report.skipped) == (11, 9, 2)
    assert {(bucket.low, bucket.count) for bucket in report.lengths if bucket.count} == {
        (0, 1), (1, 1), (200, 9)
    }  # fmt: skip
    assert report.languages == {"en": 9}
    assert report.recommended.min_text_length == 150
    assert shlex.split(report.recommended.command) == [
        "kbjobs", "run", "zim-index", str(path), "--min-text-length", "150"
    ]  # fmt: skip
    assert report.recommended.language_filter is None


def test_a_lower_minimum_for_short_texts(tmp_path: Path) -> None:
    path = build_zim(
        tmp_path / "short.zim", [html(number, "some sixty characters of text " * 2) for number in range(20)]
    )
    report = inspect_zim(path)
    assert (report.indexable, report.skipped, report.recommended.min_text_length) == (0, 20, 50)
    assert report.content_type == "mixed"
    assert "none of its 20 pages has 100 characters" in report.reason
    assert inspect_zim(path, min_text_length=0).recommended.min_text_length == 0


def test_language_filter(tmp_path: Path) -> None:
    pages = [html(number, ENGLISH * 3 if number % 4 else FRENCH * 3) for number in range(40)]
    report = inspect_zim(build_zim(tmp_path / "two.zim", pages, Language="eng"))
    assert report.languages == {"en": 30, "fr": 10}
    assert report.recommended.language_filter == "en"
    assert report.recommended.command.endswith("two.zim --language-filter en")
    # without a claim, three quarters are too few to call the rest foreign
    assert inspect_zim(build_zim(tmp_path / "no.zim", pages)).recommended.language_filter is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([("v.webm", "", "video/webm", "v" * 9_000), html(1, ENGLISH * 2)], "video"),
        ([("d.pdf", "", "application/pdf", "d" * 9_000), html(1, ENGLISH * 2)], "pdf"),
        ([("v.mp4", "", "video/mp4", "v" * 90_000), *[html(number, ENGLISH * 2) for number in range(9)]], "mixed"),
        ([(f"{number}.png", "", "image/png", "i" * 900) for number in range(30)], "images"),
        ([("i.png", "", "image/png", "i" * 90_000), *[html(number, ENGLISH * 2) for number in range(9)]], "website"),
        ([("a.css", "", "text/css", "a{}")], "mixed"),
        ([], "empty"),
    ],
)
def test_content_types(tmp_path: Path, content: list[tuple[str, str, str, str]], expected: str) -> None:
    report = inspect_zim(build_zim(tmp_path / "x.zim", content))
    assert report.content_type == expected
    assert report.reason


def test_a_sample_stands_for_the_whole(tmp_path: Path) -> None:
    path = build_zim(tmp_path / "many.zim", [page(number) for number in range(1_000)])
    report = inspect_zim(path, scan_limit=100)
    assert report.is_sampled
    assert 90 <= report.entries <= 100
    assert report.total == 1_000
    assert report.header.counter == {"text/html": 1_000}
    numbers = sorted(int(sample.path.removeprefix("page")) for sample in report.samples)
    assert numbers[-1] - numbers[0] > 200


def test_damaged_entries_are_listed(tmp_path: Path) -> None:
    path = build_zim(tmp_path / "x.zim", [page(number) for number in range(50)])
    zim = bytearray(path.read_bytes())
    for name, at in find_dirents(zim).items():
        if name != "page3":
            zim[at : at + 2] = (999).to_bytes(2, "little")
    path.write_bytes(zim)
    report = inspect_zim(path, check=False)
    assert (report.articles, report.damaged_count, len(report.damaged)) == (1, 49, DAMAGED_SHOWN)
    assert "mime type" in report.damaged[0].reason
    assert report.checksum == "not checked"


def test_pages_that_are_none(tmp_path: Path) -> None:
    pages = [("deep", "", "text/html", "<div>" * 200_000), ("binary", "", "text/html", "\0\1\2" * 100)]
    report = inspect_zim(build_zim(tmp_path / "x.zim", pages))
    assert (report.articles, report.indexable, report.damaged_count) == (2, 0, 0)
