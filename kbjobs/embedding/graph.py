"""Build the graph of a BERT or an MPNet for OpenVINO from the model's own files, without torch or conversion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.openvino_engine import import_openvino
from kbjobs.embedding.safetensors_file import WeightsFile, read_header
from kbjobs.embedding.transformer_config import MPNET_PADDING, POSITION_BUCKETS, TransformerConfig, read_transformer

if TYPE_CHECKING:
    import openvino

_FARTHEST = 128  # tokens; all distances from here on share MPNet's last row
_MASKED = -1e30  # added to the attention on padding: e to that power is 0


def build_graph(folder: ModelFolder) -> openvino.Model:
    """Build a model's transformer up to its last hidden state, in float32, with dynamic numbers of texts and tokens.

    The weights are mapped, not copied: save or compile the result while their file is unchanged.

    Returns:
        A model with the inputs ``input_ids`` and ``attention_mask``, both int64 of shape (texts, tokens).

    Raises:
        NotBuildableError: it is another type of model, or its weights do not fit its configuration.
        OSError: the weights cannot be read.
    """
    return GraphBuilder(folder).build()


class GraphBuilder:
    """Builds one graph, with a method for each part. Nodes have no types that mypy knows."""

    def __init__(self, folder: ModelFolder) -> None:
        self.config: TransformerConfig = read_transformer(folder)
        self.weights = WeightsFile(folder.weights, read_header(folder.weights))
        self.openvino = import_openvino()
        self.ops: Any = self.openvino.opset13

    def build(self) -> openvino.Model:
        """Build the whole graph; see :func:`build_graph`."""
        ops = self.ops
        ids, mask = (self._input(name) for name in ("input_ids", "attention_mask"))
        length = ops.gather(ops.shape_of(ids), self._whole(1), self._whole(0))
        hidden = self._embed(ids, length)
        biases = [self._mask_bias(mask)]
        if self.config.family == "mpnet":
            biases.append(self._distance_bias(length))
        for number in range(self.config.layers):
            hidden = self._layer(hidden, biases, f"encoder.layer.{number}.")
        hidden.set_friendly_name("last_hidden_state")
        return self.openvino.Model([hidden], [ids, mask], self.config.family)

    def _input(self, name: str) -> Any:
        node = self.ops.parameter([-1, -1], np.int64, name=name)
        node.output(0).set_names({name})
        return node

    def _whole(self, number: int) -> Any:
        return self.ops.constant(np.int64(number))

    def _list(self, *numbers: int) -> Any:
        return self.ops.constant(np.array(numbers, dtype=np.int64))

    def number(self, number: float) -> Any:
        """A constant of float32."""
        return self.ops.constant(np.float32(number))

    def read(self, name: str) -> NDArray[np.float32]:
        """Read a tensor of the weights by its name within the model."""
        return self.weights.read(self.config.prefix + name)

    def tensor(self, name: str) -> Any:
        """A tensor of the weights as a constant."""
        return self.openvino.op.Constant(self.read(name), shared_memory=True)

    def _embed(self, ids: Any, length: Any) -> Any:
        ops = self.ops
        words = ops.gather(self.tensor("embeddings.word_embeddings.weight"), ids, self._whole(0))
        positions = self.read("embeddings.position_embeddings.weight")
        if self.config.family == "bert":
            # All tokens are of the first type, so its row is added to every position.
            table = ops.constant(positions + self.read("embeddings.token_type_embeddings.weight")[0])
            each = ops.slice(table, [0], ops.unsqueeze(length, self._whole(0)), [1], [0])
        else:
            is_word = ops.convert(ops.not_equal(ids, self._whole(MPNET_PADDING)), "i64")
            counted = ops.multiply(ops.cum_sum(is_word, self._whole(1)), is_word)
            each = ops.gather(ops.constant(positions), ops.add(counted, self._whole(MPNET_PADDING)), self._whole(0))
        return self._norm(ops.add(words, each), "embeddings.LayerNorm")

    def _mask_bias(self, mask: Any) -> Any:
        """The bias that keeps attention off padding, shape (texts, 1, 1, tokens)."""
        ops = self.ops
        padding = ops.subtract(self.number(1.0), ops.convert(mask, "f32"))
        return ops.unsqueeze(ops.multiply(padding, self.number(_MASKED)), self._list(1, 2))

    def _distance_bias(self, length: Any) -> Any:
        """MPNet's attention bias for the distance of two tokens, shape (heads, tokens, tokens)."""
        ops = self.ops
        farthest = self.config.positions - 1
        distances = np.arange(-farthest, farthest + 1)
        table = self.read("encoder.relative_attention_bias.weight")[bucket_distances(distances)].T
        places = ops.range(self._whole(0), length, self._whole(1), "i64")
        between = ops.subtract(ops.unsqueeze(places, self._whole(0)), ops.unsqueeze(places, self._whole(1)))
        rows = ops.add(between, self._whole(farthest))
        return ops.gather(ops.constant(np.ascontiguousarray(table)), rows, self._whole(1))

    def _layer(self, hidden: Any, biases: Sequence[Any], layer: str) -> Any:
        ops, names = self.ops, self.config.names
        query, key, value = (self._heads(hidden, layer + name) for name in (names.query, names.key, names.value))
        attended = ops.transpose(self._attend(query, key, value, biases), self._list(0, 2, 1, 3))
        together = ops.reshape(attended, self._list(0, 0, self.config.width), special_zero=True)
        hidden = self._norm(ops.add(self.linear(together, layer + names.output), hidden), layer + names.norm)
        inner = self.linear(hidden, f"{layer}intermediate.dense")
        inner = ops.relu(inner) if self.config.activation == "relu" else ops.gelu(inner, "ERF")
        outer = self.linear(inner, f"{layer}output.dense")
        return self._norm(ops.add(outer, hidden), f"{layer}output.LayerNorm")

    def _attend(self, query: Any, key: Any, value: Any, biases: Sequence[Any]) -> Any:
        ops = self.ops
        if len(biases) == 1:  # OpenVINO's default scale is the same, 1 / √(width of a head)
            return ops.scaled_dot_product_attention(query, key, value, biases[0])
        # Added one by one, each bias stays small. A combined bias would have a number for each text, head and pair of
        # tokens, read in each layer: measured, that is a twelfth slower.
        scale = self.number((self.config.width // self.config.heads) ** -0.5)
        scores = ops.multiply(ops.matmul(query, key, False, True), scale)
        for bias in biases:
            scores = ops.add(scores, bias)
        return ops.matmul(ops.softmax(scores, -1), value, False, False)

    def _heads(self, hidden: Any, name: str) -> Any:
        """A linear layer's result split into heads, shape (texts, heads, tokens, width of a head)."""
        heads = self.config.heads
        shape = self._list(0, 0, heads, self.config.width // heads)
        return self.ops.transpose(
            self.ops.reshape(self.linear(hidden, name), shape, special_zero=True), self._list(0, 2, 1, 3)
        )

    def linear(self, given: Any, name: str) -> Any:
        """Multiply by a layer's matrix and add its bias; ``name`` is the layer's in the weights."""
        product = self.ops.matmul(given, self.tensor(f"{name}.weight"), False, True)
        return self.ops.add(product, self.tensor(f"{name}.bias"))

    def _norm(self, given: Any, name: str) -> Any:
        scaled = self.ops.mvn(given, self._list(-1), True, self.config.epsilon, "inside_sqrt")
        return self.ops.add(self.ops.multiply(scaled, self.tensor(f"{name}.weight")), self.tensor(f"{name}.bias"))


def bucket_distances(distances: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the rows of MPNet's distance table.

    Half of the rows are for later tokens. In each half, the first half of the rows is for distances 0 to 7, one each;
    the other rows grow in width with the logarithm, up to a distance of 128. Since float32 results fall close to whole
    numbers, the order of the operations is the same as in the model's own code.

    Args:
        distances: the position of the other token minus the position of the token.
    """
    half = POSITION_BUCKETS // 2
    exact = half // 2
    apart = np.abs(distances)
    logarithm = np.log(np.maximum(apart, 1).astype(np.float32) / np.float32(exact))
    steps = logarithm / np.float32(math.log(_FARTHEST / exact)) * np.float32(half - exact)
    far = np.minimum(exact + steps.astype(np.int64), half - 1)
    rows: NDArray[np.int64] = np.where(distances > 0, half, 0) + np.where(apart < exact, apart, far)
    return rows
