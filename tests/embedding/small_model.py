"""Small random models, made on the spot without torch: the same ones on every run, in well under a second.

Names and shapes of the weights are those of the transformers library (``models/bert`` and ``models/mpnet``), the files
those that sentence-transformers writes. That both libraries read them so is tested in ``test_small_model.py``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import TensorSpec, serialize_file

from kbjobs.embedding.model_folder import ModelFolder

from .conftest import packaged_minilm

WIDTH = 32
WINDOW = 48
_SEED = 7
_SHAPE: dict[str, Any] = {
    "hidden_act": "gelu",
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "layer_norm_eps": 1e-6,
    "max_position_embeddings": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": 30522,
}
_FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {"architectures": ["BertModel"], "model_type": "bert", "pad_token_id": 0, "type_vocab_size": 2},
    "mpnet": {
        "architectures": ["MPNetModel"],
        "bos_token_id": 0,
        "eos_token_id": 2,
        "model_type": "mpnet",
        "pad_token_id": 1,
        "relative_attention_num_buckets": 32,
    },
}
_ATTENTION = {
    "bert": ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm"),
    "mpnet": ("attn.q", "attn.k", "attn.v", "attn.o", "LayerNorm"),
}


def make_small_model(
    folder: Path,
    *,
    pooling: str = "mean",
    family: str = "bert",
    act: str = "gelu",
    with_onnx: bool = False,
    **prompts: str,
) -> Path:
    """Write a random transformer with the packaged tokenizer, as sentence-transformers writes a model today.

    Args:
        folder: where to; it is made.
        pooling: ``mean``, ``cls``, or what only sentence-transformers can do.
        family: ``bert`` or ``mpnet``.
        act: the transformer's activation, as its configuration names it.
        with_onnx: whether the model ships ``onnx/model.onnx`` (a BERT only).
        prompts: of ``query`` and ``document``.
    """
    write_transformer(folder, family, hidden_act=act)
    shutil.copy(packaged_minilm() / "tokenizer.json", folder)
    described = json.loads((packaged_minilm() / "tokenizer_config.json").read_text())
    _write_json(folder / "tokenizer_config.json", {**described, "model_max_length": WINDOW})
    steps = {
        "": "sentence_transformers.base.modules.transformer.Transformer",
        "1_Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    }
    modules = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (path, kind) in enumerate(steps.items())]
    _write_json(folder / "modules.json", modules)
    forward = {"method": "forward", "method_output_name": "last_hidden_state"}
    window = {"transformer_task": "feature-extraction", "modality_config": {"text": forward}}
    _write_json(folder / "sentence_bert_config.json", {**window, "module_output_name": "token_embeddings"})
    pooled = {"embedding_dimension": WIDTH, "pooling_mode": pooling, "include_prompt": True}
    _write_json(folder / "1_Pooling" / "config.json", pooled)
    prompted = {"prompts": {"query": "", "document": "", **prompts}, "default_prompt_name": None}
    general = {"model_type": "SentenceTransformer", "similarity_fn_name": "cosine"}
    versions = {"sentence_transformers": "6.2.0", "transformers": "5.24.0", "pytorch": "2.13.0"}
    _write_json(folder / "config_sentence_transformers.json", {"__version__": versions, **general, **prompted})
    if with_onnx:
        from .onnx_file import write_onnx

        write_onnx(folder)
    return folder


def write_transformer(folder: Path, family: str = "bert", spread: float = 0.5, **changes: Any) -> None:
    """Write a random transformer, by default of two layers and of width 32; ``changes`` go into its configuration.

    The weights are spread widely, or all texts get nearly the same vector.
    """
    config = {**_SHAPE, **_FAMILIES[family], **changes}
    _write_json(folder / "config.json", {**config, "dtype": "float32", "initializer_range": spread})
    random = np.random.default_rng(_SEED)
    tensors = {}
    for name, shape in list_tensors(config):
        numbers = random.standard_normal(shape, dtype=np.float32)
        if name.endswith("bias") and len(shape) == 1:
            numbers *= 0.1
        elif name.endswith("LayerNorm.weight"):
            numbers = 1 + 0.1 * numbers
        else:
            numbers *= spread
        tensors[name] = numbers.astype(np.float32)
    tensors["embeddings.word_embeddings.weight"][config["pad_token_id"]] = 0
    save_tensors(tensors, folder / "model.safetensors")


def list_tensors(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The name and shape of each tensor of a transformer with this configuration."""
    family, width, inner = config["model_type"], config["hidden_size"], config["intermediate_size"]
    yield "embeddings.word_embeddings.weight", (config["vocab_size"], width)
    yield "embeddings.position_embeddings.weight", (config["max_position_embeddings"], width)
    if family == "bert":
        yield "embeddings.token_type_embeddings.weight", (config["type_vocab_size"], width)
    else:
        yield "encoder.relative_attention_bias.weight", (32, config["num_attention_heads"])
    parts = {"embeddings.LayerNorm": (width,), "pooler.dense": (width, width)}
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        *matrices, norm = (f"{layer}.attention.{name}" for name in _ATTENTION[family])
        parts |= dict.fromkeys(matrices, (width, width))
        parts |= {norm: (width,), f"{layer}.output.LayerNorm": (width,)}
        parts |= {f"{layer}.intermediate.dense": (inner, width), f"{layer}.output.dense": (width, inner)}
    for part, shape in parts.items():
        yield f"{part}.weight", shape
        yield f"{part}.bias", shape[:1]


def save_tensors(tensors: Mapping[str, np.ndarray], file: Path, kind: str = "") -> None:
    """Write a safetensors file.

    Args:
        tensors: by name.
        file: where to.
        kind: ``float16`` or ``bfloat16``: what the numbers are stored as; else they are stored as they are.
    """
    stored = {name: np.ascontiguousarray(_narrow(numbers, kind)) for name, numbers in tensors.items()}
    specs = {
        name: TensorSpec(
            dtype=kind or numbers.dtype.name,
            shape=numbers.shape,
            data_ptr=numbers.ctypes.data,
            data_len=numbers.nbytes,
        )
        for name, numbers in stored.items()
    }
    serialize_file(specs, file, {"format": "pt"})


def _narrow(numbers: np.ndarray, kind: str) -> np.ndarray:
    if kind == "bfloat16":  # the upper half of a float32
        return (numbers.view(np.uint32) >> 16).astype(np.uint16)
    return numbers.astype(kind) if kind else numbers


def describe_transformer(folder: Path, width: int = WIDTH, window: int = WINDOW) -> ModelFolder:
    """What is known of a random transformer that has no tokenizer."""
    return ModelFolder(
        name="random",
        path=folder,
        dimension=width,
        max_tokens=window,
        tokenizer_file=folder / "tokenizer.json",
        weights=folder / "model.safetensors",
    )


def _write_json(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2))
