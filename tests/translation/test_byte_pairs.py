"""Words cut into byte pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.translation.byte_pairs import BytePairs

CODES = "#version: 0.2\nt h\nth e</w>\ni n\nin g</w>\nl o\nlo w\nw a\nt e\nte r</w>\n"


def load(folder: Path, codes: str | bytes) -> BytePairs:
    file = folder / "bpe.model"
    file.write_bytes(codes if isinstance(codes, bytes) else codes.encode())
    return BytePairs(file, "en", "es")


def test_the_pairs_of_lowest_rank_are_joined_first(tmp_path: Path) -> None:
    """As subword-nmt 0.3.8 cuts the same words by the same file."""
    cut = load(tmp_path, CODES).encode("the lowing water, thing")
    assert " ".join(cut) == "the low@@ ing wa@@ ter , th@@ ing"


def test_joined_again(tmp_path: Path) -> None:
    pairs = load(tmp_path, CODES)
    assert pairs.decode(pairs.encode("the lowing water, the thing.")) == "the lowing water, the thing."


def test_a_pair_of_likes_is_joined_from_the_left(tmp_path: Path) -> None:
    assert load(tmp_path, "#version: 0.2\na a\n").encode("aaaab") == ["aa@@", "aa@@", "b"]


def test_before_version_0_2_the_end_was_a_piece(tmp_path: Path) -> None:
    assert load(tmp_path, "t h\nth e\nthe </w>\n").encode("the then") == ["the", "the@@", "n"]


def test_a_word_without_end_does_not_take_for_ever(tmp_path: Path) -> None:
    pairs = load(tmp_path, CODES)
    assert len(pairs.encode("x" * 20_000)) == 20_000


@pytest.mark.parametrize("codes", [b"one\n", b"#version: 0.2\na b c\n", b"\n", b"\xff\xfe a\n", b"\x08\x01\x12"])
def test_what_is_no_file_of_pairs(tmp_path: Path, codes: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 — whoever loads a pack says what is wrong with it
        load(tmp_path, codes)
