"""In which way a model is prepared, what it is compared with, and what happens where a way does not serve."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.embedding import choose, engines, prepared_model, trial
from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.embedder import Embedder
from kbjobs.embedding.openvino_engine import has_bf16
from kbjobs.embedding.parity import PARITY_TEXTS, compare

from .conftest import MINILM, REPOSITORY, RunPython
from .plain_transformer import encode
from .small_model import make_small_model
from .test_choose import LOAD

pytestmark = pytest.mark.model


@pytest.fixture(autouse=True)
def _short_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_SECONDS", 0.01)


def make(tmp_path: Path, **options: Any) -> np.ndarray:
    """Make the model ``tmp_path/small``; returns the vectors that it gives the texts of the parity set."""
    folder = make_small_model(tmp_path / "small", **options)
    return encode(folder, PARITY_TEXTS)


def load(tmp_path: Path, expected: np.ndarray, engine: str = "auto") -> Embedder:
    """Load the model, and check that it gives the vectors that are expected."""
    embedder = load_embedder(str(tmp_path / "small"), tmp_path, tmp_path / "cache", engine)
    assert compare(embedder.embed(PARITY_TEXTS), expected).holds
    return embedder


def forget_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is not installed."""
    for module in (choose, engines, prepared_model):
        monkeypatch.setattr(module, "has_torch", lambda: False)


def read(cache: Path) -> tuple[str, str, dict[str, Any]]:
    """How the IR was made, what the reference vectors, and the measured engines by name."""
    manifest = json.loads(next(cache.glob("*/prepared/manifest.json")).read_text())
    measured = json.loads(next(cache.glob("*/engine.json")).read_text())["measurements"]
    return manifest["ir_made_by"], manifest["reference_engine"], {one["engine"]: one for one in measured}


def test_the_packaged_model_needs_no_torch(tmp_path: Path, run_python: RunPython) -> None:
    """Neither this process nor the one that builds the graph: a torch that is imported would end it."""
    for package in ("torch", "transformers", "sentence_transformers", "safetensors"):
        (tmp_path / "broken" / package).mkdir(parents=True)
        (tmp_path / "broken" / package / "__init__.py").write_text("raise RuntimeError('torch is imported')")
    cache = tmp_path / "cache"
    done = run_python(LOAD, MINILM, cache, PYTHONPATH=f"{tmp_path / 'broken'}{os.pathsep}{REPOSITORY}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[-1] == []
    way, reference, measured = read(cache)
    assert (way, reference) == ("graph", "sentence-transformers")
    assert measured["openvino-f32"]["cosine_min"] >= 0.999999
    if has_bf16():
        assert measured["openvino-bf16"]["cosine_min"] >= 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_a_model_without_reference_vectors_is_compared_with_itself(family: str, tmp_path: Path) -> None:
    load(tmp_path, make(tmp_path, family=family), "openvino").close()
    way, reference, measured = read(tmp_path / "cache")
    assert (way, reference, set(measured) - {"openvino-bf16"}) == ("graph", "openvino-f32", {"openvino-f32"})
    assert ("openvino-bf16" in measured) == has_bf16()


@pytest.mark.slow
def test_a_model_with_an_onnx_file_is_compared_with_that(tmp_path: Path) -> None:
    load(tmp_path, make(tmp_path, with_onnx=True)).close()
    way, reference, measured = read(tmp_path / "cache")
    assert (way, reference) == ("graph", "onnxruntime-f32")
    assert measured["openvino-f32"]["cosine_min"] >= 0.99999


@pytest.mark.slow
def test_an_onnx_file_alone_is_converted(tmp_path: Path) -> None:
    expected = make(tmp_path, with_onnx=True)
    (tmp_path / "small" / "model.safetensors").unlink()
    load(tmp_path, expected).close()
    assert read(tmp_path / "cache")[:2] == ("onnx", "onnxruntime-f32")


@pytest.mark.full
@pytest.mark.torch
@pytest.mark.slow
def test_another_activation_is_converted_by_torch_and_the_reason_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = make(tmp_path, act="gelu_new")
    with caplog.at_level(logging.INFO):
        load(tmp_path, expected, "openvino").close()
    assert "is converted, not built: its activation is 'gelu_new', not one of gelu, relu" in caplog.text
    assert read(tmp_path / "cache")[:2] == ("torch", "sentence-transformers")


@pytest.mark.slow
def test_another_activation_is_read_from_the_onnx_file_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = make(tmp_path, act="gelu_new", with_onnx=True)
    forget_torch(monkeypatch)
    with caplog.at_level(logging.INFO):
        load(tmp_path, expected).close()
    assert "its activation is 'gelu_new'" in caplog.text
    assert read(tmp_path / "cache")[:2] == ("onnx", "onnxruntime-f32")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["onnx", pytest.param("torch", marks=[pytest.mark.full, pytest.mark.torch])])
def test_a_graph_that_cannot_be_built_after_all_is_converted(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The process that builds refuses what looked right before: the reason comes back from there."""
    expected = make(tmp_path, act="gelu_new", with_onnx=way == "onnx")
    if way == "onnx":
        forget_torch(monkeypatch)
    monkeypatch.setattr(prepared_model, "why_not_built", lambda _folder: "")
    load(tmp_path, expected, "openvino").close()
    assert "has no OpenVINO model by way of graph: its activation is 'gelu_new'" in caplog.text
    assert read(tmp_path / "cache")[0] == way


def mix_up(tmp_path: Path) -> np.ndarray:
    """The model with an ONNX file that is another model's; returns what its weights give."""
    expected = make(tmp_path)
    other = make_small_model(tmp_path / "other", act="relu", with_onnx=True)
    shutil.copytree(other / "onnx", tmp_path / "small" / "onnx")
    return expected


@pytest.mark.slow
def test_without_torch_an_onnx_file_wins_over_a_graph_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the graph is compared with is right, whatever the graph gives."""
    mix_up(tmp_path)
    forget_torch(monkeypatch)
    embedder = load(tmp_path, encode(tmp_path / "other", PARITY_TEXTS))
    assert embedder.engine == "onnxruntime-f32"
    assert read(tmp_path / "cache")[2]["openvino-f32"]["cosine_min"] < 0.999


@pytest.mark.full
@pytest.mark.torch
@pytest.mark.slow
def test_torch_decides_between_a_graph_and_an_onnx_file_that_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The ONNX file is another model's. What is made then is also what older versions left, and it goes on serving."""
    expected = mix_up(tmp_path)
    load(tmp_path, expected).close()
    assert "gives other vectors: openvino" in caplog.text
    way, reference, measured = read(tmp_path / "cache")
    assert (way, reference) == ("torch", "sentence-transformers")
    assert measured["openvino-f32"]["cosine_min"] >= 0.99999
    assert measured["onnxruntime-f32"]["cosine_min"] < 0.999

    manifest = next((tmp_path / "cache").glob("*/prepared/manifest.json"))
    content = json.loads(manifest.read_text())
    del content["ir_made_by"]
    manifest.write_text(json.dumps(content))
    monkeypatch.setattr(prepared_model, "_run_conversion", lambda *_arguments: pytest.fail("prepared again"))
    for name in ("torch", "remembered"):
        if name == "remembered":
            next((tmp_path / "cache").glob("*/engine.json")).unlink()
        assert load(tmp_path, expected).engine.startswith("openvino")
