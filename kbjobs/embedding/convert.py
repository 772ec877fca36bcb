"""``python -m kbjobs.embedding.convert``: what needs torch or much memory, in a process of its own.

Writes the transformer as OpenVINO IR, built or converted, and reference vectors of the parity set, as asked, into a
folder that the caller renames when this has succeeded. The worker that waits for it never imports
torch, and if that worker dies, this ends too.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from kbjobs.embedding.graph import build_graph
from kbjobs.embedding.model_folder import ModelFolder, read_model_folder
from kbjobs.embedding.openvino_engine import import_openvino
from kbjobs.embedding.parity import PARITY_TEXTS
from kbjobs.embedding.sentence_transformers_engine import SentenceTransformersEmbedder

EXIT_NOT_CONVERTIBLE = 3
"""The model cannot be built, or OpenVINO cannot convert it; trying again would give the same."""

WAYS = ("graph", "onnx", "torch")
"""How the IR can be made, the best way first."""

REFERENCE_FILE = "reference.npy"
IR_FILE = "model.xml"


def main() -> int:
    """Read the arguments, embed the parity set, make the IR. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kbjobs.embedding.convert", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path, help="an existing folder to write into")
    parser.add_argument("--reference", action="store_true", help="embed the parity set with sentence-transformers")
    parser.add_argument("--ir", choices=WAYS, help="how to make the IR: of the weights, the ONNX file, or by torch")
    arguments = parser.parse_args()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = read_model_folder(arguments.name, arguments.folder, "")
    needs_torch = arguments.reference or arguments.ir == "torch"
    embedder = SentenceTransformersEmbedder(folder, "", device="cpu") if needs_torch else None
    if embedder is not None and arguments.reference:
        np.save(arguments.target / REFERENCE_FILE, embedder.embed(PARITY_TEXTS))
    if arguments.ir is None:
        return 0
    openvino = import_openvino()
    try:
        if embedder is not None and arguments.ir == "torch":
            model = _trace(embedder.transformer, folder, openvino)
        elif arguments.ir == "onnx":
            model = openvino.Core().read_model(str(folder.onnx))
        else:
            model = build_graph(folder)
    except Exception as error:  # noqa: BLE001  (openvino raises many kinds)
        sys.stderr.write(f"{error}\n")
        return EXIT_NOT_CONVERTIBLE
    openvino.save_model(model, str(arguments.target / IR_FILE), compress_to_fp16=True)
    return 0


def _end_with_parent() -> None:
    """Wait for the other end of the standard input to be closed, which a dead parent does too."""
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    os._exit(1)


def _trace(transformer: Any, folder: ModelFolder, openvino: Any) -> Any:
    """Convert a torch transformer; batch and length stay open."""
    import torch

    class HiddenState(torch.nn.Module):  # type: ignore[misc]
        """The transformer reduced to its last hidden state."""

        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    # Tokens other than padding, in a batch whose sides differ.
    ids = torch.full((2, 8), folder.pad_token_id + 5, dtype=torch.int64)
    example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    warnings.simplefilter("ignore")
    with torch.no_grad():
        return openvino.convert_model(HiddenState().eval(), example_input=example)


if __name__ == "__main__":
    sys.exit(main())
