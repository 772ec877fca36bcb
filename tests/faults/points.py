"""The named points of the code at which a test can kill the process."""

from __future__ import annotations

import re

from tests.conftest import ROOT

POINTS = tuple(
    dict.fromkeys(
        name
        for path in sorted((ROOT / "kbjobs").rglob("*.py"))
        for name in re.findall(r'crash_point\(\s*"([^"]+)"\s*\)', path.read_text())
    )
)
