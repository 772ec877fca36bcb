"""Reference vectors shipped with kbjobs, so that a known model can be checked without torch.

``references/README.md`` says how they were made, ``references/index.json`` for which models.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kbjobs.embedding.identity import reading_hash
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.parity import PARITY_SET, PARITY_TEXTS
from kbjobs.system.files import read_json

log = logging.getLogger(__name__)

FOLDER = Path(__file__).with_name("references")


def describe_reading(folder: ModelFolder) -> dict[str, object]:
    """Describe what determines the vectors of the parity set besides the weights; values are JSON's.

    Raises:
        OSError: the tokenizer cannot be read.
    """
    return {"parity_set": PARITY_SET, "reading": reading_hash(folder), "window": folder.max_tokens}


def find_reference(folder: ModelFolder, weights: str) -> NDArray[np.float32] | None:
    """Find the vectors of the parity set that sentence-transformers gave for a model.

    Args:
        folder: the model.
        weights: the sha256 that identifies its weights, in hex.

    Returns:
        Shape (24, dimension), rows of length 1; None if there are none for the model, its tokenizer or its window.
    """
    entry = (read_json(FOLDER / "index.json") or {}).get(weights)
    if entry is None:
        return None
    if {key: entry.get(key) for key in ("parity_set", "reading", "window")} != describe_reading(folder):
        log.info("%s reads texts otherwise than the published model: its reference vectors do not serve", folder.name)
        return None
    reference = np.load(FOLDER / f"{weights[:12]}.npy").astype(np.float32)
    return reference if reference.shape == (len(PARITY_TEXTS), folder.dimension) else None
