"""The files that are made once for each model and kept: reference vectors, and the OpenVINO IR.

They are in ``<cache>/<model_key>/prepared/`` with a manifest of sizes and hashes. The folder is built next to its place
and renamed, so that it is whole or absent. The builder holds the model's lock.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbjobs.embedding.convert import IR_FILE, REFERENCE_FILE, WAYS, ConversionService, NotConvertible
from kbjobs.embedding.engines import check_runnable, has_openvino, has_torch, why_not_built
from kbjobs.embedding.identity import file_hash
from kbjobs.embedding.int8_gate import LEAST_COSINE, LEAST_MEAN, LEAST_NEIGHBOURS, Closeness
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.onnxruntime_engine import OnnxRuntimeEmbedder
from kbjobs.embedding.openvino_engine import OpenVinoEmbedder
from kbjobs.embedding.parity import PARITY_SET, PARITY_TEXTS
from kbjobs.embedding.references import find_reference
from kbjobs.embedding.sentence_transformers_engine import OFFLINE_ENVIRONMENT
from kbjobs.embedding.token_embedder import TokenEmbedder
from kbjobs.errors import KbjobsError, MissingRequirementError
from kbjobs.system.child_process import ChildError, ChildLimits, ChildLost, ChildProcess, ChildProgram
from kbjobs.system.files import read_json, write_json

log = logging.getLogger(__name__)

_FORMAT = 2  # 2: weights in fp16, half the memory; the parity check covers it
_MANIFEST = "manifest.json"
_BUILDING = ".building-"
_LIMITS = ChildLimits(wait=1800.0)  # a large model on a slow disk takes one minute
_SENTENCE_TRANSFORMERS = "sentence-transformers"
_CONVERSION = ChildProgram(
    f"{ConversionService.__module__}:{ConversionService.__name__}",
    memory=None,
    variables=tuple(OFFLINE_ENVIRONMENT.items()),
    is_heard=True,
)


class NotConvertibleError(KbjobsError):
    """OpenVINO cannot run this type of model in any way."""


class InexactVariantError(MissingRequirementError):
    """The 8-bit variant of this model is too far from the exact model to be used."""

    def __init__(self, folder: ModelFolder, closeness: Closeness) -> None:
        super().__init__(
            f"{folder.name} is not close enough to {folder.exact_name}: {closeness.describe()}",
            f"Use {folder.exact_name} itself. Required are {LEAST_COSINE}, {LEAST_MEAN} and {LEAST_NEIGHBOURS}.",
        )


@dataclass(frozen=True)
class PreparedModel:
    """What the light engines need in addition to the model's own folder."""

    ir: Path | None
    """The file that OpenVINO loads; it maps the weights, while loading the model's ONNX file would copy them into
    memory. None if OpenVINO is not installed or does not support the model."""
    reference: NDArray[np.float32]
    """Vectors of the parity set, shape (24, dimension), rows of length 1."""
    reference_engine: str
    reference_seconds: float = 0.0
    """How long a light engine took for them; 0 if sentence-transformers made them."""
    is_built: bool = False
    """Whether kbjobs built the IR's graph itself."""
    closeness: Closeness | None = None
    """How close an 8-bit variant is to the exact model."""


def read_prepared(folder: ModelFolder, weights: str, model_dir: Path) -> PreparedModel | None:
    """Read what was prepared for a model earlier.

    Args:
        folder: the model.
        weights: the sha256 of its weights.
        model_dir: its folder in the cache.

    Returns:
        None if nothing was prepared, the files are damaged, or they were made for another model or version.
    """
    prepared = model_dir / "prepared"
    manifest = read_json(prepared / _MANIFEST)
    if manifest is None or manifest.get("made_for") != _made_for(folder, weights):
        return None
    try:
        files = dict(manifest["files"])
        if not all(_is_whole(prepared / name, entry) for name, entry in files.items()):
            log.warning("the cache %s is damaged and is made again", prepared)
            return None
        reference = np.load(prepared / REFERENCE_FILE)
        if reference.shape != (len(PARITY_TEXTS), folder.dimension):
            return None
        ir = prepared / IR_FILE if IR_FILE in files else None
        seconds = float(manifest.get("reference_seconds", 0.0))
        is_built = manifest.get("ir_made_by") == "graph"  # older versions converted, and recorded nothing
        closeness = Closeness.from_json(manifest["closeness"]) if folder.is_int8 else None
        return PreparedModel(ir, reference, str(manifest["reference_engine"]), seconds, is_built, closeness)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prepare(folder: ModelFolder, weights: str, model_dir: Path, *, by_torch: bool = False) -> PreparedModel:
    """Prepare a model for the light engines, replacing what was prepared. The caller holds the model's lock.

    Args:
        folder: the model.
        weights: the sha256 of its weights.
        model_dir: its folder in the cache.
        by_torch: whether to convert only with torch, because the graph that kbjobs builds gave other vectors.

    Raises:
        MissingRequirementError: nothing installed can prepare the model, or its 8-bit variant is not close enough.
        NotConvertibleError: OpenVINO does not support this type of model.
        KbjobsError: the conversion failed, e.g. for lack of memory or disk.
    """
    discard_prepared(model_dir)
    building = Path(tempfile.mkdtemp(dir=model_dir, prefix=_BUILDING))
    try:
        closeness = _make_int8(folder, building) if folder.is_int8 else None
        way = "int8" if closeness else _make_ir(folder, building, by_torch)
        reference_engine, seconds = _make_reference(folder, weights, building, way)
        names = sorted(file.name for file in building.iterdir())
        write_json(
            building / _MANIFEST,
            {
                "made_for": _made_for(folder, weights),
                "ir_made_by": way,
                "reference_engine": reference_engine,
                "reference_seconds": round(seconds, 3),
                "closeness": closeness and closeness.as_json(),
                "files": {name: _describe(building / name) for name in names},
            },
        )
        building.rename(model_dir / "prepared")
    finally:
        shutil.rmtree(building, ignore_errors=True)
    made = read_prepared(folder, weights, model_dir)
    if made is None:
        raise KbjobsError(f"the files prepared for {folder.name} in {model_dir} cannot be read back")
    return made


