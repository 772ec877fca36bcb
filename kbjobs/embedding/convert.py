"""Prepare models in a process of its own, since that needs torch or much memory.

It writes, as asked, the transformer as OpenVINO IR, built, converted or in eight bits, and reference vectors of the
parity set, into a folder that the caller renames on success. The waiting worker never imports torch.
"""

from __future__ import annotations

import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from kbjobs.embedding.graph import build_graph
from kbjobs.embedding.int8_gate import judge, read_calibration, read_held_back
from kbjobs.embedding.model_folder import ModelFolder, read_model_folder
from kbjobs.embedding.openvino_engine import OpenVinoEmbedder, import_openvino
from kbjobs.embedding.parity import PARITY_TEXTS
from kbjobs.embedding.quantization import build_quantized
from kbjobs.embedding.sentence_transformers_engine import SentenceTransformersEmbedder

WAYS = ("graph", "onnx", "torch")
"""The ways to make the IR, the best one first."""

REFERENCE_FILE = "reference.npy"
IR_FILE = "model.xml"
_EXACT_FILE = "exact.xml"


class NotConvertible(Exception):
    """The model cannot be built, or OpenVINO cannot convert it; trying again would change nothing."""


class ConversionService:
    """The service that runs in that process."""

    def convert(self, name: str, path: Path, target: Path, way: str | None, has_reference: bool) -> None:
        """Convert a model for OpenVINO, and on request embed the parity set with sentence-transformers.

        Args:
            name: the model's name.
            path: its folder.
            target: the folder that the files are written to.
            way: one of :data:`WAYS`; None to convert nothing.
            has_reference: whether to write the vectors of the parity set.

        Raises:
            NotConvertible: the model cannot be built or converted this way.
        """
        folder = read_model_folder(name, path, "")
        needs_torch = has_reference or way == "torch"
        embedder = SentenceTransformersEmbedder(folder, "", device="cpu") if needs_torch else None
        if embedder is not None and has_reference:
            np.save(target / REFERENCE_FILE, embedder.embed(PARITY_TEXTS))
        if way is None:
            return
        openvino = import_openvino()
        try:
            if embedder is not None and way == "torch":
                model = _trace(embedder.transformer, folder, openvino)
            elif way == "onnx":
                model = openvino.Core().read_model(str(folder.onnx))
            else:
                model = build_graph(folder)
        except Exception as error:  # openvino raises many types
            raise NotConvertible(str(error)) from error
        openvino.save_model(model, str(target / IR_FILE), compress_to_fp16=True)

    def quantize(self, name: str, path: Path, target: Path) -> dict[str, float]:
        """Make the 8-bit variant of a model, and compare its vectors with the exact ones.

        Args:
            name: the model's name.
            path: its folder.
            target: the folder that the files are written to.

        Returns:
            The figures of :class:`kbjobs.embedding.int8_gate.Closeness`.

        Raises:
            NotConvertible: the model's graph cannot be built.
        """
        folder = read_model_folder(name, path, "")
        openvino = import_openvino()
        exact = target / _EXACT_FILE
        try:
            openvino.save_model(
                build_quantized(folder, read_calibration()), str(target / IR_FILE), compress_to_fp16=True
            )
            openvino.save_model(build_graph(folder), str(exact), compress_to_fp16=False)
        except Exception as error:  # openvino raises many types
            raise NotConvertible(str(error)) from error
        vectors = []
        for file, precision in ((target / IR_FILE, "int8"), (exact, "f32")):
            with closing(OpenVinoEmbedder(folder, "", file, precision, None)) as embedder:
                vectors.append(embedder.embed(read_held_back()))
        exact.unlink()
        exact.with_suffix(".bin").unlink()
        return judge(*vectors).as_json()


def _trace(transformer: Any, folder: ModelFolder, openvino: Any) -> Any:
    """Convert a torch transformer; batch size and length stay dynamic."""
    import torch

    class HiddenState(torch.nn.Module):  # type: ignore[misc]
        """The transformer reduced to its last hidden state."""

        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    # Tokens other than padding, in a batch whose dimensions differ.
    ids = torch.full((2, 8), folder.pad_token_id + 5, dtype=torch.int64)
    example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    warnings.simplefilter("ignore")
    with torch.no_grad():
        return openvino.convert_model(HiddenState().eval(), example_input=example)
