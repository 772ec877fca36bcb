"""Weights files: whole, torn, hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.embedding.safetensors_file import DamagedWeightsError, WeightsFile, read_header

from .small_model import save_tensors

# Each fits into half the width.
NUMBERS = [1.0, -2.5, 0.0, 65280.0, 3.140625, -0.0078125]


def write(file: Path, header: Any, content: bytes, length: int | None = None) -> Path:
    """Write a file; ``length`` is what it says of its header, where that is to be wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + content)
    return file


def entry(start: Any, end: Any, shape: Any = (3,), kind: Any = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("padding", ["", " ", "  ", "   "])
def test_what_the_library_writes_is_read(kind: str, padding: str, tmp_path: Path) -> None:
    """Wherever the numbers lie: behind a header of any length."""
    numbers = np.array(NUMBERS, dtype=np.float32).reshape(2, 3)
    save_tensors({"a": numbers, "b": numbers[0]}, tmp_path / "whole", kind)
    whole = (tmp_path / "whole").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    file = write(tmp_path / "x", whole[8 : 8 + length] + padding.encode(), whole[8 + length :])
    weights = WeightsFile(file, read_header(file))
    assert weights.read("a").dtype == np.float32
    assert weights.read("a").tolist() == numbers.tolist()
    assert weights.read("b").tolist() == numbers[0].tolist()


def test_numbers_of_another_type_are_known_but_not_read(tmp_path: Path) -> None:
    file = write(tmp_path / "x", {"a": entry(0, 24, [3], "I64"), "b": entry(24, 36)}, bytes(36))
    weights = WeightsFile(file, read_header(file))
    assert weights.read("b").tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(KeyError, match="I64"):
        weights.read("a")


@pytest.mark.parametrize(
    ("header", "content", "length"),
    [
        ({"a": entry(0, 12)}, 11, None),
        ({"a": entry(0, 12)}, 13, None),
        ({"a": entry(0, 12)}, 12, 10**18),
        ({"a": entry(0, 12)}, 12, 5),
        ({"a": entry(0, 12), "b": entry(0, 12)}, 12, None),
        ({"a": entry(0, 12), "b": entry(16, 28)}, 28, None),
        ({"a": entry(4, 16)}, 16, None),
        ({"a": entry(12, 0), "b": entry(0, 12)}, 12, None),
        ({"a": entry(-12, 0)}, 12, None),
        ({"a": entry(0, 12, [3, 10**9])}, 12, None),
        ({"a": entry(0, 12, [-3])}, 12, None),
        ({"a": entry(0, 12, [True, 3])}, 12, None),
        ({"a": entry(0, 12, ["3"])}, 12, None),
        ({"a": entry(0.0, 12.0)}, 12, None),
        ({"a": entry(0, 12, 3)}, 12, None),
        ({"a": [0, 12]}, 12, None),
        ({"a": None}, 12, None),
        ([entry(0, 12)], 12, None),
        ({}, 0, None),
        ({"__metadata__": {"format": "pt"}}, 0, None),
        (b"{", 12, None),
        (b"\xff\xfe", 12, None),
        (b"[" * 100_000, 12, None),
        (b'{"a": ' + b"9" * 100_000 + b"}", 12, None),
    ],
)
def test_a_damaged_file_is_refused(header: Any, content: int, length: int | None, tmp_path: Path) -> None:
    with pytest.raises(DamagedWeightsError):
        read_header(write(tmp_path / "x", header, bytes(content), length))


@pytest.mark.parametrize("content", [b"", b"\x01", b"\x00" * 8, b"\xff" * 8])
def test_a_file_without_a_header_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DamagedWeightsError):
        read_header(tmp_path / "x")
