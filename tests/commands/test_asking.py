"""Questions are asked on a terminal, and the answer counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.settings import Home
from kbjobs.store.sources import SourceFolder
from tests.commands.conftest import OpenTerminal
from tests.conftest import write_pages


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 2), (b"\n", 2), (b"\x03", 130)])
def test_on_a_terminal_the_answer_counts(
    home: Home,
    tmp_path: Path,
    terminal: OpenTerminal,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
    code: int,
) -> None:
    monkeypatch.setenv("HOME", str(write_pages(tmp_path / "user", 1)))
    shown = terminal("sources", "add", "x", tmp_path / "user")
    shown.read_until(r"Go on\? \[y/N\]")
    shown.type(answer)
    assert shown.end() == code
    assert SourceFolder(home.sources, "x").manifest.exists() == (code == 0)
