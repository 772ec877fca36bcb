"""What a shell offers at the tab key."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kbjobs.commands import _completion
from kbjobs.config.home import Home
from tests.conftest import Kbjobs


def complete(shell: str, line: str) -> list[str]:
    """The words that the program offers to a shell for the last word of the line, which may be empty."""
    words = line.split(" ")
    variables = {
        "_KBJOBS_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    shown = subprocess.run(
        [sys.executable, "-c", "from kbjobs.cli import main; main()"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    text = shown.stdout.replace("_arguments '*: :((", "").replace("))'", "").replace('"', "")
    return [line.partition("\t")[0].partition("\\:")[0].partition(":")[0] for line in text.split("\n") if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_offered_sources(shell: str, source: str, kbjobs: Kbjobs) -> None:
    assert complete(shell, "kbjobs run index-offline ") == [source]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("kbjobs sources ver", ["verify"]),
        ("kbjobs run pine", ["pinecone-sync", "pinecone-sync-dry"]),
        ("kbjobs chain generate_o", ["generate_offline"]),
        ("kbjobs models show all-M", ["all-MiniLM-L6-v2"]),
        ("kbjobs run index-offline x --engine op", ["openvino"]),
        ("kbjobs config set packs.t", ["packs.to"]),
        ("kbjobs config show packs.t", ["packs.to"]),
    ],
)
def test_commands_types_chains_models_and_settings(line: str, offered: list[str], home: Home) -> None:
    assert complete("bash", line) == offered


def test_jobs_are_offered_by_their_ids(source: str, kbjobs: Kbjobs) -> None:
    kbjobs("run", "steps", source, "--quiet")
    assert _completion.complete_jobs("") == [("1", "steps a completed")]
    assert _completion.complete_jobs("2") == []


COMPLETERS = [getattr(_completion, name) for name in dir(_completion) if name.startswith("complete_")]


@pytest.mark.parametrize("completer", [one for one in COMPLETERS if one is not _completion.complete_choices])
def test_a_home_that_is_missing_or_broken_says_nothing(
    completer: Callable[[str], object],
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    home.state_file.write_bytes(b"no database")
    home.config_file.write_text("no toml")
    assert isinstance(completer(""), list)
    monkeypatch.setenv("KBJOBS_HOME", str(tmp_path / "nowhere"))
    assert isinstance(completer(""), list)
    assert not (tmp_path / "nowhere").exists()
    assert capfd.readouterr() == ("", "")
