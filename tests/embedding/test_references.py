"""The reference vectors that come with kbjobs: right, of published models, and only used where they fit."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kbjobs.embedding.identity import weights_hash
from kbjobs.embedding.model_catalogue import KNOWN_MODELS, find_model
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.parity import PARITY_SET, PARITY_TEXTS, compare
from kbjobs.embedding.references import FOLDER, find_reference
from kbjobs.embedding.sentence_transformers_engine import SentenceTransformersEmbedder
from tests.conftest import ROOT

from .conftest import MINILM


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return find_model(MINILM, tmp_path)


@pytest.fixture
def weights(folder: ModelFolder, tmp_path: Path) -> str:
    return weights_hash(folder, tmp_path)


@pytest.mark.full
@pytest.mark.torch
def test_they_are_those_of_sentence_transformers(folder: ModelFolder, weights: str) -> None:
    reference = find_reference(folder, weights)
    assert reference is not None
    embedder = SentenceTransformersEmbedder(folder, "", device="cpu")
    assert compare(embedder.embed(PARITY_TEXTS), reference).minimum >= 0.999999


def test_each_row_of_the_index_is_a_published_model_and_has_its_vectors() -> None:
    index = json.loads((FOLDER / "index.json").read_text())
    published = {model.weights_sha256: model for model in KNOWN_MODELS if model.weights_sha256}
    for weights, row in index.items():
        model = published[weights]
        assert (row["model"], row["window"], row["parity_set"]) == (model.name, model.max_tokens, PARITY_SET)
        vectors = np.load(FOLDER / f"{weights[:12]}.npy")
        assert vectors.shape == (len(PARITY_TEXTS), model.dimension)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert {file.stem for file in FOLDER.glob("*.npy")} == {weights[:12] for weights in index}


def test_another_model_or_another_reading_has_none(folder: ModelFolder, weights: str, tmp_path: Path) -> None:
    assert find_reference(folder, "0" * 64) is None
    other = tmp_path / "tokenizer.json"
    other.write_bytes(folder.tokenizer_file.read_bytes() + b" ")
    for changes in ({"max_tokens": 128}, {"pooling": "cls"}, {"passage_prompt": "a: "}, {"tokenizer_file": other}):
        assert find_reference(replace(folder, **changes), weights) is None


@pytest.mark.parametrize("name", ["references", "int8_texts"])
def test_data_files_are_installed(name: str) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folder = FOLDER.parent / name
    files = {file for pattern in declared["kbjobs.embedding"] for file in folder.parent.glob(pattern)}
    assert set(folder.iterdir()) and set(folder.iterdir()) <= files
