"""The demo, as a newcomer runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home
from tests.commands.conftest import check_help
from tests.conftest import ROOT, Kbjobs


@pytest.mark.processes
@pytest.mark.usefixtures("minilm")
def test_the_demo_indexes_and_searches(
    kbjobs: Kbjobs, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    shown = kbjobs("demo")
    assert "completed" in shown.stdout
    assert shown.stdout.count("$ kbjobs search") == 3
    for words in ("Boiling water", "Keeping warm", "Stopping severe bleeding"):
        assert words in shown.stdout
    assert not home.state_file.exists()  # it has a home of its own
    assert f"A temporary home: {tmp_path}/kbjobs-demo-" in shown.stderr
    assert not list(tmp_path.glob("kbjobs-demo-*"))


def test_the_example_pages_are_packaged() -> None:
    """Every folder of example pages is named in pyproject.toml: data files are not found by themselves."""
    declared = (ROOT / "pyproject.toml").read_text()
    pages = ROOT / "examples" / "sources" / "preparedness"
    for folder in [pages, *[entry for entry in pages.iterdir() if entry.is_dir()]]:
        assert f'"{folder.relative_to(ROOT)}/*' in declared
    assert len([page for page in pages.rglob("*") if page.suffix in (".html", ".md", ".txt")]) >= 12


def test_a_demo_without_pages_says_so(kbjobs: Kbjobs, tmp_path: Path) -> None:
    assert "kbjobs demo --source PATH" in kbjobs("demo", "--source", tmp_path / "nowhere", check=4).stderr


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "demo")
