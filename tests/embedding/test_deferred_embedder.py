"""A model that is loaded with the first text: it is the same model, and nothing is loaded for nothing."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.embedding import choose
from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.deferred_embedder import DeferredEmbedder, open_embedder
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.errors import NotFoundError, UsageError
from kbjobs.services.sources import register
from kbjobs.vectors import indexed
from kbjobs.vectors.chroma_process import ChromaProcess
from tests.conftest import write_pages
from tests.phases.test_index_offline import index


def test_the_first_text_loads_the_model(tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(load_embedder(str(small_model), tmp_path, tmp_path / "engines")) as loaded:
        vector = loaded.embed(["Boil water."])
        identity = (loaded.name, loaded.model_key, loaded.dimension, loaded.max_tokens, loaded.engine, loaded.pads)
        rules = (loaded.is_free, loaded.tokens_bought, loaded.commit_tokens, loaded.commit_texts, loaded.in_flight)
    load = Mock(wraps=choose.load_folder)
    monkeypatch.setattr(choose, "load_folder", load)
    with closing(open_embedder(str(small_model), tmp_path, tmp_path / "engines")) as opened:
        assert isinstance(opened, DeferredEmbedder)
        assert identity == (
            opened.name, opened.model_key, opened.dimension, opened.max_tokens, opened.engine, opened.pads
        )  # fmt: skip
        assert opened.tokenizer.get_vocab_size() > 0
        assert opened.leaves_time()
        load.assert_not_called()
        assert np.array_equal(opened.embed(["Boil water."]), vector)
        assert rules == (
            opened.is_free, opened.tokens_bought, opened.commit_tokens, opened.commit_texts, opened.in_flight
        )  # fmt: skip
        load.assert_called_once()


def test_a_model_that_was_never_measured_is_loaded_at_once(tmp_path: Path, small_model: Path) -> None:
    with closing(open_embedder(str(small_model), tmp_path, tmp_path / "engines")) as opened:
        assert not isinstance(opened, DeferredEmbedder)


def test_other_weights_are_another_model(tmp_path: Path, small_model: Path) -> None:
    """Nothing of the weights is loaded, but they are looked at."""
    folder = Path(shutil.copytree(small_model, tmp_path / "model"))
    with closing(load_embedder(str(folder), tmp_path, tmp_path / "engines")) as loaded:
        key = loaded.model_key
    weights = find_model(str(folder), tmp_path).weights
    with weights.open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\1\2\3\4")
    with closing(open_embedder(str(folder), tmp_path, tmp_path / "engines")) as opened:
        assert opened.model_key != key


def test_a_model_or_an_engine_that_is_not_there_is_told_at_once(tmp_path: Path, small_model: Path) -> None:
    with pytest.raises(NotFoundError):
        open_embedder("no-such-model", tmp_path, tmp_path / "engines")
    with pytest.raises(UsageError):
        open_embedder(str(small_model), tmp_path, tmp_path / "engines", "no-such-engine")


def test_a_run_that_changes_nothing_loads_no_model_and_starts_no_chroma(
    home: Home, tmp_path: Path, minilm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = write_pages(tmp_path / "pages", 3)
    register(home, "docs", [pages])
    index(home)
    model, chroma = Mock(wraps=choose.load_folder), Mock(wraps=ChromaProcess)
    monkeypatch.setattr(choose, "load_folder", model)
    monkeypatch.setattr(indexed, "ChromaProcess", chroma)
    counts = index(home).counts
    assert (counts["unchanged"], counts["embedded"]) == (3, 0)
    model.assert_not_called()
    chroma.assert_not_called()
    (pages / "page0.html").write_text("<html lang=en><title>New</title><p>Something else altogether.</p></html>")
    assert index(home).counts["embedded"] == 1
    model.assert_called_once()
    chroma.assert_called_once()
