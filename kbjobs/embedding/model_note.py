"""The note in a downloaded model's folder: where the model came from, and what identifies it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from kbjobs.system.files import read_json, write_json

NOTE_FILE = "kbjobs-model.json"


@dataclass(frozen=True)
class ModelNote:
    """Origin and identity of a model. All fields are texts; hashes are in hex."""

    hub_id: str
    """``organisation/name`` on the hub."""
    revision: str
    """Branch, tag or commit, as requested."""
    commit: str
    """The commit of the revision when it was fetched."""
    licence: str
    """As the hub says; empty if it names none."""
    weights_sha256: str
    """Of the weights file that was fetched."""
    identity: str
    """Identifies the weights in the key of the vectors: their sha256, or the sha256 of the same weights in another
    format, so that a model has one key whether it came as safetensors or as ONNX."""
    variant: str
    """Added to the key; empty if the weights suffice (see :mod:`kbjobs.embedding.identity`)."""


def read_note(folder: Path) -> ModelNote | None:
    """Read the note in a model's folder; None if there is no readable one, since kbjobs did not download the model."""
    content = read_json(folder / NOTE_FILE)
    if content is None:
        return None
    try:
        return ModelNote(**{name: str(content[name]) for name in ModelNote.__dataclass_fields__})
    except KeyError:
        return None


def write_note(folder: Path, note: ModelNote) -> None:
    """Write the note, whole or not at all. Raises OSError."""
    write_json(folder / NOTE_FILE, asdict(note))
