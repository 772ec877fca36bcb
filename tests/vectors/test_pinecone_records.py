"""Records of Pinecone: ids that say what they hold, metadata that fit, requests whose size is known beforehand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.store.ledger_rows import PushedPassage
from kbjobs.vectors.pinecone_diff import WantedRecords, compare_records
from kbjobs.vectors.pinecone_records import (
    MAX_METADATA,
    Packing,
    name_record,
    passage_of,
    write_metadata,
    write_record,
    write_units,
)
from kbjobs.vectors.pinecone_throttle import SECOND, WriteThrottle

PASSAGE = PushedPassage("a" * 32, "doc", "a/b.html", "en-gb", "Tea", "https://x.example/b", "Tea\nBoil it.", b"")


def vector(seed: int = 1, dimension: int = 1536) -> bytes:
    rows = np.random.default_rng(seed).standard_normal(dimension).astype("<f4")
    return (rows / np.linalg.norm(rows)).astype("<f4").tobytes()


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    title=st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    numbers=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
)
def test_the_size_of_a_record_is_that_of_its_json(text: str, title: str, numbers: list[float]) -> None:
    values = np.array(numbers, "<f4")
    record = write_record("name", "wiki", replace(PASSAGE, text=text, title=title, vector=values.tobytes()))
    written = orjson.dumps(record.as_dict())
    assert len(written) + len(",") == record.json_bytes
    read = json.loads(written)
    assert np.array(read["values"], "<f4").tobytes() == values.tobytes()  # every bit
    assert read["metadata"]["text"] == text


def test_an_id_says_what_the_record_holds() -> None:
    described = ("wiki", "Tea", "a/b.html", "en")
    name = name_record("0123456789abcdef" * 2, "a" * 32, described, vector())
    assert name.startswith("0123456789abcdef#" + "a" * 32 + "#") and len(name) == 66 and name.isascii()
    assert passage_of(name) == "a" * 32
    others = [
        name_record("0123456789abcdef", "a" * 32, changed, numbers)
        for changed, numbers in (
            (("wiki2", *described[1:]), vector()),
            (("wiki", "Te", "aa/b.html", "en"), vector()),  # where one part ends matters
            ((*described[:3], "fr"), vector()),
            (described, vector(2)),
        )
    ]
    assert len({name, *others}) == 5
    assert name_record("0123456789abcdef", "a" * 32, described, vector()) == name
    assert passage_of("somebody's") == ""


@pytest.mark.parametrize("words", ["wort ", "wörter ", '"\\\n', "漢字、"])
def test_long_metadata_lose_the_last_words(words: str) -> None:
    passage = replace(PASSAGE, text=words * (60_000 // len(words)))
    metadata, size, is_cut = write_metadata("wiki", passage)
    assert is_cut and size == len(orjson.dumps(metadata)) <= MAX_METADATA
    assert passage.text.startswith(metadata["text"])
    if " " in words:
        assert passage.text[len(metadata["text"])].isspace() and size > MAX_METADATA - 20
    assert metadata["title"] == "Tea" and metadata["languages"] == ["en-gb", "en"]


def test_what_fits_is_not_cut() -> None:
    metadata, _, is_cut = write_metadata("wiki", replace(PASSAGE, language=None))
    assert not is_cut and metadata["text"] == PASSAGE.text and "languages" not in metadata


def test_even_a_long_address_fits() -> None:
    long = replace(PASSAGE, title="t" * 50_000, path="p" * 50_000, url="u" * 50_000)
    metadata, size, is_cut = write_metadata("wiki", long)
    assert is_cut and size <= MAX_METADATA and metadata["doc_id"] == "doc"


def test_requests_are_full_and_no_more() -> None:
    records = [write_record(f"{n}", "wiki", replace(PASSAGE, vector=vector(n % 7))) for n in range(350)]
    packing = Packing("name space")
    batches = [batch for record in records for batch in packing.add(record)] + list(packing.rest())
    assert [record for batch in batches for record in batch] == records
    sizes = [
        len(orjson.dumps({"vectors": [record.as_dict() for record in batch], "namespace": "name space"}))
        for batch in batches
    ]
    assert all(size <= 2_000_000 for size in sizes) and min(sizes[:-1]) > 2_000_000 - 21_000
    small = Packing("n", max_records=100)
    assert [len(b) for r in records for b in small.add(r)] == [100, 100, 100]


def test_one_that_is_too_large_goes_alone() -> None:
    record = write_record("x", "wiki", replace(PASSAGE, vector=vector()))
    packing = Packing("n", max_bytes=100)
    assert [b for _ in range(2) for b in packing.add(record)] == [[record]] and list(packing.rest()) == [[record]]


@pytest.mark.parametrize(("stored", "units"), [(0, 0), (1, 5), (5000, 5), (5001, 6), (7_140_000, 7140)])
def test_write_units(stored: int, units: int) -> None:
    """The last is a line of the table in Pinecone's page on costs: 1,000 records of 7.14 KB."""
    assert write_units(stored) == units


def names(*pairs: str) -> list[str]:
    return sorted(f"owner#{pair.replace('/', '#')}" for pair in pairs)


@pytest.mark.parametrize(
    ("wanted", "present", "found"),
    [
        (["a/1", "b/1"], [], {"to_push": 2, "to_update": 0, "to_delete": 0, "in_sync": 0}),
        (["a/1", "b/1"], ["a/1", "b/1"], {"to_push": 0, "to_update": 0, "to_delete": 0, "in_sync": 2}),
        (["a/2", "b/1"], ["a/1", "c/1"], {"to_push": 1, "to_update": 1, "to_delete": 1, "in_sync": 0}),
        # Killed between sending the new one and deleting the old one.
        (["a/2"], ["a/1", "a/2"], {"to_push": 0, "to_update": 0, "to_delete": 0, "in_sync": 1}),
    ],
)
def test_compare(wanted: list[str], present: list[str], found: dict[str, Any]) -> None:
    diff = compare_records(WantedRecords(names(*wanted), ""), set(names(*present)))
    assert diff.numbers == found
    assert (set(names(*present)) | set(diff.to_write)) - set(diff.to_remove) == set(names(*wanted))


@given(amounts=st.lists(st.integers(1, 40), max_size=60), steps=st.lists(st.floats(0, 0.5), min_size=60, max_size=60))
def test_no_more_than_the_limit_in_any_second(amounts: list[int], steps: list[float]) -> None:
    now = 0.0
    pace = WriteThrottle(50, lambda: now)
    granted = []
    for amount, step in zip(amounts, steps, strict=False):
        granted.append((now + pace.reserve(amount), amount))
        now += step
    for at, _ in granted:
        assert sum(amount for other, amount in granted if at <= other < at + SECOND - 1e-9) <= 50
    # Nor is it waited for longer than the limit asks.
    if granted:
        assert granted[-1][0] <= now + SECOND * (sum(amounts) // 25 + 1)


def test_more_than_the_limit_goes_out_alone() -> None:
    pace = WriteThrottle(50, lambda: 0.0)
    assert [pace.reserve(amount) for amount in (10, 500, 10)] == [0.0, SECOND, 2 * SECOND]
