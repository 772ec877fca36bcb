"""Read a safetensors file with only numpy.

Format: 8 bytes little-endian length of the header, a JSON header with the type, shape and place of each tensor, then
the tensors without gaps (https://github.com/huggingface/safetensors). The header is read with the standard library.

The format's own package is not used: it refuses bfloat16, which numpy lacks, and it copies every tensor, while here
each one is a view of the mapped file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_HEADER = 100_000_000  # bytes; the format's own limit
FLOAT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
"""The number types that are read as float32, with the bytes of each."""


class DamagedWeightsError(ValueError):
    """The file does not match its header."""


@dataclass(frozen=True)
class StoredTensor:
    """The place of one tensor in the file."""

    kind: str
    """``F32``, ``F16``, ``BF16``, or another type of the format."""
    shape: tuple[int, ...]
    start: int
    """First byte, from the start of the file."""
    end: int


def read_header(file: Path) -> dict[str, StoredTensor]:
    """Read the list of a file's tensors, and check that they fill the file to its last byte.

    Raises:
        DamagedWeightsError: the file is torn, or is not a safetensors file.
        OSError: it cannot be read.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length >= min(size, _MAX_HEADER):
            raise DamagedWeightsError("it is not as long as its header says")
        text = stream.read(length)
    try:
        tensors = {name: _read_entry(one, 8 + length) for name, one in json.loads(text).items() if name[:2] != "__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedWeightsError(f"its header cannot be read: {error}") from error
    end = 8 + length
    for tensor in sorted(tensors.values(), key=lambda one: (one.start, one.end)):
        if tensor.start != end or tensor.end < end:
            raise DamagedWeightsError("its tensors do not follow one another")
        end = tensor.end
    if not tensors or end != size:
        raise DamagedWeightsError("it is not as long as its header says")
    for name, tensor in tensors.items():
        wanted = math.prod(tensor.shape) * FLOAT_BYTES.get(tensor.kind, 0)
        if tensor.kind in FLOAT_BYTES and tensor.end - tensor.start != wanted:
            raise DamagedWeightsError(f"the tensor {name} is not as long as its shape says")
    return tensors


def _read_entry(entry: Any, offset: int) -> StoredTensor:
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(type(number) is int and number >= 0 for number in (start, end, *shape)):
        raise ValueError("a place or a shape is no list of whole numbers")
    return StoredTensor(str(entry["dtype"]), shape, offset + start, offset + end)


class WeightsFile:
    """The tensors of a file, mapped into memory; unused ones are not read."""

    def __init__(self, file: Path, tensors: Mapping[str, StoredTensor]) -> None:
        """Map a file.

        Args:
            file: the file.
            tensors: its header, from :func:`read_header`.
        """
        import numpy as np

        self._tensors = tensors
        self._bytes = np.memmap(file, dtype=np.uint8, mode="c")  # OpenVINO cannot share read-only memory

    def read(self, name: str) -> NDArray[np.float32]:
        """Read a tensor as float32; without a copy if the file holds float32.

        Raises:
            KeyError: there is no such tensor, or its number type is not in :data:`FLOAT_BYTES`.
        """
        import numpy as np

        tensor = self._tensors[name]
        raw = self._bytes[tensor.start : tensor.end]
        numbers: NDArray[np.float32]
        match tensor.kind:
            case "F32":
                numbers = np.require(raw.view("<f4"), requirements="A")  # the file does not guarantee alignment
            case "F16":
                numbers = raw.view("<f2").astype(np.float32)
            case "BF16":  # the upper half of a float32
                numbers = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
            case other:
                raise KeyError(f"{name} holds numbers of the type {other}")
        return numbers.reshape(tensor.shape)
