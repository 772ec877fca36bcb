"""Recognise a transformer whose graph kbjobs can build itself: BERT or MPNet, as published.

``config.json`` and the names and shapes of the weights decide. An additional or missing tensor, another activation or
another kind of position means another model, which is refused with the reason. Cheap to import: standard library only.

Sources: Devlin et al. 2018, arXiv:1810.04805; Song et al. 2020, arXiv:2004.09297; names and defaults as in the
transformers library (``models/bert`` and ``models/mpnet``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.safetensors_file import FLOAT_BYTES, DamagedWeightsError, StoredTensor, read_header
from kbjobs.errors import KbjobsError

POSITION_BUCKETS = 32
"""Distances that MPNet distinguishes. The published model fixes this number, whatever its configuration says."""

MPNET_PADDING = 1
"""The id of MPNet's padding token, which gets no position of its own; positions count from the next number on."""

_ACTIVATIONS = ("gelu", "relu")
# Parts of a checkpoint that do not affect a passage's vector.
_UNUSED = re.compile(r"(bert\.|mpnet\.)?(pooler\.|embeddings\.position_ids$)|cls\.|lm_head\.")


class NotBuildableError(KbjobsError):
    """kbjobs cannot build this model's graph itself; the message says why."""


@dataclass(frozen=True)
class LayerNames:
    """The names of the parts of a layer's attention; the later parts have the same names in both families."""

    query: str
    key: str
    value: str
    output: str
    norm: str


