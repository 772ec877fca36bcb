"""Transfer a model to a node that lacks it: from this machine, file by file, verified, once per node."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from kbjobs.config.home import Home
from kbjobs.embedding.identity import file_hash, model_key, weights_hash
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.references import describe_reading
from kbjobs.errors import KbjobsError

PART_BYTES = 4 * 1024 * 1024
# Configuration, vocabularies and weights. Never pickles, since loading them runs code, nor other files of a hub's
# cache.
_SUFFIXES = frozenset({".json", ".txt", ".model", ".safetensors"})


@dataclass(frozen=True)
class Parcel:
    """A model as a list of its files, independent of its path on any node."""

    folder: ModelFolder
    key: str
    reading: dict[str, object]
    """From :func:`kbjobs.embedding.references.describe_reading`: what determines its vectors in addition to the
    weights."""
    files: tuple[tuple[str, int, str], ...]
    """Name in the folder, bytes and sha256 of each file."""

    @property
    def digest(self) -> str:
        """Identifies all of its content."""
        lines = "\n".join(f"{name} {size} {sha}" for name, size, sha in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size, _ in self.files)

    def place_in(self, folder: Path) -> ModelFolder:
        """Describe the model with its files in ``folder``."""
        own = self.folder

        def move(file: Path) -> Path:
            return folder / file.relative_to(own.path)

        return replace(
            own,
            path=folder,
            tokenizer_file=move(own.tokenizer_file),
            weights=move(own.weights),
            onnx=None if own.onnx is None else move(own.onnx),
        )


def pack_model(folder: ModelFolder, cache_dir: Path) -> Parcel:
    """List a model's files with their hashes; hashing takes a second per GB."""
    wanted = {file for file in folder.path.rglob("*") if file.suffix in _SUFFIXES and file.is_file()}
    if folder.onnx is not None:
        beside = folder.onnx.with_name(f"{folder.onnx.name}_data")
        wanted |= {file for file in (folder.onnx, beside) if file.is_file()}
    files = sorted((file.relative_to(folder.path).as_posix(), file) for file in wanted)
    return Parcel(
        folder,
        model_key(folder, weights_hash(folder, cache_dir)),
        describe_reading(folder),
        tuple((name, file.stat().st_size, file_hash(file)) for name, file in files),
    )


def read_parts(parcel: Parcel) -> Iterator[tuple[str, bytes]]:
    """Yield the content of all files, in order, as a file's name and some of its bytes."""
    for name, _, _ in parcel.files:
        with (parcel.folder.path / name).open("rb") as stream:
            part = stream.read(PART_BYTES)
            yield name, part
            while part := stream.read(PART_BYTES):
                yield name, part


class Reception:
    """The node's side: finds the model, or receives it below ``cluster/`` of the node's own home."""

    def __init__(self, parcel: Parcel, home: Home) -> None:
        self._parcel = parcel
        self._home = home
        self._place = home.path / "cluster" / f"{parcel.folder.slug}-{parcel.digest[:16]}"
        self._unfinished = self._place.with_name(f"{self._place.name}.part")
        self._lock = FileLock(self._place.with_name(f"{self._place.name}.lock"), mode=0o600)

    def find(self) -> ModelFolder | None:
        """Find the model if the node has it: among its own models, or received earlier."""
        try:
            own = find_model(self._parcel.folder.name, self._home.models)
            key = model_key(own, weights_hash(own, self._home.engines))
            if key == self._parcel.key and describe_reading(own) == self._parcel.reading:
                return own
        except (KbjobsError, OSError):
            pass  # it has no model of that name, or a damaged one
        return self._parcel.place_in(self._place) if self._place.is_dir() else None

    def begin(self) -> ModelFolder | None:
        """Prepare to receive parts, once no other process of the node does so.

        Returns the model if another process has received it, else None.
        """
        self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock.acquire()
        found = self.find()
        if found is not None:
            self._lock.release()
            return found
        shutil.rmtree(self._unfinished, ignore_errors=True)  # left by a killed transfer
        self._unfinished.mkdir(mode=0o700)
        return None

    def take(self, name: str, part: bytes) -> None:
        """Write the next part of a file."""
        file = self._unfinished / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file.open("ab") as stream:
            stream.write(part)

    def finish(self) -> ModelFolder:
        """Compare all hashes and rename the folder into its place. Raises KbjobsError if a file differs."""
        try:
            for name, _, sha in self._parcel.files:
                if file_hash(self._unfinished / name) != sha:
                    raise KbjobsError(
                        f"{name} of {self._parcel.folder.name} arrived damaged",
                        "Check the disk of that node and that nobody changes the model here, then kbjobs resume JOB.",
                    )
            self._unfinished.rename(self._place)
        finally:
            shutil.rmtree(self._unfinished, ignore_errors=True)
            self._lock.release()
        return self._parcel.place_in(self._place)
