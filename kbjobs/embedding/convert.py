"""``python -m kbjobs.embedding.convert``: the one step that needs torch, in a process of its own.

Writes the reference vectors of the parity set, and the transformer as OpenVINO IR if asked to, into a
folder that the caller renames when this has succeeded. Runs beside nothing: the worker that waits for
it never imports torch, and if that worker dies, this ends too.
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

from kbjobs.embedding.model_folder import ModelFolder, read_model_folder
from kbjobs.embedding.openvino_engine import import_openvino
from kbjobs.embedding.parity import PARITY_TEXTS
from kbjobs.embedding.sentence_transformers_engine import SentenceTransformersEmbedder

EXIT_NOT_CONVERTIBLE = 3
"""OpenVINO cannot convert this model; trying again would give the same."""

REFERENCE_FILE = "reference.npy"
IR_FILE = "model.xml"


def main() -> int:
    """Read the arguments, embed the parity set, convert. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kbjobs.embedding.convert", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path, help="an existing folder to write into")
    parser.add_argument("--ir", action="store_true", help="also convert the transformer")
    arguments = parser.parse_args()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = read_model_folder(arguments.name, arguments.folder, "")
    embedder = SentenceTransformersEmbedder(folder, "", device="cpu")
    np.save(arguments.target / REFERENCE_FILE, embedder.embed(PARITY_TEXTS))
    if arguments.ir:
        return _convert(embedder.transformer, folder, arguments.target)
    return 0


def _end_with_parent() -> None:
    """Wait for the other end of the standard input to be closed, which a dead parent does too."""
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    os._exit(1)


def _convert(transformer: Any, folder: ModelFolder, target: Path) -> int:
    import torch

    class HiddenState(torch.nn.Module):  # type: ignore[misc]
        """The transformer reduced to its last hidden state."""

        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    openvino = import_openvino()
    # Tokens other than padding, in a batch whose sides differ: the traced graph keeps both open.
    ids = torch.full((2, 8), folder.pad_token_id + 5, dtype=torch.int64)
    example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    warnings.simplefilter("ignore")
    try:
        with torch.no_grad():
            model = openvino.convert_model(HiddenState().eval(), example_input=example)
    except Exception as error:  # noqa: BLE001  (openvino raises many kinds)
        sys.stderr.write(f"openvino cannot convert {folder.name}: {error}\n")
        return EXIT_NOT_CONVERTIBLE
    openvino.save_model(model, str(target / IR_FILE), compress_to_fp16=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
