"""Tiny random models, made on the spot: for what the packaged model does not have."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from kbjobs.embedding.model_folder import ModelFolder

from .conftest import packaged_minilm


def make_transformer(folder: Path, family: str = "bert", spread: float = 0.5, **changes: Any) -> Any:
    """Save a random transformer, by default of two layers and of width 32; ``changes`` go into its configuration."""
    import torch
    from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

    torch.manual_seed(7)
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    shape = {"max_position_embeddings": 64, "layer_norm_eps": 1e-6, **shape, **changes}
    config = BertConfig(**shape) if family == "bert" else MPNetConfig(**shape)
    config.initializer_range = spread  # or all texts get nearly the same vector
    transformer = (BertModel if family == "bert" else MPNetModel)(config).eval()
    with torch.no_grad():
        for name, weights in transformer.named_parameters():
            if name.endswith(("bias", "LayerNorm.weight")):  # which are all 0, or all 1, at first
                weights += torch.randn(weights.shape) * 0.1
    transformer.save_pretrained(folder)
    return transformer


def describe_transformer(folder: Path, width: int = 32, window: int = 48) -> ModelFolder:
    """What is known of a random transformer that has no tokenizer."""
    return ModelFolder(
        name="random",
        path=folder,
        dimension=width,
        max_tokens=window,
        tokenizer_file=folder / "tokenizer.json",
        weights=folder / "model.safetensors",
    )


def make_tiny_model(
    folder: Path, pooling: str = "mean", window: int = 48, family: str = "bert", act: str = "gelu", **prompts: str
) -> Any:
    """Save a random transformer with the packaged tokenizer, as sentence-transformers writes a model today."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    raw = folder.parent / f"{folder.name}-raw"
    make_transformer(raw, family, vocab_size=30522, hidden_act=act)
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
