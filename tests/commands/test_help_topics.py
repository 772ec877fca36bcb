"""``kbjobs help``: pages and symptoms of the documentation in the terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services import help_pages
from tests.commands.conftest import OpenTerminal, check_help
from tests.conftest import Kbjobs, read_json
from tests.in_process import run_command


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "help")


def test_every_page_and_every_symptom_is_a_topic_of_its_own(kbjobs: Kbjobs) -> None:
    topics = read_json(kbjobs("help", "--json"))
    slugs = [topic["topic"] for topic in topics]
    assert len(slugs) == len(set(slugs)) > 60
    assert {"tutorial", "howto/zim", "troubleshooting", "the-disk-is-full"} <= set(slugs)
    assert not any("contributing" in slug for slug in slugs)
    for topic in topics:
        assert json.loads(run_command(["help", topic["topic"], "--json"]).stdout) == [topic]


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


def test_an_installation_without_pages_says_so(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(help_pages, "find_shipped", lambda name, in_repository: tmp_path)
    ended = run_command(["help"])
    assert ended.returncode == 4 and "Install kbjobs again" in ended.stderr


def quotes() -> list[tuple[str, str]]:
    """Each symptom that quotes a message with enough fixed words, and the message."""
    return [
        (topic.slug, quote)
        for topic in help_pages.list_topics()
        for quote in re.findall('"([^"]+)"', "\n".join(re.findall("^Message: .+$", topic.text, re.MULTILINE)))
        if "/" not in topic.slug and topic.slug != "troubleshooting"
        if len(quote.replace("…", "")) >= help_pages.LEAST_LETTERS
    ]


def test_a_message_that_a_symptom_quotes_leads_to_it() -> None:
    assert len(quotes()) > 40
    for slug, quote in quotes():
        found = help_pages.find_symptom(f"job 3: {quote.replace('…', 'something')}, as of today")
        assert found is not None and found.slug == slug
    assert help_pages.find_symptom("there is no source 'wiki'") is None
    assert help_pages.find_symptom("full is the disk") is None


def test_an_error_names_its_help(kbjobs: Kbjobs, small: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = ("run", "index-offline", small, "--model", "all-mpnet-base-v2")
    said = kbjobs(*missing, check=6).stderr.splitlines()
    assert said[-1] == "More: kbjobs help a-model-is-missing"
    assert kbjobs(*said[-1].split()[2:]).stdout.startswith("### A model is missing\n")
    assert "More:" not in kbjobs("sources", "show", "nobody", check=4).stderr
    monkeypatch.setattr(help_pages, "find_shipped", lambda name, in_repository: tmp_path)
    assert run_command(missing).stderr.splitlines() == said[:-1], "without pages there is nothing to name"
