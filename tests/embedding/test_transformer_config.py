"""Which models kbjobs builds itself, and the reason why it builds no other."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.transformer_config import NotBuildableError, read_transformer

from .small_model import describe_transformer, save_tensors, write_transformer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transformers")
    for family in ("bert", "mpnet"):
        write_transformer(folder / family, family, vocab_size=100)
    return folder


@pytest.fixture(params=["bert", "mpnet"])
def folder(request: pytest.FixtureRequest, made: Path, tmp_path: Path) -> ModelFolder:
    shutil.copytree(made / request.param, tmp_path / request.param)
    return describe_transformer(tmp_path / request.param)


def change_config(folder: ModelFolder, **changes: Any) -> None:
    file = folder.path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def refused(folder: ModelFolder) -> str:
    with pytest.raises(NotBuildableError) as caught:
        read_transformer(folder)
    return caught.value.message


def test_what_is_read(folder: ModelFolder) -> None:
    config = read_transformer(folder)
    assert config.family == folder.path.name
    assert (config.vocabulary, config.width, config.layers, config.heads, config.inner_width) == (100, 32, 2, 2, 64)
    assert (config.positions, config.activation, config.epsilon, config.prefix) == (64, "gelu", 1e-6, "")
    folder.weights.unlink()
    assert read_transformer(folder, has_weights=False) == config


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "roberta"}, "its architecture is 'roberta', not one of bert, mpnet"),
        ({"model_type": ["bert"]}, "its architecture is ['bert']"),
        ({"model_type": None}, "its architecture is None"),
        ({"hidden_act": "gelu_new"}, "its activation is 'gelu_new', not one of gelu, relu"),
        ({"hidden_act": {}}, "its activation is {}"),
        ({"position_embedding_type": "relative_key"}, "its position_embedding_type is 'relative_key'"),
        ({"is_decoder": True}, "its config.json sets is_decoder"),
        ({"add_cross_attention": True}, "its config.json sets add_cross_attention"),
        ({"quantization_config": {"bits": 8}}, "its config.json sets quantization_config"),
        ({"hidden_size": 0}, "its hidden_size is 0"),
        ({"hidden_size": "32"}, "its hidden_size is '32'"),
        ({"hidden_size": 64}, "its pooling gives 32 dimensions, its transformer 64"),
        ({"num_hidden_layers": True}, "its num_hidden_layers is True"),
        ({"num_attention_heads": 3}, "cannot be divided among 3 heads"),
        ({"vocab_size": None}, "its vocab_size is None"),
        ({"layer_norm_eps": 2.0}, "its layer_norm_eps is 2.0"),
        ({"layer_norm_eps": float("nan")}, "its layer_norm_eps is nan"),
        ({"max_position_embeddings": 40}, "its window of 48 tokens needs more than 40 positions"),
        ({"intermediate_size": 10**15}, "by config.json it is (1000000000000000"),
        ({"vocab_size": 10**15}, "by config.json it is (1000000000000000, 32)"),
        ({"max_position_embeddings": 10**15}, "by config.json it is (1000000000000000, 32)"),
        ({"num_hidden_layers": 10**15}, "its weights lack encoder.layer.2."),
        ({"num_hidden_layers": 1}, "its weights have encoder.layer.1."),
    ],
)
def test_another_model_is_refused_with_the_reason(folder: ModelFolder, changes: Any, reason: str) -> None:
    """A number that lies costs neither time nor memory."""
    change_config(folder, **changes)
    tracemalloc.start()
    found = refused(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reason in found
    assert peak < 5_000_000


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\ud800"])
def test_a_torn_configuration_is_refused(folder: ModelFolder, text: str) -> None:
    (folder.path / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert refused(folder).startswith(("its config.json cannot be read", "its architecture is None"))


def test_a_model_with_more_than_a_transformer_is_refused(folder: ModelFolder) -> None:
    assert "more than a transformer" in refused(replace(folder, other_modules=("Dense",)))
    assert "mean or cls pooling" in refused(replace(folder, pooling="max"))


def save(folder: ModelFolder, tensors: dict[str, np.ndarray]) -> None:
    save_tensors(tensors, folder.weights)


def load(folder: ModelFolder) -> dict[str, np.ndarray]:
    return load_file(folder.weights)


def test_each_missing_tensor_is_named(folder: ModelFolder) -> None:
    tensors = load(folder)
    for name in [name for name in tensors if "pooler" not in name]:
        save(folder, {other: tensor for other, tensor in tensors.items() if other != name})
        assert refused(folder) == f"its weights lack {name}"


def test_a_tensor_that_no_such_model_has_is_refused(folder: ModelFolder) -> None:
    save(folder, {**load(folder), "encoder.layer.0.attention.gate.weight": np.zeros(3, np.float32)})
    assert "its weights have encoder.layer.0.attention.gate.weight, which no" in refused(folder)


def test_parts_that_no_vector_passes_through_may_be_there(folder: ModelFolder) -> None:
    unused = ("embeddings.position_ids", "pooler.dense.weight", "cls.predictions.bias", "lm_head.bias")
    save(folder, {**load(folder), **{name: np.zeros(3, np.int64) for name in unused}})
    read_transformer(folder)


def test_numbers_of_another_type_are_refused(folder: ModelFolder) -> None:
    tensors = load(folder)
    tensors["encoder.layer.1.output.dense.bias"] = np.zeros(32, np.float64)
    save(folder, tensors)
    assert "encoder.layer.1.output.dense.bias holds numbers of the type F64" in refused(folder)


def test_torn_weights_are_refused(folder: ModelFolder) -> None:
    folder.weights.write_bytes(folder.weights.read_bytes()[:-1])
    assert refused(folder) == "its weights cannot be read: it is not as long as its header says"
