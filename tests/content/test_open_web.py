"""Real pages of the open web, whole, cut and damaged: an answer each, in time, with no text of scripts."""

from __future__ import annotations

import random
import re
import tarfile
import time
from pathlib import Path

import pytest

from kbjobs.content.encoding import NotText, decode_page
from kbjobs.content.html import extract_html
from kbjobs.content.nesting import TooDeeplyNested
from tests.conftest import ROOT, real_input

CUTS = 20
SECONDS = 3.0  # of processor time, for one page; the slowest takes a third of that
# What only scripts and styles say. A page may show code as text, so these are of no language that one writes by hand.
SCRIPT = re.compile(r"window\.dataLayer ?=|googletag\.cmd|\(function\(w, ?d, ?s, ?l, ?i\)|!important;\}")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The pages of both sets, in order."""
    archive = real_input(ROOT.parent / "shared" / "data" / "web-pages.tar.xz", "the set of pages of the open web")
    folder = tmp_path_factory.mktemp("web-pages")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return sorted(folder.rglob("source.html")) + sorted(folder.glob("web-pages/segments/*.html"))


def read(page: bytes) -> str:
    begun = time.process_time()
    try:
        text = "\n".join(block.text for block in extract_html(decode_page(page).encode("utf-8", "replace")).blocks)
    except (NotText, TooDeeplyNested):
        text = ""
    assert time.process_time() - begun < SECONDS
    return text


def some(pages: list[Path], everyday: int, is_full: bool) -> list[Path]:
    return pages if is_full else pages[:: len(pages) // everyday]


@pytest.mark.parametrize("is_full", [False, pytest.param(True, marks=pytest.mark.full)])
def test_no_page_is_empty(pages: list[Path], is_full: bool) -> None:
    assert [page.name for page in some(pages, 60, is_full) if not read(page.read_bytes()).strip()] == []


@pytest.mark.parametrize("is_full", [False, pytest.param(True, marks=pytest.mark.full)])
def test_a_page_cut_at_random_places(pages: list[Path], is_full: bool) -> None:
    draw = random.Random(27)
    for path in some(pages, 15, is_full):
        page = path.read_bytes()
        for _ in range(CUTS if is_full else 3):
            text = read(page[: draw.randrange(len(page))])
            assert not SCRIPT.search(text), path


@pytest.mark.parametrize("is_full", [False, pytest.param(True, marks=pytest.mark.full)])
def test_a_page_of_which_one_byte_in_a_hundred_is_another(pages: list[Path], is_full: bool) -> None:
    draw = random.Random(28)
    for path in some(pages, 15, is_full):
        page = bytearray(path.read_bytes())
        for at in draw.sample(range(len(page)), len(page) // 100):
            page[at] = draw.randrange(32, 127)
        read(bytes(page))
