"""The text to translate: given, in a file, on stdin."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from kbjobs.errors import NotFoundError, UsageError
from kbjobs.translation.text_input import PIECE, open_text


def read(given: str) -> str:
    with open_text(given) as pieces:
        return "".join(pieces)


def test_a_text_is_itself() -> None:
    for text in ("Boil the water.", "a\nb", "x" * 10_000, "e.g. this", "a/b", "nul \0 inside"):
        assert read(text) == text


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a file.txt"
    content = "año 水\r\n" * PIECE  # characters lie across the borders of pieces
    file.write_bytes(content.encode())
    assert read(str(file)) == content


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("año".encode())))
    assert read("-") == "año"


def test_a_pipe_with_a_name(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("hello"))
    writer.start()
    assert read(str(pipe)) == "hello"
    writer.join()


@pytest.mark.parametrize("name", ["missing.txt", "guide.md", "a/b.html"])
def test_a_file_that_is_not_there(name: str) -> None:
    with pytest.raises(NotFoundError, match=f"there is no file {name}"):
        read(name)


@pytest.mark.parametrize("given", ["", "  ", "\n"])
def test_nothing(given: str) -> None:
    with pytest.raises(UsageError, match="nothing to translate"):
        read(given)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "place"),
    [(b"abc\xe9def", 3), (b"x" * PIECE + b"\xff", PIECE), (b"a\xc3", 1), (b"a" * 99 + b"\xed\xa0", 99)],
)
def test_what_is_not_utf8_is_told_before_anything_is_given(tmp_path: Path, content: bytes, place: int) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes(content)
    with (
        pytest.raises(UsageError, match=rf"is not UTF-8: the byte 0x\w\w at {place:,} ") as caught,
        open_text(str(file)),
    ):
        pytest.fail("it was opened")
    assert "iconv" in caught.value.hint
