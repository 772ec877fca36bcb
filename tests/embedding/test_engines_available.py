"""Whether an engine can run a model here, as a submit asks it; and the dimensions there are models for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kbjobs.config.registry import SETTINGS
from kbjobs.embedding import engines
from kbjobs.embedding.dimensions import DIMENSIONS, LOCAL_DIMENSIONS, list_dimensions
from kbjobs.embedding.engines import ENGINES, check_engine
from kbjobs.embedding.model_catalogue import KNOWN_MODELS, find_model
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.errors import KbjobsError, MissingRequirementError, UsageError

from .conftest import MINILM


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return find_model(MINILM, tmp_path)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extras."""
    monkeypatch.setattr(engines, "find_spec", lambda name: None)


@pytest.mark.parametrize(
    "engine",
    ["auto", "openvino", pytest.param("sentence-transformers", marks=[pytest.mark.full, pytest.mark.torch])],
)
def test_what_is_installed_runs_the_packaged_model(folder: ModelFolder, engine: str) -> None:
    check_engine(engine, folder)


def test_a_model_with_an_onnx_file_runs_in_onnxruntime(folder: ModelFolder, tmp_path: Path) -> None:
    check_engine("onnxruntime", replace(folder, onnx=tmp_path / "model.onnx"))


@pytest.mark.parametrize(
    ("engine", "error", "words", "hint"),
    [
        ("openvno", UsageError, "there is no engine 'openvno'", ", ".join(ENGINES)),
        ("onnxruntime", UsageError, "ships no onnx/model.onnx", "--engine auto"),
    ],
)
def test_what_cannot_run_it_is_told(
    folder: ModelFolder, engine: str, error: type[KbjobsError], words: str, hint: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        check_engine(engine, folder)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("engine", "extra"), [("openvino", "fast"), ("sentence-transformers", "torch"), ("ray", "ray")]
)
def test_a_missing_extra_is_told_with_its_command(folder: ModelFolder, bare: None, engine: str, extra: str) -> None:
    with pytest.raises(MissingRequirementError, match=f"the engine {engine} is not installed") as caught:
        check_engine(engine, folder)
    assert caught.value.hint == f'pip install "kbjobs[{extra}]"'


def test_auto_needs_any_engine(folder: ModelFolder, bare: None, tmp_path: Path) -> None:
    with pytest.raises(MissingRequirementError, match=f"can run {MINILM}: openvino is not installed") as caught:
        check_engine("auto", folder)
    assert caught.value.hint == 'pip install "kbjobs[fast]"'
    check_engine("auto", replace(folder, onnx=tmp_path / "model.onnx"))


def test_a_model_that_openvino_cannot_take_without_torch(
    folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window is longer than its positions: a model of another kind than its configuration says."""
    monkeypatch.setattr(engines, "has_torch", lambda: False)
    other = replace(folder, max_tokens=513)
    for engine in ("auto", "openvino"):
        with pytest.raises(MissingRequirementError, match="needs more than 512 positions"):
            check_engine(engine, other)
        check_engine(engine, replace(other, onnx=tmp_path / "model.onnx"))


def test_auto_needs_torch_for_a_model_of_another_kind(folder: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_torch", lambda: False)
    check_engine("auto", folder)
    with pytest.raises(MissingRequirementError, match="more than a transformer") as caught:
        check_engine("auto", replace(folder, other_modules=("Dense",)))
    assert caught.value.hint == 'pip install "kbjobs[torch]"'


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_model_of_another_kind_needs_sentence_transformers(
    folder: ModelFolder, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(folder, other_modules=("Dense",))
    with pytest.raises(UsageError, match=f"the engine {engine} cannot run {MINILM}, which has Dense") as caught:
        check_engine(engine, other)
    assert "--engine sentence-transformers" in caught.value.hint
    monkeypatch.setattr(engines, "has_torch", lambda: True)
    check_engine("sentence-transformers", other)


def test_asking_loads_no_engine() -> None:
    code = (
        "import sys; from kbjobs.embedding import dimensions, engines\n"
        "heavy = {'torch', 'openvino', 'sentence_transformers', 'numpy'}\n"
        "print(engines.has_openvino(), engines.has_torch() in (True, False), *(heavy & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "True True\n"


def test_the_dimensions_are_those_of_the_known_models_and_of_the_settings() -> None:
    assert {model.dimension for model in KNOWN_MODELS} == set(LOCAL_DIMENSIONS)
    assert {*LOCAL_DIMENSIONS, 1536} == set(DIMENSIONS)
    assert {setting.name for setting in SETTINGS if setting.name.startswith("model_")} == {
        f"model_{dimension}" for dimension in LOCAL_DIMENSIONS
    }
    assert list_dimensions(DIMENSIONS) == "384, 768, 1024 or 1536"
    assert list_dimensions((384, 768)) == "384 or 768"
