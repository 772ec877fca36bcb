"""The engines by name, and which of them can run a model here. Cheap to import, since a submit does."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, get_args

from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.transformer_config import NotBuildableError, read_transformer
from kbjobs.errors import MissingRequirementError, UsageError

Engine = Literal["auto", "openvino", "onnxruntime", "sentence-transformers", "ray"]
"""The values of ``engine=`` and ``--engine``. ``auto`` is a GPU if there is one, else the best engine that passes;
``ray`` means ``auto`` on each node of a Ray cluster."""

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
    """Make the hint that names another engine: an option of index-offline, and the setting for everything."""
    return f'use --engine {engine} with index-offline, or the setting engine = "{engine}"'


def why_not_built(folder: ModelFolder, *, has_weights: bool = True) -> str:
    """Say why kbjobs cannot build a model's graph for OpenVINO itself, without torch; "" if it can.

    Args:
        folder: the model.
        has_weights: False if the weights, as safetensors, are not there yet.
    """
    try:
        read_transformer(folder, has_weights=has_weights)
    except NotBuildableError as error:
        return error.message
    return "" if has_openvino() else _NO_OPENVINO


def suggest_install(reason: str) -> str:
    """Make the hint that names the extra for a model, by the reason that :func:`why_not_built` gave."""
    return _install("fast" if reason == _NO_OPENVINO else "torch")


def check_runnable(folder: ModelFolder) -> None:
    """Check that an installed engine can run a model.

    Raises:
        MissingRequirementError: none can; the hint names the extra to install.
    """
    has_own_onnx = folder.is_plain and folder.onnx is not None
    if has_own_onnx or (has_torch() and folder.has_safetensors) or not (reason := why_not_built(folder)):
        return
    raise MissingRequirementError(
        f"no engine that is installed can run {folder.name}: {reason}", suggest_install(reason)
    )


def check_engine(engine: str, folder: ModelFolder) -> None:
    """Check that an engine is installed and can run this type of model; for ``auto`` any such engine will do.

    Raises:
        UsageError: there is no such engine, or it cannot run this model.
        MissingRequirementError: the engine's package is missing, or nothing can run the model's 8-bit variant.
    """
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}", f"Choose one of {', '.join(ENGINES)}.")
    if folder.is_int8:
        _check_int8(engine, folder)
        return
    if (engine == "sentence-transformers" and not has_torch()) or (engine == RAY and not has_ray()):
        extra = "ray" if engine == RAY else "torch"
        raise MissingRequirementError(f"the engine {engine} is not installed", _install(extra))
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


def _check_int8(engine: str, folder: ModelFolder) -> None:
    """Check that the 8-bit variant of a model can be made and run: OpenVINO does that alone, with a graph of ours."""
    if engine not in ("auto", "openvino"):
        raise UsageError(f"the engine {engine} cannot run {folder.name}", suggest_engine("auto"))
    kind = ", ".join(folder.other_modules) or ("" if folder.is_plain else f"{folder.pooling} pooling")
    reason = f"it has {kind}" if kind else why_not_built(folder)
    if reason == _NO_OPENVINO:
        raise MissingRequirementError(f"{folder.name} needs OpenVINO, which is not installed", _install("fast"))
    if reason:
        raise MissingRequirementError(
            f"there is no 8-bit variant of {folder.exact_name}: {reason}", f"Use {folder.exact_name} itself."
        )


def _install(extra: str) -> str:
    return f'pip install "kbjobs[{extra}]"'