def discard_prepared(model_dir: Path) -> None:
    """Remove all files that were prepared, compiled, or left half-built by a killed process."""
    for folder in (*model_dir.glob(f"{_BUILDING}*"), model_dir / "prepared", model_dir / "compiled"):
        shutil.rmtree(folder, ignore_errors=True)


def _make_ir(folder: ModelFolder, building: Path, by_torch: bool) -> str | None:
    """Write the IR in the first way that works, and return that way; None if only ONNX Runtime remains."""
    reason = None
    for way in WAYS[-1:] if by_torch else WAYS:
        if not _is_open(way, folder):
            continue
        try:
            _run_conversion(folder, building, way, has_reference=way == "torch")
        except NotConvertibleError as error:
            log.warning("%s has no OpenVINO model by way of %s: %s", folder.name, way, error.message)
            reason = error
        else:
            return way
    if folder.onnx is None:
        if reason is not None:
            raise reason
        check_runnable(folder)
    return None


def _make_int8(folder: ModelFolder, building: Path) -> Closeness:
    """Write the IR of the 8-bit variant. Raises InexactVariantError if its vectors are too far from the exact ones."""
    log.info("making %s, which happens once: calibrated, then compared with %s", folder.name, folder.exact_name)
    closeness = Closeness.from_json(_ask(folder, "quantize", folder.name, folder.path, building))
    log.info("%s: %s", folder.name, closeness.describe())
    if not closeness.passes:
        raise InexactVariantError(folder, closeness)
    return closeness


def _is_open(way: str, folder: ModelFolder) -> bool:
    """Whether a way to an IR can be tried."""
    if not has_openvino():
        return False
    if way == "onnx":
        return folder.onnx is not None
    if way == "torch":
        return folder.has_safetensors and has_torch()
    reason = why_not_built(folder)
    if reason and folder.has_safetensors:
        log.info("the graph of %s is converted, not built: %s", folder.name, reason)
    return not reason


def _make_reference(folder: ModelFolder, weights: str, building: Path, way: str | None) -> tuple[str, float]:
    """Write the reference vectors; return what made them, and the seconds that a light engine took for them.

    The vectors shipped with kbjobs are best. A built graph is compared with the model's own ONNX file, or else with
    itself in float32. A converted one is compared with sentence-transformers if that is installed and the weights are
    here as safetensors; an ONNX file alone is compared with itself.
    """
    file = building / REFERENCE_FILE
    if way != "int8" and (published := find_reference(folder, weights)) is not None:
        np.save(file, published)
        return _SENTENCE_TRANSFORMERS, 0.0
    if way not in ("graph", "int8") and has_torch() and folder.has_safetensors:
        if way != "torch":
            _run_conversion(folder, building, None, has_reference=True)
        return _SENTENCE_TRANSFORMERS, 0.0
    embedder: TokenEmbedder
    if way == "int8":  # its vectors are its own; what they have to be close to has been judged
        embedder = OpenVinoEmbedder(folder, "", building / IR_FILE, "int8", None)
    elif folder.onnx is not None:
        embedder = OnnxRuntimeEmbedder(folder, "")
    else:
        embedder = OpenVinoEmbedder(folder, "", building / IR_FILE, "f32", None)
    start = time.perf_counter()
    np.save(file, embedder.embed(PARITY_TEXTS))
    seconds = time.perf_counter() - start
    embedder.close()
    return embedder.engine, seconds


def _run_conversion(folder: ModelFolder, building: Path, way: str | None, has_reference: bool) -> None:
    log.info("preparing %s for this machine, which happens once: %s", folder.name, way or "reference vectors")
    _ask(folder, "convert", folder.name, folder.path, building, way, has_reference)


def _ask(folder: ModelFolder, method: str, *arguments: object) -> Any:
    """Have a method of :class:`ConversionService` do its work, in a process of its own."""
    child = ChildProcess(_CONVERSION, "the process that converts it")
    try:
        return child.ask(method, *arguments, limits=_LIMITS)
    except ChildError as error:
        if error.kind == NotConvertible.__name__:
            raise NotConvertibleError(error.message) from error
        raise KbjobsError(f"converting {folder.name} failed: {error}") from error
    except ChildLost as loss:
        raise KbjobsError(f"converting {folder.name} failed: {loss.reason}") from loss
    finally:
        child.stop()


def _made_for(folder: ModelFolder, weights: str) -> dict[str, object]:
    return {
        "format": _FORMAT,
        "weights": weights,
        "parity_set": PARITY_SET,
        "from_onnx": folder.onnx is not None,
        "for_openvino": has_openvino(),
        "window": folder.max_tokens,
        "prompt": folder.passage_prompt,
    }


def _describe(file: Path) -> dict[str, object]:
    stat = file.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": file_hash(file)}


def _is_whole(file: Path, entry: dict[str, object]) -> bool:
    """Whether a file is unchanged; it is hashed only if its modification time has changed."""
    stat = file.stat()
    if stat.st_size != entry["size"]:
        return False
    return stat.st_mtime_ns == entry["mtime_ns"] or file_hash(file) == entry["sha256"]
