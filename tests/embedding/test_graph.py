"""The graphs that kbjobs builds give what numpy and torch give, token by token, for random models of many shapes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from kbjobs.embedding import graph
from kbjobs.embedding.graph import bucket_distances, build_graph
from kbjobs.embedding.openvino_engine import has_bf16, import_openvino

from .plain_transformer import run_plain, run_torch
from .small_model import describe_transformer, save_tensors, write_transformer

Run = Callable[[Path, np.ndarray, np.ndarray], np.ndarray]
FULL = (pytest.mark.full, pytest.mark.torch)

PADDING = {"bert": 0, "mpnet": 1}
VOCABULARY = 200


def make_batch(family: str, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Four rows of random tokens, each shorter than the one before; the first has the padding token as a word too."""
    ids = np.random.default_rng(3).integers(2, VOCABULARY, (4, tokens))
    mask = np.ones_like(ids)
    for row in range(1, 4):
        ids[row, tokens * (4 - row) // 4 :] = PADDING[family]
        mask[row, tokens * (4 - row) // 4 :] = 0
    ids[0, tokens // 2] = PADDING[family]
    return ids, mask


@pytest.fixture(params=["numpy", pytest.param("torch", marks=FULL)])
def run(request: pytest.FixtureRequest) -> Run:
    """What the graph is measured by."""
    return run_plain if request.param == "numpy" else run_torch


def run_graph(folder: Path, width: int, tokens: int, ids: np.ndarray, mask: np.ndarray, precision: str) -> np.ndarray:
    model = build_graph(describe_transformer(folder, width, tokens))
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 2}
    compiled = import_openvino().Core().compile_model(model, "CPU", settings)
    return compiled([ids, mask])[0]


def min_cosine(left: np.ndarray, right: np.ndarray, mask: np.ndarray) -> float:
    """Of all tokens that are no padding."""
    left, right = (side[mask == 1].astype(np.float64) for side in (left, right))
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float((np.einsum("ij,ij->i", left, right) / lengths).min())


SHAPES = [
    {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64},
    {"hidden_size": 48, "num_attention_heads": 3, "num_hidden_layers": 4, "intermediate_size": 100},
    {"hidden_size": 64, "num_attention_heads": 8, "num_hidden_layers": 1, "intermediate_size": 32},
    {"hidden_size": 40, "num_attention_heads": 1, "num_hidden_layers": 3, "intermediate_size": 40},
]


@pytest.mark.parametrize("family", ["bert", "mpnet"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"width-{shape['hidden_size']}")
def test_a_random_model_in_float32(
    family: str, activation: str, shape: dict[str, int], run: Run, tmp_path: Path
) -> None:
    """150 tokens: farther than MPNet tells distances apart."""
    sizes = {"vocab_size": VOCABULARY, "max_position_embeddings": 152, **shape}
    write_transformer(tmp_path, family, 0.5, hidden_act=activation, **sizes)
    for tokens in (150, 7):
        ids, mask = make_batch(family, tokens)
        found = run_graph(tmp_path, shape["hidden_size"], 150, ids, mask, "f32")
        assert min_cosine(found, run(tmp_path, ids, mask), mask) >= 0.999999


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_a_random_model_in_bf16(family: str, run: Run, tmp_path: Path) -> None:
    """Means of tokens, as they are compared at run time; weights as widely spread as those of trained models."""
    if not has_bf16():
        pytest.skip("this processor has no bf16")
    shape = {"hidden_size": 128, "num_attention_heads": 4, "num_hidden_layers": 6, "intermediate_size": 512}
    changes = {"vocab_size": VOCABULARY, "max_position_embeddings": 130, **shape}
    write_transformer(tmp_path, family, 0.05, **changes)
    ids, mask = make_batch(family, 128)
    found, expected = run_graph(tmp_path, 128, 128, ids, mask, "bf16"), run(tmp_path, ids, mask)
    mean, expected_mean = ((hidden * mask[:, :, None]).sum(axis=1) for hidden in (found, expected))
    assert min_cosine(mean, expected_mean, np.ones(4)) >= 0.9999


def test_a_wrong_distance_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: earlier and later tokens exchanged."""
    write_transformer(tmp_path, "mpnet", vocab_size=VOCABULARY)
    ids, mask = make_batch("mpnet", 48)
    expected = run_plain(tmp_path, ids, mask)
    assert min_cosine(run_graph(tmp_path, 32, 48, ids, mask, "f32"), expected, mask) >= 0.999999
    monkeypatch.setattr(graph, "bucket_distances", lambda distances: bucket_distances(-distances))
    assert min_cosine(run_graph(tmp_path, 32, 48, ids, mask, "f32"), expected, mask) < 0.999


@pytest.mark.full
@pytest.mark.torch
def test_distances_fall_into_the_rows_of_the_models_own_code() -> None:
    import torch
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    distances = np.arange(-5000, 5001)
    expected = MPNetEncoder.relative_position_bucket(torch.tensor(distances))
    assert bucket_distances(distances).tolist() == expected.tolist()


@pytest.mark.parametrize("family", ["bert", "mpnet"])
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_weights_of_half_the_width(family: str, kind: str, run: Run, tmp_path: Path) -> None:
    """The numbers of the wide file are such as half the width can hold, so that both are the same model."""
    wide, narrow = tmp_path / "wide", tmp_path / "narrow"
    write_transformer(wide, family, vocab_size=VOCABULARY)
    shutil.copytree(wide, narrow)
    tensors = load_file(wide / "model.safetensors")
    if kind == "float16":
        tensors = {name: numbers.astype(np.float16).astype(np.float32) for name, numbers in tensors.items()}
    else:  # the upper half of a float32
        tensors = {name: (numbers.view("<u4") & 0xFFFF0000).view("<f4") for name, numbers in tensors.items()}
    save_tensors(tensors, wide / "model.safetensors")
    save_tensors(tensors, narrow / "model.safetensors", kind)
    ids, mask = make_batch(family, 48)
    found = run_graph(narrow, 32, 48, ids, mask, "f32")
    assert min_cosine(found, run(wide, ids, mask), mask) >= 0.999999


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_a_checkpoint_with_a_name_in_front_of_its_tensors(family: str, run: Run, tmp_path: Path) -> None:
    """As of one that was trained with a head, which is left out."""
    write_transformer(tmp_path / "bare", family, vocab_size=VOCABULARY)
    shutil.copytree(tmp_path / "bare", tmp_path / "whole")
    tensors = load_file(tmp_path / "bare" / "model.safetensors")
    renamed = {f"{family}.{name}": numbers for name, numbers in tensors.items()}
    head = {"cls.predictions.bias": np.zeros(VOCABULARY, np.float32), "lm_head.bias": np.zeros(VOCABULARY, np.float32)}
    save_tensors({**renamed, **head}, tmp_path / "whole" / "model.safetensors")
    ids, mask = make_batch(family, 48)
    found = run_graph(tmp_path / "whole", 32, 48, ids, mask, "f32")
    assert min_cosine(found, run(tmp_path / "bare", ids, mask), mask) >= 0.999999


@pytest.mark.full
@pytest.mark.torch
@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_a_checkpoint_with_a_head(family: str, tmp_path: Path) -> None:
    """Its tensors have a name in front, and the head is left out."""
    from transformers import AutoModel, BertForMaskedLM, MPNetForMaskedLM

    write_transformer(tmp_path / "bare", family, vocab_size=VOCABULARY)
    transformer = AutoModel.from_pretrained(tmp_path / "bare")
    whole = (BertForMaskedLM if family == "bert" else MPNetForMaskedLM)(transformer.config)
    setattr(whole, family, transformer)
    whole.save_pretrained(tmp_path / "whole")
    ids, mask = make_batch(family, 48)
    found = run_graph(tmp_path / "whole", 32, 48, ids, mask, "f32")
    assert min_cosine(found, run_torch(tmp_path / "bare", ids, mask), mask) >= 0.999999
