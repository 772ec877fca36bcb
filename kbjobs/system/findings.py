"""The findings of a check of one part of the program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: its name, its level, a text and, if there is something to do, a remedy."""

    check: str
    level: Level
    text: str
    remedy: str = ""
