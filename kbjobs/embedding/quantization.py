"""Build a transformer that multiplies by its matrices in eight bits.

Numbers of a matrix are rounded to a scale for each of its outputs; what a matrix is given, to one range for all tokens.
A few columns of what is given are far larger than the others, and would take the whole range. So each column is divided
by a factor, and the column of the matrix multiplied by it: SmoothQuant (Xiao et al. 2022, arXiv:2211.10438). How much
of the difference moves into the matrix is tried for each layer, and a layer that loses too much stays exact.

The ranges come from texts that are shipped with kbjobs, and are rounded up to few digits: so a model's variant has the
same numbers on every machine, though processors add float32 in different orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kbjobs.embedding.cores import count_usable_cores
from kbjobs.embedding.graph import GraphBuilder
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.openvino_engine import import_openvino
from kbjobs.embedding.token_embedder import load_tokenizer

if TYPE_CHECKING:
    import openvino

Floats = NDArray[np.float32]

_SHARES = (0.6, 0.7, 0.8, 0.9)  # of a column's size that moves into the matrix; measured, the best is always in between
_MOST_LOST = 0.008  # of a layer's result, as the mean square over tokens, until it stays exact
_TRIED_TOKENS = 256  # on which the shares are compared
_DIGITS = 6  # binary digits of ranges and factors
_LEVELS = 256  # of what a matrix is given, unsigned
_LARGEST = 127  # of a matrix's numbers, signed


@dataclass(frozen=True)
class Observed:
    """What one or several linear layers are given, as observed with the calibration texts."""

    layers: tuple[str, ...]
    """The layers that are given the same: query, key and value of an attention are."""
    lowest: Floats
    """Of each column."""
    highest: Floats
    tokens: Floats
    """Some rows, to try a rounding on."""


@dataclass(frozen=True)
class Rounding:
    """How the input of linear layers, and the layers' matrices, become whole numbers."""

    factors: Floats
    """What each column is divided by."""
    low: np.float32
    high: np.float32
    """The range of all columns after that."""


def build_quantized(folder: ModelFolder, texts: Sequence[str]) -> openvino.Model:
    """Build a model's transformer with 8-bit linear layers, except those that lose too much.

    Args:
        folder: the model.
        texts: the calibration texts.

    Raises:
        NotBuildableError: kbjobs cannot build the graph of this model.
        OSError: the weights cannot be read.
    """
    return _Quantized(folder, _observe(folder, texts)).build()


class _Watched(GraphBuilder):
    """The exact graph; what its linear layers are given are further outputs."""

    def __init__(self, folder: ModelFolder) -> None:
        super().__init__(folder)
        self.given: dict[tuple[str, int], tuple[Any, list[str]]] = {}

    def linear(self, given: Any, name: str) -> Any:
        port = given.output(0)
        self.given.setdefault((port.get_node().get_name(), port.get_index()), (port, []))[1].append(name)
        return super().linear(given, name)

    def build(self) -> openvino.Model:
        model = super().build()
        model.add_outputs([port for port, _ in self.given.values()])
        return model


class _Quantized(GraphBuilder):
    """The graph in eight bits."""

    def __init__(self, folder: ModelFolder, observed: Sequence[Observed]) -> None:
        super().__init__(folder)
        self._observed = {layer: one for one in observed for layer in one.layers}
        self._rounded: dict[str, tuple[Any, Rounding | None]] = {}

    def linear(self, given: Any, name: str) -> Any:
        ops = self.ops
        rounded, rounding = self._round(given, self._observed[name])
        if rounding is None:
            return super().linear(given, name)
        numbers, scales = round_matrix(self.read(f"{name}.weight") * rounding.factors)
        # It is written as it is multiplied: whole numbers, and a scale for each output.
        matrix = ops.multiply(ops.convert(ops.constant(numbers), "f32"), ops.constant(scales))
        return ops.add(ops.matmul(rounded, matrix, False, True), self.tensor(f"{name}.bias"))

    def _round(self, given: Any, observed: Observed) -> tuple[Any, Rounding | None]:
        """The rounded input, made once for all layers that are given it; no rounding if they stay exact."""
        key = observed.layers[0]
        if key not in self._rounded:
            matrix = np.concatenate([self.read(f"{name}.weight") for name in observed.layers])
            rounding = choose_rounding(observed, matrix)
            self._rounded[key] = (given, None) if rounding is None else (self._scale(given, rounding), rounding)
        return self._rounded[key]

    def _scale(self, given: Any, rounding: Rounding) -> Any:
        low, high = self.number(float(rounding.low)), self.number(float(rounding.high))
        divided = self.ops.multiply(given, self.ops.constant(np.float32(1) / rounding.factors))
        return self.ops.fake_quantize(divided, low, high, low, high, _LEVELS)