_LAYER_NAMES = {
    "bert": LayerNames(
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
    ),
    "mpnet": LayerNames(
        "attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o", "attention.LayerNorm"
    ),
}


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of a BERT or an MPNet."""

    family: str
    """``bert`` or ``mpnet``."""
    vocabulary: int
    width: int
    """Of the hidden state: the dimension of a vector."""
    layers: int
    heads: int
    inner_width: int
    """Between the two matrices of a layer's second half."""
    positions: int
    """Rows of the table of positions."""
    token_types: int
    """0 for MPNet, which has none."""
    activation: str
    """``gelu`` (by the error function) or ``relu``."""
    epsilon: float
    """Added to a variance before its root is taken."""
    prefix: str = ""
    """Before the names of all tensors; ``bert.`` in checkpoints trained with a head."""

    @property
    def names(self) -> LayerNames:
        """The names of the parts of the attention."""
        return _LAYER_NAMES[self.family]

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield name and shape of each tensor that the graph needs, without the prefix."""
        width, inner, names = self.width, self.inner_width, self.names
        yield "embeddings.word_embeddings.weight", (self.vocabulary, width)
        yield "embeddings.position_embeddings.weight", (self.positions, width)
        if self.family == "bert":
            yield "embeddings.token_type_embeddings.weight", (self.token_types, width)
        else:
            yield "encoder.relative_attention_bias.weight", (POSITION_BUCKETS, self.heads)
        yield from _weight_and_bias("embeddings.LayerNorm", width)
        for number in range(self.layers):
            layer = f"encoder.layer.{number}."
            for name in (names.query, names.key, names.value, names.output):
                yield from _weight_and_bias(layer + name, width, width)
            for name in (names.norm, "output.LayerNorm"):
                yield from _weight_and_bias(layer + name, width)
            yield from _weight_and_bias(f"{layer}intermediate.dense", inner, width)
            yield from _weight_and_bias(f"{layer}output.dense", width, inner)


def _weight_and_bias(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def read_transformer(folder: ModelFolder, *, has_weights: bool = True) -> TransformerConfig:
    """Read the configuration, and check that the weights are exactly those of such a model.

    Args:
        folder: the model, with its weights as safetensors.
        has_weights: False if the weights are not there yet, so that only the configuration is checked.

    Raises:
        NotBuildableError: it is another type of model, or its weights do not fit its configuration.
    """
    if not folder.is_plain:
        raise NotBuildableError(f"{folder.name} has more than a transformer and mean or cls pooling")
    config = _read_config(folder)
    if folder.dimension != config.width:
        raise NotBuildableError(f"its pooling gives {folder.dimension} dimensions, its transformer {config.width}")
    first = 0 if config.family == "bert" else MPNET_PADDING + 1
    if first + folder.max_tokens > config.positions:
        raise NotBuildableError(
            f"its window of {folder.max_tokens} tokens needs more than {config.positions} positions"
        )
    return _check_weights(folder, config) if has_weights else config


def _read_config(folder: ModelFolder) -> TransformerConfig:
    try:
        content = json.loads((folder.tokenizer_file.parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NotBuildableError(f"its config.json cannot be read: {error}") from error
    family = content.get("model_type") if isinstance(content, dict) else None
    if not isinstance(family, str) or family not in _LAYER_NAMES:
        raise NotBuildableError(f"its architecture is {family!r}, not one of {', '.join(_LAYER_NAMES)}")
    activation = content.get("hidden_act")
    if activation not in _ACTIVATIONS:
        raise NotBuildableError(f"its activation is {activation!r}, not one of {', '.join(_ACTIVATIONS)}")
    if (positions := content.get("position_embedding_type", "absolute")) != "absolute":
        raise NotBuildableError(f"its position_embedding_type is {positions!r}, not 'absolute'")
    for key in ("is_decoder", "add_cross_attention", "quantization_config"):
        if content.get(key):
            raise NotBuildableError(f"its config.json sets {key}")
    config = TransformerConfig(
        family=family,
        vocabulary=_read_size(content, "vocab_size"),
        width=_read_size(content, "hidden_size"),
        layers=_read_size(content, "num_hidden_layers"),
        heads=_read_size(content, "num_attention_heads"),
        inner_width=_read_size(content, "intermediate_size"),
        positions=_read_size(content, "max_position_embeddings"),
        token_types=_read_size(content, "type_vocab_size") if family == "bert" else 0,
        activation=activation,
        epsilon=_read_epsilon(content),
    )
    if config.width % config.heads:
        raise NotBuildableError(f"its hidden_size {config.width} cannot be divided among {config.heads} heads")
    return config


def _read_size(content: Mapping[str, Any], key: str) -> int:
    number = content.get(key)
    if type(number) is not int or number < 1:
        raise NotBuildableError(f"its {key} is {number!r}, not a whole number above 0")
    return number


def _read_epsilon(content: Mapping[str, Any]) -> float:
    number = content.get("layer_norm_eps", 1e-12)
    if not isinstance(number, float) or not 0.0 < number < 1.0:
        raise NotBuildableError(f"its layer_norm_eps is {number!r}, not a number between 0 and 1")
    return number


def _check_weights(folder: ModelFolder, config: TransformerConfig) -> TransformerConfig:
    """Compare the header of the weights with the configuration; return the configuration with the names' prefix.

    The configuration's numbers allocate nothing: a false one fails at the first tensor that is missing.
    """
    try:
        tensors = read_header(folder.weights)
    except (OSError, DamagedWeightsError) as error:
        raise NotBuildableError(f"its weights cannot be read: {error}") from error
    if f"{config.family}.embeddings.word_embeddings.weight" in tensors:
        config = replace(config, prefix=f"{config.family}.")
    used = set()
    for short_name, shape in config.shapes():
        name = config.prefix + short_name
        _check_tensor(name, tensors.get(name), shape)
        used.add(name)
    others = [name for name in tensors if name not in used and not _UNUSED.match(name)]
    if others:
        raise NotBuildableError(f"its weights have {others[0]}, which no {config.family} has")
    return config


def _check_tensor(name: str, tensor: StoredTensor | None, shape: tuple[int, ...]) -> None:
    if tensor is None:
        raise NotBuildableError(f"its weights lack {name}")
    if tensor.shape != shape:
        raise NotBuildableError(f"{name} has the shape {tensor.shape}; by config.json it is {shape}")
    if tensor.kind not in FLOAT_BYTES:
        raise NotBuildableError(f"{name} holds numbers of the type {tensor.kind}, not {', '.join(FLOAT_BYTES)}")
