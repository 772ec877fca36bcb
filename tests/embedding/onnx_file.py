"""``onnx/model.onnx`` of a small BERT, as the hub's repositories ship one: made of its weights, without torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save_model
from safetensors.numpy import load_file

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "last_hidden_state"
_PARTS = ("query", "key", "value")
_OPSET = 20  # has Gelu
_IR_VERSION = 9
_MASKED = -1e30  # added to the attention that padding gets: e to that power is 0


def write_onnx(folder: Path) -> None:
    """Write the transformer in ``folder`` as ONNX; texts and tokens stay open."""
    config = json.loads((folder / "config.json").read_text())
    graph = _Graph(config, load_file(folder / "model.safetensors"))
    axes = ("texts", "tokens")
    made = helper.make_graph(
        graph.build(),
        "bert",
        [helper.make_tensor_value_info(name, TensorProto.INT64, axes) for name in INPUTS],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, (*axes, config["hidden_size"]))],
        graph.tensors,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    (folder / "onnx").mkdir(exist_ok=True)
    save_model(model, folder / "onnx" / "model.onnx")


class _Graph:
    """The nodes of one graph; each method adds some, and returns the name of what comes out."""

    def __init__(self, config: dict[str, Any], weights: dict[str, np.ndarray]) -> None:
        self.config = config
        self.weights = weights
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def build(self) -> list[Any]:
        """All nodes, the last of which gives the hidden state."""
        ids, mask, kinds = INPUTS
        width = self.config["hidden_size"]
        length = self.add("Gather", self.add("Shape", ids), self.whole(1))
        positions = self.add("Range", self.whole(0), length, self.whole(1))
        hidden = self.norm(
            self.add(
                "Add",
                self.add("Add", self.look_up("word", ids), self.look_up("token_type", kinds)),
                self.look_up("position", positions),
            ),
            "embeddings.LayerNorm",
        )
        is_padding = self.add("Sub", self.number(1), self.add("Cast", mask, to=TensorProto.FLOAT))
        bias = self.add("Unsqueeze", self.add("Mul", is_padding, self.number(_MASKED)), self.whole([1, 2]))
        for number in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{number}"
            query, key, value = (self.heads(hidden, f"{layer}.attention.self.{part}") for part in _PARTS)
            scale = self.number(1 / math.sqrt(width // self.config["num_attention_heads"]))
            product = self.add("MatMul", query, self.add("Transpose", key, perm=[0, 1, 3, 2]))
            scores = self.add("Add", self.add("Mul", product, scale), bias)
            attended = self.add("MatMul", self.add("Softmax", scores, axis=-1), value)
            together = self.add(
                "Reshape", self.add("Transpose", attended, perm=[0, 2, 1, 3]), self.whole([0, 0, width])
            )
            output = self.linear(together, f"{layer}.attention.output.dense")
            hidden = self.norm(self.add("Add", output, hidden), f"{layer}.attention.output.LayerNorm")
            inner = self.activate(self.linear(hidden, f"{layer}.intermediate.dense"))
            output = self.linear(inner, f"{layer}.output.dense")
            hidden = self.norm(self.add("Add", output, hidden), f"{layer}.output.LayerNorm")
        self.nodes.append(helper.make_node("Identity", [hidden], [OUTPUT]))
        return self.nodes

    def add(self, kind: str, *given: str, **attributes: Any) -> str:
        """A node."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, given, [name], **attributes))
        return name

    def keep(self, numbers: np.ndarray) -> str:
        """A tensor that belongs to the model."""
        name = f"tensor_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(numbers, name))
        return name

    def whole(self, number: int | Sequence[int]) -> str:
        return self.keep(np.array(number, dtype=np.int64))

    def number(self, number: float) -> str:
        return self.keep(np.array(number, dtype=np.float32))

    def look_up(self, table: str, rows: str) -> str:
        return self.add("Gather", self.keep(self.weights[f"embeddings.{table}_embeddings.weight"]), rows)

    def linear(self, given: str, name: str) -> str:
        product = self.add("MatMul", given, self.keep(np.ascontiguousarray(self.weights[f"{name}.weight"].T)))
        return self.add("Add", product, self.keep(self.weights[f"{name}.bias"]))

    def norm(self, given: str, name: str) -> str:
        weight, bias = (self.keep(self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.add("LayerNormalization", given, weight, bias, axis=-1, epsilon=self.config["layer_norm_eps"])

    def heads(self, hidden: str, name: str) -> str:
        """A linear layer's result, shape (texts, heads, tokens, width of a head)."""
        heads = self.config["num_attention_heads"]
        shape = self.whole([0, 0, heads, self.config["hidden_size"] // heads])
        return self.add("Transpose", self.add("Reshape", self.linear(hidden, name), shape), perm=[0, 2, 1, 3])

    def activate(self, given: str) -> str:
        match self.config["hidden_act"]:
            case "relu":
                return self.add("Relu", given)
            case "gelu":
                return self.add("Gelu", given)
            case "gelu_new":
                return self.add("Gelu", given, approximate="tanh")
            case other:
                raise ValueError(f"the activation {other} is not written down here")
