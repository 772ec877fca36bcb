"""What a check of one part of the program finds, with its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, how it stands and, where something is to be done, what."""

    check: str
    level: Level
    text: str
    remedy: str = ""
