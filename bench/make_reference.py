"""Make the reference vectors of a model that is on this machine: ``kbjobs/embedding/references/``.

    python bench/make_reference.py all-MiniLM-L6-v2
    python bench/make_reference.py all-mpnet-base-v2 --models ~/.local/share/kbjobs/models

To be run with the published weights only: what is made here is what everybody's engines are compared with.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

from kbjobs.embedding.identity import weights_hash
from kbjobs.embedding.model_catalogue import find_known, find_model
from kbjobs.embedding.parity import PARITY_TEXTS
from kbjobs.embedding.references import FOLDER, describe_reading
from kbjobs.embedding.sentence_transformers_engine import SentenceTransformersEmbedder
from kbjobs.system.files import read_json, write_json


def main() -> None:
    """Embed the parity set and write the vectors with their row of the index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="a model that kbjobs knows by name")
    parser.add_argument("--models", type=Path, default=Path("models"), help="a folder of models, as in the home")
    options = parser.parse_args()
    folder = find_model(options.name, options.models.absolute())
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as cache:
        weights = weights_hash(folder, Path(cache))
    known = find_known(folder.name)
    if known is None or known.weights_sha256 != weights:
        sys.exit(f"the weights in {folder.path} are not the published ones of {options.name}: {weights}")
    embedder = SentenceTransformersEmbedder(folder, "", device="cpu")
    np.save(FOLDER / f"{weights[:12]}.npy", embedder.embed(PARITY_TEXTS))
    made_with = {name: version(name) for name in ("sentence-transformers", "torch", "transformers")}
    row = {"model": folder.name, **describe_reading(folder), "made_with": made_with}
    write_json(FOLDER / "index.json", {**(read_json(FOLDER / "index.json") or {}), weights: row})
    print(f"{folder.name}: {len(PARITY_TEXTS)} vectors of dimension {folder.dimension} in {FOLDER}")


if __name__ == "__main__":
    main()
