"""The identity of a model: the hash of its weights, whichever engine runs it.

That suffices as long as a model is one folder that never changes, and the keys in all ledgers are made this way. But
two revisions on the hub may have the same weights and another tokenizer or pooling; their vectors must not be mixed. So
a download compares how a model reads texts (:func:`reading_hash`) with the first model of the same key, and extends the
key only if they differ. The commit is not part of the key: most commits change only a README, and vectors of an
hour's work would be computed again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.variants import RECIPE
from kbjobs.system.files import read_json, write_json


def weights_hash(folder: ModelFolder, cache_dir: Path) -> str:
    """Return the sha256 that identifies the model's weights, in hex: the file's own, or the one in the model's note.

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
    with suppress(OSError):  # a failure only means hashing again next time
        write_json(note, {**state, "sha256": digest})
    return digest


def file_hash(file: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def model_key(folder: ModelFolder, weights: str) -> str:
    """Return the key of a model's vectors, safe as a folder name.

    ``all-MiniLM-L6-v2-53aa51172d14``; that of the 8-bit variant ends with ``-int8`` and the number of its recipe.
    """
    parts = [folder.slug, weights[:12], *([folder.variant] if folder.variant else [])]
    return "-".join([*parts, f"int8.{RECIPE}"] if folder.is_int8 else parts)


def reading_hash(folder: ModelFolder) -> str:
    """Hash what determines a passage's vector besides the weights: tokenizer, pooling, prompt.

    The window is not included, since passages are cut to fit it. The hash has 8 digits in hex.

    Raises:
        OSError: the tokenizer cannot be read.
    """
    parts = (file_hash(folder.tokenizer_file), folder.pooling, folder.passage_prompt, str(folder.lowers_case))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
