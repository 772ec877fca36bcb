"""The graphs that kbjobs builds give what torch gives, token by token, for random models of many shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.embedding import graph
from kbjobs.embedding.graph import bucket_distances, build_graph
from kbjobs.embedding.openvino_engine import has_bf16, import_openvino

from .tiny_models import describe_transformer, make_transformer

pytestmark = pytest.mark.torch

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


def run_torch(transformer: Any, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        given = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
        return transformer(**given).last_hidden_state.numpy()


def run_graph(folder: Path, width: int, tokens: int, ids: np.ndarray, mask: np.ndarray, precision: str) -> np.ndarray:
    model = build_graph(describe_transformer(folder, width, tokens))
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 2}
    compiled = import_openvino().Core().compile_model(model, "CPU", settings)
    return compiled([ids, mask])[0]


def least_cosine(left: np.ndarray, right: np.ndarray, mask: np.ndarray) -> float:
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
def test_a_random_model_in_float32(family: str, activation: str, shape: dict[str, int], tmp_path: Path) -> None:
    """300 tokens: farther than MPNet tells distances apart."""
    sizes = {"vocab_size": VOCABULARY, "max_position_embeddings": 302, **shape}
    transformer = make_transformer(tmp_path, family, 0.5, hidden_act=activation, **sizes)
    for tokens in (300, 7):
        ids, mask = make_batch(family, tokens)
        found = run_graph(tmp_path, shape["hidden_size"], 300, ids, mask, "f32")
        assert least_cosine(found, run_torch(transformer, ids, mask), mask) >= 0.999999


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_a_random_model_in_bf16(family: str, tmp_path: Path) -> None:
    """Means of tokens, as they are compared at run time; weights as widely spread as those of trained models."""
    if not has_bf16():
        pytest.skip("this processor has no bf16")
    shape = {"hidden_size": 128, "num_attention_heads": 4, "num_hidden_layers": 6, "intermediate_size": 512}
    changes = {"vocab_size": VOCABULARY, "max_position_embeddings": 130, **shape}
    transformer = make_transformer(tmp_path, family, 0.05, **changes)
    ids, mask = make_batch(family, 128)
    found, expected = run_graph(tmp_path, 128, 128, ids, mask, "bf16"), run_torch(transformer, ids, mask)
    mean, expected_mean = ((hidden * mask[:, :, None]).sum(axis=1) for hidden in (found, expected))
    assert least_cosine(mean, expected_mean, np.ones(4)) >= 0.9999


def test_a_wrong_distance_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: earlier and later tokens exchanged."""
    transformer = make_transformer(tmp_path, "mpnet", vocab_size=VOCABULARY)
    ids, mask = make_batch("mpnet", 48)
    expected = run_torch(transformer, ids, mask)
    assert least_cosine(run_graph(tmp_path, 32, 48, ids, mask, "f32"), expected, mask) >= 0.999999
    monkeypatch.setattr(graph, "bucket_distances", lambda distances: bucket_distances(-distances))
    assert least_cosine(run_graph(tmp_path, 32, 48, ids, mask, "f32"), expected, mask) < 0.999


def test_distances_fall_into_the_rows_of_the_models_own_code() -> None:
    import torch
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    distances = np.arange(-5000, 5001)
    expected = MPNetEncoder.relative_position_bucket(torch.tensor(distances))
    assert bucket_distances(distances).tolist() == expected.tolist()


@pytest.mark.parametrize("family", ["bert", "mpnet"])
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_weights_of_half_the_width(family: str, kind: str, tmp_path: Path) -> None:
    import torch

    transformer = make_transformer(tmp_path / "wide", family, vocab_size=VOCABULARY)
    transformer.to(getattr(torch, kind)).save_pretrained(tmp_path / "narrow")
    ids, mask = make_batch(family, 48)
    found = run_graph(tmp_path / "narrow", 32, 48, ids, mask, "f32")
    assert least_cosine(found, run_torch(transformer.float(), ids, mask), mask) >= 0.999999


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_a_checkpoint_with_a_head(family: str, tmp_path: Path) -> None:
    """Its tensors have a name in front, and the head is left out."""
    from transformers import BertForMaskedLM, MPNetForMaskedLM

    transformer = make_transformer(tmp_path / "bare", family, vocab_size=VOCABULARY)
    whole = (BertForMaskedLM if family == "bert" else MPNetForMaskedLM)(transformer.config)
    setattr(whole, family, transformer)
    whole.save_pretrained(tmp_path / "whole")
    ids, mask = make_batch(family, 48)
    found = run_graph(tmp_path / "whole", 32, 48, ids, mask, "f32")
    assert least_cosine(found, run_torch(transformer, ids, mask), mask) >= 0.999999
