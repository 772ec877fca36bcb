"""The language detector's model, as files that are mapped into memory.

py3langid 0.4 has its model as an LZMA archive of 4.6 MB. Unpacking it takes 0.4 s and 100 MB of memory in each process
that reads documents. Its tables, unpacked once into a folder, are mapped in a few milliseconds, and shared.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from py3langid.langid import LanguageIdentifier

FORMAT = 1
"""The format of the files, in the folder's name beside the package's version."""

MIN_FREE = 1 << 30
"""Bytes that must be free on a disk onto which 100 MB are put for speed alone."""

_REST = "rest.json"
_TABLES = ("ptc", "pc", "nextmove", "row", "output")


def load_identifier(cache: Path | None) -> LanguageIdentifier:
    """Load the detector.

    Args:
        cache: a folder for the unpacked tables, which are written there the first time; None to unpack them in memory,
            as is done too if they cannot be written, or if the disk is nearly full.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    if cache is not None:
        folder = cache / f"languages-{version('py3langid')}-{FORMAT}"
        with suppress(OSError, ValueError, KeyError):
            return _map(folder)
        with suppress(OSError, ValueError, KeyError):
            cache.mkdir(mode=0o700, parents=True, exist_ok=True)
            if shutil.disk_usage(cache).free > MIN_FREE:
                _unpack(folder)
                return _map(folder)
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.nb_ptc = _widen(identifier.nb_ptc)
    return identifier


def _widen(table: NDArray[np.float16]) -> NDArray[np.float32]:
    """The table in single precision: converting it for each text takes half of the time. The answers are the same."""
    return table.astype("<f4")


def _unpack(folder: Path) -> None:
    """Write the tables into a folder, which appears as a whole."""
    import numpy as np
    from py3langid.langid import MODEL_DIR, MODEL_FILE
    from py3langid.modelio import load_model

    ptc, pc, classes, nextmove, row, output = load_model(MODEL_DIR / MODEL_FILE)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        tables = (_widen(ptc), pc, np.asarray(nextmove), np.asarray(row), np.asarray(output, dtype=np.int32))
        for name, table in zip(_TABLES, tables, strict=True):
            with (building / f"{name}.npy").open("wb") as file:
                np.save(file, table)
        sizes = {name: (building / f"{name}.npy").stat().st_size for name in _TABLES}
        (building / _REST).write_text(json.dumps({"classes": classes, "sizes": sizes}), encoding="utf-8")
        if folder.exists():  # damaged, since it was not mapped
            shutil.rmtree(folder)
        with suppress(FileExistsError):  # another process was quicker
            building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _map(folder: Path) -> LanguageIdentifier:
    """Map the tables of a folder. Raises OSError, ValueError or KeyError if they are missing, cut or damaged."""
    import numpy as np
    from py3langid.langid import LanguageIdentifier

    rest = json.loads((folder / _REST).read_text(encoding="utf-8"))
    tables = {}
    for name in _TABLES:
        path = folder / f"{name}.npy"
        if path.stat().st_size != rest["sizes"][name]:
            raise ValueError(f"{path} is cut")
        tables[name] = np.load(path, mmap_mode="r", allow_pickle=False)
    # The automaton is walked in Python: indexing a view is four times as fast as indexing an array of numpy.
    return LanguageIdentifier(
        np.asarray(tables["ptc"]), np.asarray(tables["pc"]), rest["classes"], memoryview(tables["nextmove"]),
        tables["output"].tolist(), norm_probs=True, tk_row=tables["row"].tolist(),
    )  # fmt: skip
