"""What a model is: the hash of its weights, whichever engine runs it."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.store.atomic_file import read_json, write_json


def weights_hash(folder: ModelFolder, cache_dir: Path) -> str:
    """Return the sha256 of the model's weights file, in hex.

    The result is kept in ``cache_dir/weights/`` for as long as the file's path, size and modification
    time stay the same, because hashing a large model takes up to a second.

    Raises:
        OSError: the weights cannot be read.
    """
    file = folder.weights.resolve()
    stat = file.stat()
    state = {"path": str(file), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    path_hash = hashlib.sha256(str(file).encode()).hexdigest()[:16]
    note = cache_dir / "weights" / f"{path_hash}.json"
    known = read_json(note)
    if known is not None:
        digest = known.pop("sha256", "")
        if known == state and isinstance(digest, str) and len(digest) == 64:
            return digest
    digest = file_hash(file)
    with suppress(OSError):  # it is only hashed again next time
        write_json(note, {**state, "sha256": digest})
    return digest


def file_hash(file: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def model_key(folder: ModelFolder, weights: str) -> str:
    """Return the key of a model's vectors, safe as a folder name: ``all-MiniLM-L6-v2-53aa51172d14``."""
    return f"{folder.slug}-{weights[:12]}"
