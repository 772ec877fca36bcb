"""What a model is: the hash of its weights, whichever engine runs it.

That says enough as long as a model is one folder that never changes, and the keys of all ledgers are made so. Two
revisions on the hub may have the same weights, though, and another tokenizer or pooling: their vectors must not be
mixed. So a download compares how a model reads texts (:func:`reading_hash`) with how the model of the same key did that
was here first; only where that differs its key gets an addition. The commit itself is no part of the key: most differ
in nothing but a README, and the vectors of an hour's work would be computed again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.system.files import read_json, write_json


def weights_hash(folder: ModelFolder, cache_dir: Path) -> str:
    """Return the sha256 that stands for the model's weights, in hex: that of the weights file, or the one noted for it.

    The result is kept in ``cache_dir/weights/`` for as long as the file's path, size and modification
    time stay the same, because hashing a large model takes up to a second.

    Raises:
        OSError: the weights cannot be read.
    """
    digest = _cached_hash(folder.weights.resolve(), cache_dir)
    note = folder.note
    return note.identity if note is not None and note.weights_sha256 == digest else digest


def _cached_hash(file: Path, cache_dir: Path) -> str:
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
    return f"{folder.slug}-{weights[:12]}" + (f"-{folder.variant}" if folder.variant else "")


def reading_hash(folder: ModelFolder) -> str:
    """What, in addition to the weights, makes the vector of a passage: tokenizer, pooling, prompt; 8 digits in hex.

    The window is no part of it: passages are cut so that they fit.

    Raises:
        OSError: the tokenizer cannot be read.
    """
    parts = (file_hash(folder.tokenizer_file), folder.pooling, folder.passage_prompt, str(folder.lowers_case))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
