"""Questions are asked on a terminal, and the answer counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.sources import register
from kbjobs.store.sources import SourceFolder
from tests.commands.conftest import OpenTerminal, Terminal
from tests.conftest import wait_until, write_pages


def wait_for_reading(shown: Terminal) -> None:
    """Until the process sleeps: a signal between the question and the reading of the answer would be missed."""
    state = Path(f"/proc/{shown.process.pid}/stat")
    wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "S")


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
    shown.read_until(r"Go on\? \[y/N\]: ")
    wait_for_reading(shown)
    shown.type(answer)
    assert shown.end() == code
    assert SourceFolder(home.sources, "x").manifest.exists() == (code == 0)


@pytest.mark.parametrize(("answer", "code"), [(b"x\n", 0), (b"y\n", 2), (b"\n", 2), (b"\x03", 130)])
def test_a_source_is_deleted_where_its_id_is_typed(
    home: Home, tmp_path: Path, terminal: OpenTerminal, answer: bytes, code: int
) -> None:
    register(home, "x", [write_pages(tmp_path / "pages", 1)], copy=True)
    shown = terminal("sources", "remove", "x")
    shown.read_until(r"Type x to delete it: ")
    wait_for_reading(shown)
    asked = " ".join(shown.text.split())
    assert "x: 0 documents, 0 vectors and 3 files, 0.0 MB, are to be deleted for good." in asked
    shown.type(answer)
    assert shown.end() == code
    assert SourceFolder(home.sources, "x").manifest.exists() == (code != 0)
