"""BERT and MPNet in numpy, written down as they were published: what engines are measured by without torch.

Sources: Devlin et al. 2018, arXiv:1810.04805; Song et al. 2020, arXiv:2004.09297. That the transformers library gives
the same is tested in ``test_small_model.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

DISTANCES = (8, 12, 16, 23, 32, 46, 64, 91)
"""MPNet tells distances of 0 to 7 tokens apart one by one, and from there on only these steps."""

_ERROR_FUNCTION = np.frompyfunc(math.erf, 1, 1)


class PlainTransformer:
    """A transformer in float64. ``numbers`` of shape (texts, tokens, width) go through each part of it."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self.tensors = {
            name: numbers.astype(np.float64) for name, numbers in load_file(folder / "model.safetensors").items()
        }
        self.is_bert = self.config["model_type"] == "bert"

    def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The last hidden state, shape (texts, tokens, width)."""
        hidden = self._norm(self._embed(ids), "embeddings.LayerNorm")
        bias = np.where(mask[:, None, None, :] == 1, 0.0, -np.inf)
        if not self.is_bert:
            bias = bias + self._distance_bias(ids.shape[1])
        for number in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{number}"
            hidden = self._attend(hidden, bias, layer)
            inner = self._activate(self._linear(hidden, f"{layer}.intermediate.dense"))
            hidden = self._norm(self._linear(inner, f"{layer}.output.dense") + hidden, f"{layer}.output.LayerNorm")
        return hidden

    def _embed(self, ids: np.ndarray) -> np.ndarray:
        words = self.tensors["embeddings.word_embeddings.weight"][ids]
        positions = self.tensors["embeddings.position_embeddings.weight"]
        if self.is_bert:
            kinds = self.tensors["embeddings.token_type_embeddings.weight"]
            return words + positions[: ids.shape[1]] + kinds[0]
        padding = self.config["pad_token_id"]
        is_word = ids != padding
        return words + positions[is_word.cumsum(axis=1) * is_word + padding]

    def _distance_bias(self, tokens: int) -> np.ndarray:
        between = np.arange(tokens)[None, :] - np.arange(tokens)[:, None]
        rows = self.tensors["encoder.relative_attention_bias.weight"][row_of_distance(between)]
        return rows.transpose(2, 0, 1)

    def _attend(self, hidden: np.ndarray, bias: np.ndarray, layer: str) -> np.ndarray:
        names = ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
        if not self.is_bert:
            names = ("attn.q", "attn.k", "attn.v", "attn.o", "LayerNorm")
        *inward, outward, norm = (f"{layer}.attention.{name}" for name in names)
        heads = self.config["num_attention_heads"]
        query, key, value = (
            self._linear(hidden, name).reshape(*hidden.shape[:2], heads, -1).transpose(0, 2, 1, 3) for name in inward
        )
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(query.shape[-1]) + bias
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        together = (shares @ value).transpose(0, 2, 1, 3).reshape(hidden.shape)
        return self._norm(self._linear(together, outward) + hidden, norm)

    def _activate(self, numbers: np.ndarray) -> np.ndarray:
        match self.config["hidden_act"]:
            case "relu":
                return np.maximum(numbers, 0)
            case "gelu":
                return numbers * 0.5 * (1 + np.asarray(_ERROR_FUNCTION(numbers / math.sqrt(2)), np.float64))
            case "gelu_new":
                return numbers * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (numbers + 0.044715 * numbers**3)))
            case other:
                raise ValueError(f"the activation {other} is not written down here")

    def _linear(self, numbers: np.ndarray, name: str) -> np.ndarray:
        return numbers @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def _norm(self, numbers: np.ndarray, name: str) -> np.ndarray:
        apart = numbers - numbers.mean(axis=-1, keepdims=True)
        variance = (apart**2).mean(axis=-1, keepdims=True)
        scaled = apart / np.sqrt(variance + self.config["layer_norm_eps"])
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]


def run_plain(folder: Path, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The last hidden state of the transformer in a folder."""
    return PlainTransformer(folder).run(ids, mask)


def run_torch(folder: Path, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The same by the transformers library."""
    import torch
    from transformers import AutoModel

    with torch.no_grad():
        given = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
        hidden: np.ndarray = AutoModel.from_pretrained(folder).float()(**given).last_hidden_state.numpy()
    return hidden


def row_of_distance(distances: np.ndarray) -> np.ndarray:
    """The row of MPNet's table for the place of the other token minus the place of the token."""
    apart = np.abs(distances)
    rows = np.where(apart < 8, apart, 7 + np.searchsorted(DISTANCES, apart, side="right"))
    return np.where(distances > 0, 16, 0) + rows


def encode(folder: Path, texts: Sequence[str], prompt: str = "") -> np.ndarray:
    """The vectors of texts, of length 1, one by one: each cut at the window, pooled as the model's folder says."""
    transformer = PlainTransformer(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"])
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())["pooling_mode"]
    vectors = []
    for text in texts:
        ids = np.array([tokenizer.encode(prompt + text).ids])
        hidden = transformer.run(ids, np.ones_like(ids))[0]
        vectors.append({"cls": hidden[0], "mean": hidden.mean(axis=0)}[pooling])
    rows = np.array(vectors)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