def _observe(folder: ModelFolder, texts: Sequence[str]) -> list[Observed]:
    """Run the exact graph, in float32, on the calibration texts, one at a time: so there is no padding."""
    watched = _Watched(folder)
    compiled = (
        import_openvino()
        .Core()
        .compile_model(
            watched.build(), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": count_usable_cores()}
        )
    )
    request = compiled.create_infer_request()
    tokenizer = load_tokenizer(folder)
    tokenizer.enable_truncation(max_length=folder.max_tokens)
    encoded = [one.ids for one in tokenizer.encode_batch_fast(list(texts))]
    every = max(1, sum(map(len, encoded)) // _TRIED_TOKENS)
    extremes: dict[int, tuple[Floats, Floats]] = {}
    samples: dict[int, list[Floats]] = {number: [] for number in range(len(watched.given))}
    passed = 0
    for ids in encoded:
        row = np.array([ids], dtype=np.int64)
        request.infer([row, np.ones_like(row)])
        for number in samples:
            values: Floats = request.get_output_tensor(number + 1).data[0]
            lowest, highest = extremes.get(number, (values[0], values[0]))
            extremes[number] = np.minimum(lowest, values.min(axis=0)), np.maximum(highest, values.max(axis=0))
            samples[number].append(values[(-passed) % every :: every].copy())
        passed += len(ids)
    return [
        Observed(tuple(layers), *extremes[number], np.concatenate(samples[number]))
        for number, (_, layers) in enumerate(watched.given.values())
    ]


def choose_rounding(observed: Observed, matrix: Floats) -> Rounding | None:
    """Choose how much of the columns' sizes moves into the matrix: what loses least on the observed tokens.

    Args:
        observed: what the layers are given.
        matrix: the layers' matrices, one below the other, shape (outputs, columns).

    Returns:
        None if the best loses too much.
    """
    exact = observed.tokens @ matrix.T
    sizes = ((exact - exact.mean(axis=0)) ** 2).sum(axis=1)
    best, least = None, _MOST_LOST
    for share in _SHARES:
        rounding = _make_rounding(observed, matrix, share)
        numbers, scales = round_matrix(matrix * rounding.factors)
        found = round_input(observed.tokens, rounding) @ (numbers * scales).T
        lost = float((((found - exact) ** 2).sum(axis=1) / sizes).mean())
        if lost < least:
            best, least = rounding, lost
    return best


def _make_rounding(observed: Observed, matrix: Floats, share: float) -> Rounding:
    lowest, highest = np.minimum(observed.lowest, 0), np.maximum(observed.highest, 0)
    given = round_up(np.maximum(np.maximum(-lowest, highest), 1e-6))
    weights = np.abs(matrix).max(axis=0) + 1e-6
    factors = given.astype(np.float64) ** share / weights.astype(np.float64) ** (1 - share)
    factors = round_up(factors / np.exp(np.log(factors).mean()))
    low = -round_up((-lowest / factors).max())
    high = round_up((highest / factors).max())
    # Zero has to be one of the numbers, for most of what follows a GELU is close to it.
    step = (high - low) / (_LEVELS - 1)
    zero = np.round(-low / step)
    return Rounding(factors, np.float32(-zero * step), np.float32((_LEVELS - 1 - zero) * step))


def round_up(values: Any) -> Floats:
    """Round positive numbers up to six binary digits, so that the last digits of a processor's sums do not matter."""
    fractions, exponents = np.frexp(np.asarray(values, dtype=np.float64))
    # What is a hair above such a number, is that number.
    raised = np.ceil(fractions * 2**_DIGITS - 1e-3) / 2**_DIGITS
    rounded: Floats = np.ldexp(raised, exponents).astype(np.float32)
    return rounded


def round_matrix(matrix: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Round a matrix to whole numbers from -127 to 127 and a scale for each row, shape (rows, 1)."""
    scales = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), 1e-12) / _LARGEST
    return np.round(matrix / scales).astype(np.int8), scales.astype(np.float32)


def round_input(values: Floats, rounding: Rounding) -> Floats:
    """Round what a matrix is given, as the graph does; the result is still divided by the factors."""
    step = (rounding.high - rounding.low) / (_LEVELS - 1)
    numbers = np.round((np.clip(values / rounding.factors, rounding.low, rounding.high) - rounding.low) / step)
    rounded: Floats = (numbers * step + rounding.low).astype(np.float32)
    return rounded
