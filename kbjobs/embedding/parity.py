"""Check that an engine gives the same vectors as sentence-transformers.

The reference embeds a fixed set of passages of many lengths and kinds once, in float32; every candidate, and every
later start, is compared with these vectors.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kbjobs.embedding.embedder import Embedder

MINIMUM_COSINE = 0.999
"""Below this an engine is not used (bf16 reaches 0.9999, int8 0.85 to 0.99)."""

_PROSE = (
    "The lighthouse keeper wrote down wind, tide and passing ships every evening for forty years.",
    "Bread dough rises because yeast turns sugar into carbon dioxide, which gluten holds in bubbles.",
    "A glacier moves a few metres a year; the ice at its bottom flows like a slow river.",
    "To restore a backup, stop the service, copy the archive back, check its sum and start it again.",
    "The committee postponed its decision on the bridge until the piers had been measured.",
    "Violins are tuned in fifths, and the wood of the top plate decides much of what a listener hears.",
    "When a process is killed, the kernel closes its files and frees its locks; nobody writes its last line.",
    "Migrating birds steer by the sun, by the stars and by the magnetic field of the earth.",
    "The recipe asks for two cups of flour, a pinch of salt, three eggs and patience.",
    "Interest compounds: what is earned this year earns something itself in the next.",
    "In the northern valleys the apple trees blossom late, and a single night of frost can end the harvest.",
    "An index is useful only if it is kept up to date; a stale one answers quickly and wrongly.",
)

PARITY_TEXTS: tuple[str, ...] = (
    "How do I restore a backup?",
    "lighthouse",
    "",
    "7",
    "ok",
    "What does error 0x80070005 (E_ACCESSDENIED) mean?",
    "https://example.org/wiki/Main_Page?action=edit&section=3#History",
    "def area(r: float) -> float:\n    return 3.14159 * r ** 2  # not the place for tau",
    "SELECT id, title FROM documents WHERE changed_at > '2024-01-31' ORDER BY id LIMIT 50;",
    "| year | rain (mm) | sun (h) |\n|---|---|---|\n| 2021 | 812 | 1,540 |\n| 2022 | 604 | 1,873 |",
    "Où est passée la clé ? Sur l'étagère, à côté du café crème.",
    "Die Größe der Straßenbahn überrascht jeden, der sie zum ersten Mal sieht.",
    "Где находится библиотека и до которого часа она открыта?",
    "図書館は朝九時に開きます。",
    "مكتبة المدينة مفتوحة حتى المساء",
    "party time 🎉🎉 see you at 8 🚀",
    "   many     spaces\t\tand\n\n\nempty lines   ",
    "AAAA BBBB CCCC DDDD AAAA BBBB CCCC DDDD AAAA BBBB CCCC DDDD",
    "pneumonoultramicroscopicsilicovolcanoconiosis and antidisestablishmentarianism",
    _PROSE[0],
    " ".join(_PROSE[1:4]),
    " ".join(_PROSE[4:10]),
    " ".join(_PROSE),
    " ".join(_PROSE[::-1]) + "\n\n" + " ".join(_PROSE[::2] + _PROSE[1::2]) + "\n\n" + " ".join(_PROSE * 2),
)
"""From an empty text to about 1,100 tokens, more than most windows hold."""

PARITY_SET = hashlib.sha256("\x00".join(PARITY_TEXTS).encode()).hexdigest()[:16]
"""Changes when the passages change, since reference vectors of another set are useless."""


@dataclass(frozen=True)
class Parity:
    """How close an engine's vectors are to the reference, as cosines."""

    minimum: float
    mean: float

    @property
    def holds(self) -> bool:
        """Whether the engine may be used."""
        return self.minimum >= MINIMUM_COSINE


def compare(vectors: NDArray[np.float32], reference: NDArray[np.float32]) -> Parity:
    """Compare two sets of vectors of length 1, row by row."""
    cosines = np.einsum("ij,ij->i", vectors.astype(np.float64), reference.astype(np.float64))
    return Parity(float(cosines.min()), float(cosines.mean()))


def agrees(embedder: Embedder, reference: NDArray[np.float32]) -> bool:
    """Compare one short passage, at each start, to catch a damaged file that still loads."""
    return compare(embedder.embed(PARITY_TEXTS[:1]), reference[:1]).holds
