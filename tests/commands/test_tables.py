"""Lists of sources, settings and findings on terminals of several widths: a line a row, whatever their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.sources import SourceFields, register
from tests.commands.conftest import OpenTerminal
from tests.conftest import Kbjobs, write_pages
from tests.tools.screen import Screen, cells, find_column

WIDTHS = [60, 80, 120]
NAMES = ["Wiki", "می\u200cخواهم بدانم", "日本語の記事 集まり", "\U0001f98a नमस्ते 👨\u200d👩\u200d👧", "a long name " * 7]
IDS = ["wiki", "fa", "ja", "fox", "a" * 60]


@pytest.fixture
def sources(home: Home, tmp_path: Path) -> Path:
    """Sources with names of many scripts, in a folder with a long name."""
    folder = write_pages(tmp_path / "日本語 folder" / ("a-" * 30) / "pages", 2)
    for source_id, name in zip(IDS, NAMES, strict=True):
        register(home, source_id, [folder], SourceFields(name))
    return folder


def lines_of(shown: str, columns: int) -> list[str]:
    screen = Screen(columns).write(shown)
    assert not screen.wrapped
    return [line for line in screen.lines if line]


@pytest.mark.processes
@pytest.mark.parametrize("columns", WIDTHS)
def test_sources_are_one_line_each(sources: Path, terminal: OpenTerminal, columns: int) -> None:
    shown = terminal("sources", "list", columns=columns)
    assert shown.end() == 0
    header, *rows = lines_of(shown.output, columns)
    assert header.split() == ["SOURCE", "NAME", "DOCUMENTS", "MODELS", "PATHS"]
    assert sorted(row.split()[0].rstrip("…")[:7] for row in rows) == sorted(name[:7] for name in IDS)
    assert {find_column(row, "not inde"[: 7 if columns < 80 else 8]) for row in rows} == {find_column(header, "MODELS")}
    assert all(row.endswith("/pages") and "…" in row and cells(row) == columns for row in rows)
    assert [NAMES[0] in row for row in rows].count(True) == 1


@pytest.mark.processes
@pytest.mark.parametrize("columns", WIDTHS)
def test_settings_are_one_line_each(
    home: Home, terminal: OpenTerminal, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_SCRAPE_CONTACT", "日本語の記事 " * 9)
    home.prepare()
    home.config_file.write_text("workers = 4\n")
    shown = terminal("config", "show", columns=columns)
    assert shown.end() == 0
    header, *rows, footer = lines_of(shown.output, columns)
    assert header.split() == ["SETTING", "VALUE", "FROM", "MEANING"]
    assert footer == "kbjobs config show NAME shows a setting in full."
    named = {row.split()[0]: row for row in rows}
    assert len(named) == len(rows) and "cloud.instance_credentials" in named
    for name, origin in (("workers", "config"), ("scrape_contact", "enviro"), ("nice", "default")):
        assert find_column(named[name], origin) == find_column(header, "FROM"), name
    assert "…" in named["scrape_contact"]


@pytest.mark.processes
def test_one_setting_is_shown_in_full(home: Home, terminal: OpenTerminal, kbjobs: Kbjobs) -> None:
    shown = terminal("config", "show", "pinecone.price", columns=60)
    assert shown.end() == 0
    said = " ".join(" ".join(lines_of(shown.output, 60)).split())
    assert "an account may pay otherwise" in said and "…" not in said
    [line] = kbjobs("config", "show", "nice").stdout.splitlines()
    assert line.split("\t")[:3] == ["nice", "0", "default"]
    refused = kbjobs("config", "show", "nicer", check=2)
    assert "kbjobs config show" in refused.stderr


@pytest.mark.processes
@pytest.mark.parametrize("columns", WIDTHS)
def test_findings_are_one_line_each_and_remedies_are_whole(
    home: Home, terminal: OpenTerminal, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_MODEL", "all-mpnet-base-v2")
    shown = terminal("doctor", columns=columns)
    assert shown.end() == 1
    screen = Screen(columns).write(shown.output)
    assert not screen.wrapped
    header, *lines = screen.lines
    assert header.split() == ["LEVEL", "CHECK", "FINDING"]
    table = lines[: lines.index("")]
    [settings] = [line for line in table if "all are valid" in line]
    assert find_column(settings, "settings") == find_column(header, "CHECK")
    assert find_column(settings, "all are valid") == find_column(header, "FINDING")
    told = " ".join(" ".join(lines[len(table) :]).split())
    assert "✗ problem model: the model all-mpnet-base-v2 is not on this machine" in told
    assert "kbjobs models download all-mpnet-base-v2" in told
    assert "…" not in told


def test_off_a_terminal_fields_are_separated_by_tabs(sources: Path, kbjobs: Kbjobs) -> None:
    listed = [line.split("\t") for line in kbjobs("sources", "list").stdout.splitlines()]
    assert {(row[0], row[1].strip()) for row in listed} == {
        (source_id, name.strip()) for source_id, name in zip(IDS, NAMES, strict=True)
    }
    assert {tuple(row[2:]) for row in listed} == {("0", "not indexed", str(sources))}
    assert "settings\tall are valid" in kbjobs("doctor", check=None).stdout
    assert all(len(line.split("\t")) == 4 for line in kbjobs("config", "show").stdout.splitlines())
