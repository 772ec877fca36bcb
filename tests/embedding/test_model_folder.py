"""What is read from a model's configuration files, of today's format and of older ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kbjobs.embedding.model_folder import ModelFolder, read_model_folder
from kbjobs.errors import MissingRequirementError

SMALL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json", "modules.json")


@pytest.fixture
def folder(tmp_path: Path, minilm: Path) -> Path:
    """A copy of the packaged model (weights linked) whose files a test may change."""
    copy = tmp_path / "model"
    (copy / "1_Pooling").mkdir(parents=True)
    for name in SMALL_FILES:
        shutil.copy(minilm / name, copy / name)
    shutil.copy(minilm / "1_Pooling" / "config.json", copy / "1_Pooling" / "config.json")
    (copy / "model.safetensors").symlink_to(minilm / "model.safetensors")
    return copy


def write(file: Path, content: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))


def read(folder: Path) -> ModelFolder:
    return read_model_folder("model", folder, "do something")


def test_the_packaged_model(folder: Path) -> None:
    model = read(folder)
    assert (model.dimension, model.max_tokens, model.pooling, model.normalises) == (384, 256, "mean", True)
    assert (model.is_plain, model.onnx, model.pad_token_id) == (True, None, 0)
    assert (model.query_prompt, model.passage_prompt) == ("", "")


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"word_embedding_dimension": 384, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"embedding_dimension": 384, "pooling_mode": "cls", "include_prompt": True}, "cls"),
        ({"embedding_dimension": 384, "pooling_mode": "mean"}, "mean"),
        ({"word_embedding_dimension": 384}, "mean"),
    ],
)
def test_pooling_formats(folder: Path, pooling: dict[str, Any], expected: str) -> None:
    write(folder / "1_Pooling" / "config.json", pooling)
    model = read(folder)
    assert (model.pooling, model.dimension, model.is_plain) == (expected, 384, True)


def test_joined_poolings_double_the_dimension_and_need_sentence_transformers(folder: Path) -> None:
    write(folder / "1_Pooling" / "config.json", {"embedding_dimension": 384, "pooling_mode": ["mean", "max"]})
    model = read(folder)
    assert (model.dimension, model.is_plain) == (768, False)


def test_further_modules_need_sentence_transformers(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(2, {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    write(folder / "modules.json", modules)
    assert (read(folder).is_plain, read(folder).other_modules) == (False, ("Dense",))


def test_names_of_modules_in_the_newest_format(folder: Path) -> None:
    base = "sentence_transformers.base.modules.transformer.Transformer"
    pooling = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
    write(folder / "modules.json", [{"path": "", "type": base}, {"path": "1_Pooling", "type": pooling}])
    assert (read(folder).is_plain, read(folder).normalises) == (True, False)


def test_a_transformer_in_its_own_folder(folder: Path) -> None:
    inner = folder / "0_Transformer"
    inner.mkdir()
    for file in [*folder.glob("*config.json"), folder / "tokenizer.json", folder / "model.safetensors"]:
        file.rename(inner / file.name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    write(folder / "modules.json", modules)
    model = read(folder)
    assert (model.max_tokens, model.weights) == (256, inner / "model.safetensors")


@pytest.mark.parametrize(
    ("settings", "tokenizer", "config", "expected"),
    [
        ({"max_seq_length": 128}, {"model_max_length": 512}, {}, 128),
        ({"transformer_task": "feature-extraction"}, {"model_max_length": 300}, {}, 300),
        ({}, {"model_max_length": 10**30}, {}, 512),
        ({}, {}, {"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"max_seq_length": 9999}, {}, {}, 512),
    ],
)
def test_the_window(
    folder: Path, settings: dict[str, Any], tokenizer: dict[str, Any], config: dict[str, Any], expected: int
) -> None:
    write(folder / "sentence_bert_config.json", settings)
    write(folder / "tokenizer_config.json", tokenizer)
    write(folder / "config.json", {**json.loads((folder / "config.json").read_text()), **config})
    assert read(folder).max_tokens == expected


@pytest.mark.parametrize(
    ("content", "query", "passage"),
    [
        ({"prompts": {"query": "query: ", "passage": "passage: "}}, "query: ", "passage: "),
        ({"prompts": {"query": "Represent this: "}, "default_prompt_name": None}, "Represent this: ", ""),
        ({"prompts": {"sts": "same: "}, "default_prompt_name": "sts"}, "same: ", "same: "),
        ({"prompts": {"query": "", "document": ""}}, "", ""),
        ({"__version__": {}}, "", ""),
    ],
)
def test_prompts(folder: Path, content: dict[str, Any], query: str, passage: str) -> None:
    write(folder / "config_sentence_transformers.json", content)
    assert (read(folder).query_prompt, read(folder).passage_prompt) == (query, passage)


def test_an_onnx_file_is_enough(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingRequirementError, match=r"model\.safetensors \(nor onnx/model\.onnx\)"):
        read(folder)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"x")
    assert read(folder).weights == read(folder).onnx == folder / "onnx" / "model.onnx"
