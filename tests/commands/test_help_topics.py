"""``kbjobs help``: pages and symptoms of the documentation in the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.services import help_pages
from tests.commands.conftest import OpenTerminal, check_help
from tests.conftest import Kbjobs, read_json


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "help")


def test_every_page_and_every_symptom_is_a_topic_of_its_own(kbjobs: Kbjobs) -> None:
    topics = read_json(kbjobs("help", "--json"))
    slugs = [topic["topic"] for topic in topics]
    assert len(slugs) == len(set(slugs)) > 60
    assert {"tutorial", "howto/zim", "troubleshooting", "the-disk-is-full"} <= set(slugs)
    assert not any("contributing" in slug for slug in slugs)
    for topic in topics:
        assert read_json(kbjobs("help", topic["topic"], "--json")) == [topic]


def test_a_symptom_is_found_by_words_of_its_title(kbjobs: Kbjobs) -> None:
    shown = kbjobs("help", "Disk", "full").stdout
    assert shown.startswith("### The disk is full\n")
    several = kbjobs("help", "pack")
    assert len(several.stdout.splitlines()) > 3 and "kbjobs help TOPIC" in several.stderr


def test_a_typo_is_answered_with_the_nearest_topic(kbjobs: Kbjobs) -> None:
    assert "Did you mean kbjobs help the-disk-is-full?" in kbjobs("help", "the-disc-is-full", check=4).stderr
    assert "kbjobs help lists all topics" in kbjobs("help", "xyzzy", check=4).stderr


def test_a_page_is_formatted_on_a_terminal(terminal: OpenTerminal) -> None:
    shown = terminal("help", "the-disk-is-full")
    assert shown.end() == 0
    assert "The disk is full" in shown.text and "###" not in shown.text
    assert max(map(len, shown.text.splitlines())) <= 80


def test_an_installation_without_pages_says_so(kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(help_pages, "find_shipped", lambda name, in_repository: tmp_path)
    assert "Install kbjobs again" in kbjobs("help", check=4).stderr
