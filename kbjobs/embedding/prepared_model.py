"""The files made once for each model and kept: reference vectors, and the OpenVINO IR.

They lie in ``<cache>/<model_key>/prepared/`` with a manifest of sizes and hashes. The folder is built
beside and renamed, so that it is whole or not there. Whoever builds holds the model's lock.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kbjobs.embedding.convert import EXIT_NOT_CONVERTIBLE, IR_FILE, REFERENCE_FILE
from kbjobs.embedding.engines import has_openvino, has_torch
from kbjobs.embedding.identity import file_hash
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.onnxruntime_engine import OnnxRuntimeEmbedder
from kbjobs.embedding.parity import PARITY_SET, PARITY_TEXTS
from kbjobs.embedding.sentence_transformers_engine import OFFLINE_ENVIRONMENT
from kbjobs.errors import KbjobsError, MissingRequirementError
from kbjobs.store.atomic_file import read_json, write_json

log = logging.getLogger(__name__)

_FORMAT = 2  # 2: weights in fp16, half the memory; the parity check covers it
_MANIFEST = "manifest.json"
_BUILDING = ".building-"
_LONGEST_CONVERSION = 1800.0  # seconds; a large model on a slow disk takes one minute


class NotConvertibleError(KbjobsError):
    """OpenVINO cannot convert this kind of model."""


@dataclass(frozen=True)
class PreparedModel:
    """What the light engines need beside the model's own folder."""

    ir: Path | None
    """What OpenVINO loads (it maps the weights, which the model's ONNX file would copy into memory);
    None if OpenVINO is not installed or does not know the model."""
    reference: NDArray[np.float32]
    """Vectors of the parity set, shape (24, dimension), rows of length 1."""
    reference_engine: str
    reference_seconds: float = 0.0
    """How long a light engine took for them; 0 where sentence-transformers made them."""


def read_prepared(folder: ModelFolder, weights: str, model_dir: Path) -> PreparedModel | None:
    """Return what was prepared earlier; None if it is missing, torn, or made for something else."""
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
        return PreparedModel(ir, reference, str(manifest["reference_engine"]), seconds)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prepare(folder: ModelFolder, weights: str, model_dir: Path) -> PreparedModel:
    """Make the files anew. The caller holds the model's lock.

    Raises:
        MissingRequirementError: neither torch is installed nor does the model ship an ONNX file.
        NotConvertibleError: OpenVINO does not know this kind of model.
        KbjobsError: the conversion failed, e.g. for lack of memory or disk.
    """
    discard_prepared(model_dir)
    building = Path(tempfile.mkdtemp(dir=model_dir, prefix=_BUILDING))
    try:
        reference_engine, seconds = _fill(folder, building)
        names = sorted(file.name for file in building.iterdir())
        write_json(
            building / _MANIFEST,
            {
                "made_for": _made_for(folder, weights),
                "reference_engine": reference_engine,
                "reference_seconds": round(seconds, 3),
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
    """Remove what was prepared, compiled, or left half-built by a process that was killed."""
    for folder in (*model_dir.glob(f"{_BUILDING}*"), model_dir / "prepared", model_dir / "compiled"):
        shutil.rmtree(folder, ignore_errors=True)


def _fill(folder: ModelFolder, building: Path) -> tuple[str, float]:
    """Write the files; return what made the reference vectors, and the seconds that a light engine took for them."""
    # Where the folder has the weights themselves, they are the measure; an ONNX file alone is its own, without torch.
    with_torch = has_torch() and folder.has_safetensors
    if not has_torch() and folder.onnx is None:
        raise MissingRequirementError(
            f"the model {folder.name} ships no ONNX file, and sentence-transformers, which could convert it, "
            "is not installed",
            'pip install "kbjobs[torch]"',
        )
    steps = ["--reference"] * with_torch + ["--ir"] * has_openvino()
    if steps:
        try:
            _run_conversion(folder, building, steps)
        except NotConvertibleError as error:
            if folder.onnx is None:
                raise
            log.warning("%s runs without OpenVINO: %s", folder.name, error.message)
    if with_torch:
        return "sentence-transformers", 0.0
    embedder = OnnxRuntimeEmbedder(folder, "")
    start = time.perf_counter()
    np.save(building / REFERENCE_FILE, embedder.embed(PARITY_TEXTS))
    seconds = time.perf_counter() - start
    embedder.close()
    return embedder.engine, seconds


def _run_conversion(folder: ModelFolder, building: Path, steps: list[str]) -> None:
    command = [sys.executable, "-m", "kbjobs.embedding.convert", folder.name, str(folder.path), str(building)]
    command += steps
    log.info("preparing %s for this machine; this happens once and takes 10 to 60 s", folder.name)
    home = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(part for part in (home, os.environ.get("PYTHONPATH")) if part)
    # The pipe on its standard input tells the child when this process is gone.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **OFFLINE_ENVIRONMENT, "PYTHONPATH": search_path},
        text=True,
        errors="replace",
    ) as process:
        try:
            code, messages = _wait(process)
        except BaseException:
            process.kill()
            raise
    if code == 0:
        return
    last_lines = "\n".join(messages.strip().splitlines()[-5:])
    if code == EXIT_NOT_CONVERTIBLE:
        raise NotConvertibleError(last_lines)
    raise KbjobsError(f"converting {folder.name} failed with exit code {code}: {last_lines}")


def _wait(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Read the error messages to their end, without closing the child's standard input before."""
    import threading

    timer = threading.Timer(_LONGEST_CONVERSION, process.kill)
    timer.start()
    try:
        messages = process.stderr.read() if process.stderr else ""
        return process.wait(), messages
    finally:
        timer.cancel()


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
    """Whether a file is as it was written; it is hashed only if its modification time has changed."""
    stat = file.stat()
    if stat.st_size != entry["size"]:
        return False
    return stat.st_mtime_ns == entry["mtime_ns"] or file_hash(file) == entry["sha256"]
