"""What kbjobs keeps with the files of a model that it has downloaded: where they came from, and what they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from kbjobs.system.files import read_json, write_json

NOTE_FILE = "kbjobs-model.json"


@dataclass(frozen=True)
class ModelNote:
    """Where a model came from. All are texts; hashes are in hex."""

    hub_id: str
    """``organisation/name`` on the hub."""
    revision: str
    """Branch, tag or commit, as it was asked for."""
    commit: str
    """What the revision was when it was fetched."""
    licence: str
    """As the hub tells it; empty where it tells none."""
    weights_sha256: str
    """Of the weights file that is here."""
    identity: str
    """What stands for the weights in the key of the vectors: their sha256, or that of the same weights in another form,
    so that a model has one key whether it came as safetensors or as ONNX."""
    variant: str
    """Added to the key; empty where the weights say enough (see :mod:`kbjobs.embedding.identity`)."""


def read_note(folder: Path) -> ModelNote | None:
    """The note in a model's folder; None if there is none that can be read: nobody has downloaded it here."""
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
