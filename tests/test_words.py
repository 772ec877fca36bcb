"""One word for one thing: those of the glossary in CONTRIBUTING.md, in messages, help and documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_readme import TEXTS

# What is not said, and the word for it.
OTHERS = {
    r"signs? of life": "heartbeat",
    r"passing (error|failure)s?": "transient",
    r"wish(es|ed)?": "request",
    r"(is|are|was|were) told in": "shown",
}
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def check(text: str) -> list[str]:
    return [f"{found}: say {word}" for other, word in OTHERS.items() for found in re.findall(rf"\b{other}\b", text)]


def test_the_check_finds_them() -> None:
    assert check("no sign of life") and check("if you wish") and not check("a heartbeat that is requested")


def test_messages_and_help_use_the_words_of_the_glossary() -> None:
    shown = [" ".join(text) for text in TEXTS]
    assert not [problem for text in shown if "CREATE TABLE" not in text for problem in check(text)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_use_the_words_of_the_glossary(path: Path) -> None:
    assert not check(path.read_text())


def test_the_glossary_has_them() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for word in OTHERS.values():
        assert re.search(rf"^\| {word}\b", text, re.MULTILINE), word
