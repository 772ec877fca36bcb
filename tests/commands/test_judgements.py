"""``kbjobs search --judge``: queries whose right documents are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.conftest import Kbjobs, read_json

ANIMALS = {
    "cat": "The cat sleeps on the warm roof.",
    "cow": "The cow eats grass.",
    "owl": "The owl hunts mice by night.",
}


@pytest.fixture
def animals(minilm: None, tmp_path: Path, kbjobs: Kbjobs) -> str:
    (tmp_path / "pages").mkdir()
    for name, text in ANIMALS.items():
        (tmp_path / "pages" / f"{name}.html").write_text(f"<html lang=en><title>{name}</title><p>{text}</p></html>")
    kbjobs("sources", "add", "animals", tmp_path / "pages", "--base-url", "https://example.org/animals/")
    kbjobs("run", "index-offline", "animals", "--quiet")
    return "animals"


def write(file: Path, *queries: object) -> Path:
    file.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in queries) + "\n")
    return file


def test_scores_are_those_of_the_ranks(animals: str, kbjobs: Kbjobs, tmp_path: Path) -> None:
    asked = write(
        tmp_path / "queries.jsonl",
        {"query": "cat on a roof", "right": ["cat.html"]},
        {"query": "cow eating grass", "right": {"https://example.org/animals/cow.html": 3, "nowhere.html": 1}},
        {"query": "hunting at night", "right": ["elsewhere.html"]},
    )
    found = read_json(kbjobs("search", animals, "--judge", asked, "-k", "2", "--json"))
    first, second, third = found["queries"]
    assert (first["ndcg"], first["recall"], first["missed"]) == (1.0, 1.0, [])
    assert math.isclose(second["ndcg"], 3 / (3 + 1 / math.log2(3)), rel_tol=1e-9)
    assert (second["recall"], second["missed"]) == (0.5, ["nowhere.html"])
    assert (third["ndcg"], third["recall"]) == (0.0, 0.0)
    assert math.isclose(found["ndcg"], (1 + second["ndcg"]) / 3, rel_tol=1e-9)
    lines = kbjobs("search", animals, "--judge", asked).stdout.splitlines()
    assert lines[0].startswith("0.000\t0.00\thunting at night\telsewhere.html") and "mean of 3" in lines[-1]


@pytest.mark.parametrize(
    "line",
    ["no JSON", "[]", '{"query": "x"}', '{"query": "", "right": ["a"]}', '{"query": "x", "right": []}',
     '{"query": "x", "right": {"a": 0}}', '{"query": "x", "right": {"a": true}}', '{"query": "x", "right": [1]}',
     "[" * 100_000],
)  # fmt: skip
def test_a_line_that_is_not_a_query_is_named(line: str, kbjobs: Kbjobs, tmp_path: Path) -> None:
    asked = write(tmp_path / "queries.jsonl", {"query": "x", "right": ["a"]}, "", line)
    assert f"{asked}:3: not a query" in kbjobs("search", "--judge", asked, check=2).stderr


def test_a_file_that_cannot_be_read(kbjobs: Kbjobs, tmp_path: Path) -> None:
    assert "there is no file" in kbjobs("search", "--judge", tmp_path / "none", check=4).stderr
    assert "has no queries" in kbjobs("search", "--judge", write(tmp_path / "empty"), check=2).stderr
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    assert "cannot be read" in kbjobs("search", "--judge", tmp_path / "latin", check=2).stderr
    assert "exclude each other" in kbjobs("search", "x", "words", "--judge", tmp_path / "latin", check=2).stderr
