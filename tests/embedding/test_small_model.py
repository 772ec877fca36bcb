"""The small models that tests are made with: the same on every run, and read alike by all that can run them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.graph import bucket_distances
from kbjobs.embedding.parity import PARITY_TEXTS, compare

from .plain_transformer import encode, row_of_distance, run_plain, run_torch
from .small_model import list_tensors, make_small_model, write_transformer

PADDING = {"bert": 0, "mpnet": 1}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.model
def test_it_is_the_same_on_every_run(tmp_path: Path) -> None:
    first, second = (contents(make_small_model(tmp_path / name, with_onnx=True)) for name in ("first", "second"))
    assert first == second
    assert set(first) == {
        "1_Pooling/config.json",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "onnx/model.onnx",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_its_texts_differ(small_model: Path) -> None:
    vectors = encode(small_model, PARITY_TEXTS)
    assert (vectors @ vectors.T)[~np.eye(len(vectors), dtype=bool)].mean() < 0.9


def test_openvino_and_onnxruntime_agree(small_model: Path, engines: Path, tmp_path: Path) -> None:
    """One runs the graph that is built of the weights, the other the model's own ONNX file."""
    expected = encode(small_model, PARITY_TEXTS)
    found = {}
    for engine in ("openvino", "onnxruntime"):
        embedder = load_embedder(str(small_model), tmp_path, engines, engine)
        assert embedder.engine.startswith(engine)
        found[engine] = embedder.embed(PARITY_TEXTS)
        embedder.close()
        assert compare(found[engine], expected).minimum > 0.999
    assert compare(found["openvino"], found["onnxruntime"]).minimum > 0.999


def test_distances_have_the_rows_of_the_steps_written_down() -> None:
    distances = np.arange(-5000, 5001)
    assert (row_of_distance(distances) == bucket_distances(distances)).all()


@pytest.mark.full
@pytest.mark.torch
@pytest.mark.parametrize("family", ["bert", "mpnet"])
@pytest.mark.parametrize("act", ["gelu", "relu", "gelu_new"])
def test_transformers_gives_the_same(family: str, act: str, tmp_path: Path) -> None:
    """Token by token, padded and not."""
    from transformers import AutoModel

    write_transformer(tmp_path, family, hidden_act=act, vocab_size=200)
    model = AutoModel.from_pretrained(tmp_path)
    assert type(model).__name__ == {"bert": "BertModel", "mpnet": "MPNetModel"}[family]
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes == dict(list_tensors(model.config.to_dict()))
    ids = np.random.default_rng(3).integers(2, 200, (3, 48))
    mask = np.ones_like(ids)
    ids[2, 30:], mask[2, 30:] = PADDING[family], 0
    found, expected = (run(tmp_path, ids, mask)[mask == 1] for run in (run_plain, run_torch))
    assert np.allclose(found, expected, atol=1e-3)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1) / lengths).min() > 0.999999


@pytest.mark.full
@pytest.mark.torch
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_sentence_transformers_gives_the_same(pooling: str, tmp_path: Path) -> None:
    """Its prompts too."""
    from sentence_transformers import SentenceTransformer

    folder = make_small_model(tmp_path / "small", pooling=pooling, query="find: ", document="text: ")
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    texts = list(PARITY_TEXTS)
    documents = model.encode_document(texts, normalize_embeddings=True)
    assert compare(encode(folder, texts, "text: "), documents).minimum > 0.99999
    queries = model.encode_query(texts, normalize_embeddings=True)
    assert compare(encode(folder, texts, "find: "), queries).minimum > 0.99999
    assert compare(documents, queries).minimum < 0.999


@pytest.mark.full
@pytest.mark.torch
def test_the_engine_sentence_transformers_runs_it(small_model: Path, engines: Path, tmp_path: Path) -> None:
    embedder = load_embedder(str(small_model), tmp_path, engines, "sentence-transformers")
    assert compare(embedder.embed(PARITY_TEXTS), encode(small_model, PARITY_TEXTS)).minimum > 0.99999
