"""Tiny random models, made on the spot: for what the packaged model does not have."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from .conftest import packaged_minilm


def make_tiny_model(folder: Path, pooling: str = "mean", window: int = 48, **prompts: str) -> Any:
    """Save a random two-layer BERT of dimension 32, as sentence-transformers writes it today."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
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
