"""``-h`` is one screen, ``--help`` is everything in groups, and a job type in the place of a command is understood."""

from __future__ import annotations

import pytest

from kbjobs.phases.registry import job_types
from tests.commands.conftest import OpenTerminal
from tests.commands.test_help import COMMANDS
from tests.conftest import Kbjobs

SCREEN = 24, 80


@pytest.mark.parametrize("names", [(), *COMMANDS], ids=lambda names: " ".join(names) or "kbjobs")
def test_the_short_help_fits_a_screen(names: tuple[str, ...], kbjobs: Kbjobs) -> None:
    shown = kbjobs(*names, "-h")
    lines = shown.stdout.splitlines()
    assert len(lines) < SCREEN[0] and max(map(len, lines)) <= SCREEN[1]  # the prompt needs a line, too
    assert lines[0].startswith(f"Usage: {' '.join(('kbjobs', *names))}")
    assert {"Example:", "Examples:"} & set(lines) and shown.stderr == ""
    assert shown.stdout.count("\n  -") <= 10


def test_the_short_help_prefers_what_matters(kbjobs: Kbjobs) -> None:
    shown = kbjobs("run", "index-offline", "-h").stdout
    assert all(option in shown for option in ("--model MODEL", "--until TIME", "--detach", "--json"))
    assert "--if-active" not in shown and "--if-active" in kbjobs("run", "index-offline", "--help").stdout


def test_everything_stands_in_groups(kbjobs: Kbjobs) -> None:
    shown = kbjobs("run", "index-offline", "--help").stdout
    titles = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Arguments:", "What:", "When:", "Limits:", "Output:", "General:", "Example:"]
    assert "2147483647" not in shown and "<=x<=" not in shown
    assert "onnxruntime, sentence-transformers" in " ".join(shown.split())


def test_job_types_stand_under_their_categories(kbjobs: Kbjobs) -> None:
    shown = kbjobs("run", "--help").stdout
    places = [
        shown.index(f"\n{title}:\n") for title in ("Content", "Indexing", "Maintenance", "Cloud", "Combined jobs")
    ]
    assert places == sorted(places)
    assert places[1] < shown.index("  index-offline ") < places[2]


@pytest.mark.parametrize("width", [60, 200])
def test_help_takes_the_width_of_the_terminal_up_to_a_limit(width: int, terminal: OpenTerminal) -> None:
    shown = terminal("run", "scrape", "--help", columns=width)
    assert shown.end() == 0
    longest = max(len(line) for line in shown.text.splitlines() if not line.startswith("  kbjobs "))  # to be copied
    assert min(width, 100) - 12 < longest <= min(width, 100)


@pytest.mark.parametrize("kind", [kind.command for kind in job_types()])
def test_a_job_type_without_run_is_understood(kind: str, kbjobs: Kbjobs) -> None:
    refused = kbjobs(kind, "wiki", "--until", "06:00 x", check=2)
    assert f"Did you mean kbjobs run {kind} wiki --until '06:00 x'?" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("index wiki", "index-offline wiki"),
        ("index_online wiki", "index-online wiki"),
        ("indx-offline wiki", "index-offline wiki"),
        ("reindex wiki", "reindex-offline wiki"),
        ("generate-source wiki", "generate-source wiki"),
        ("download wiki", "install-source wiki"),
        ("pinecone wiki", "pinecone-sync wiki"),
    ],
)
def test_a_part_of_a_name_or_an_old_one_is_understood(written: str, meant: str, kbjobs: Kbjobs) -> None:
    assert f"Did you mean kbjobs run {meant}?" in kbjobs(*written.split(), check=2).stderr


def test_a_command_is_suggested_before_a_job_type(kbjobs: Kbjobs) -> None:
    for written, meant in (("statsu", "status"), ("source", "sources"), ("model", "models"), ("serch", "search")):
        assert f"'{meant}'" in kbjobs(written, check=2).stderr
    assert "run" not in kbjobs("xyzzy", check=2).stderr


def test_what_is_repeated_cannot_steer_a_terminal(kbjobs: Kbjobs) -> None:
    assert "\x1b" not in kbjobs("index-offline", "a\x1b]0;title\x07", check=2).stderr
