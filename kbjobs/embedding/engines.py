"""The engines by name, and whether one can run a model here. Light: a submit asks before it queues a job."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, get_args

from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.transformer_config import NotBuildableError, read_transformer
from kbjobs.errors import MissingRequirementError, UsageError

Engine = Literal["auto", "openvino", "onnxruntime", "sentence-transformers", "ray"]
"""What ``engine=`` and ``--engine`` may be. ``auto`` is a GPU where there is one, else the best that passes;
``ray`` is that on each node of a Ray cluster."""

RAY = "ray"

ENGINES: tuple[str, ...] = get_args(Engine)

_NO_OPENVINO = "openvino is not installed"


def has_torch() -> bool:
    """Whether sentence-transformers is installed (it is not imported)."""
    return find_spec("torch") is not None and find_spec("sentence_transformers") is not None


def has_openvino() -> bool:
    """Whether openvino is installed (it is not imported)."""
    return find_spec("openvino") is not None


def has_ray() -> bool:
    """Whether ray is installed (it is not imported)."""
    return find_spec("ray") is not None


def suggest_engine(engine: str) -> str:
    """The hint that names another engine: as an option of index-offline, as a setting for all that embeds."""
    return f'use --engine {engine} with index-offline, or the setting engine = "{engine}"'


def why_not_built(folder: ModelFolder, *, has_weights: bool = True) -> str:
    """Why kbjobs cannot build a model's graph for OpenVINO itself, without torch; empty if it can.

    Args:
        folder: the model.
        has_weights: False: the weights are yet to come, as safetensors.
    """
    try:
        read_transformer(folder, has_weights=has_weights)
    except NotBuildableError as error:
        return error.message
    return "" if has_openvino() else _NO_OPENVINO


def suggest_install(reason: str) -> str:
    """The hint that names the extra for a model that is not built, by the reason of :func:`why_not_built`."""
    return _install("fast" if reason == _NO_OPENVINO else "torch")


def check_runnable(folder: ModelFolder) -> None:
    """Check that something that is installed may run a model.

    Raises:
        MissingRequirementError: nothing is; the hint is the extra that would.
    """
    has_own_onnx = folder.is_plain and folder.onnx is not None
    if has_own_onnx or (has_torch() and folder.has_safetensors) or not (reason := why_not_built(folder)):
        return
    raise MissingRequirementError(
        f"no engine that is installed can run {folder.name}: {reason}", suggest_install(reason)
    )


def check_engine(engine: str, folder: ModelFolder) -> None:
    """Check that an engine is installed and of the kind that can run a model; for ``auto``, that any is.

    Raises:
        UsageError: there is no such engine, or it cannot run this model.
        MissingRequirementError: the engine's package is missing.
    """
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}", f"Choose one of {', '.join(ENGINES)}.")
    if engine == "sentence-transformers" and not has_torch():
        raise MissingRequirementError("the engine sentence-transformers is not installed", _install("torch"))
    if engine == RAY and not has_ray():
        raise MissingRequirementError("the engine ray is not installed", _install("ray"))
    if engine in ("auto", RAY):
        check_runnable(folder)
    if engine in ("auto", RAY, "sentence-transformers"):
        return
    if not folder.is_plain:
        kind = ", ".join(folder.other_modules) or f"{folder.pooling} pooling"
        raise UsageError(
            f"the engine {engine} cannot run {folder.name}, which has {kind}",
            suggest_engine("sentence-transformers"),
        )
    if engine == "openvino" and not has_openvino():
        raise MissingRequirementError("the engine openvino is not installed", _install("fast"))
    if engine == "openvino":
        check_runnable(folder)
    if engine == "onnxruntime" and folder.onnx is None:
        raise UsageError(
            f"the engine onnxruntime cannot run {folder.name}, which ships no onnx/model.onnx",
            suggest_engine("auto"),
        )


def _install(extra: str) -> str:
    return f'pip install "kbjobs[{extra}]"'
