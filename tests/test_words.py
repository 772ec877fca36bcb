"""One word for one thing: those of the glossary in CONTRIBUTING.md, in names, messages, help and documents."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_readme import all_texts

ROW = re.compile(r"^\| (?P<word>[^|]+) \| [^|]+ \| (?P<others>[^|]*) ?\|$", re.MULTILINE)
GLOSSARY = (ROOT / "CONTRIBUTING.md").read_text().partition("| not used |")[2]
# What is not used, and the word for it.
OTHERS = {
    other.strip(): row["word"].strip()
    for row in ROW.finditer(GLOSSARY)
    for other in row["others"].split(",")
    if other.strip()
}
# They have another meaning, too, in a sentence.
ONLY_IN_NAMES = {"noted", "former", "pace", "bought", "estimate", "settle", "seat", "shipping", "patience", "outlook"}
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def check(text: str) -> list[str]:
    phrases = {other: word for other, word in OTHERS.items() if other not in ONLY_IN_NAMES}
    return [f"{found}: say {word}" for other, word in phrases.items() for found in re.findall(rf"\b{other}\b", text)]


def words_of(name: str) -> set[str]:
    """``PineconeSyncParams`` and ``pinecone_sync_params`` are pinecone, sync and params."""
    return set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))


def names_in(path: Path) -> set[str]:
    """The modules, classes and functions of a file."""
    found = {path.stem}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return found


def test_the_glossary_is_read() -> None:
    assert OTHERS["patience"] == "backoff" and OTHERS["sign of life"] == "heartbeat" and len(OTHERS) > 20


def test_the_check_finds_them() -> None:
    assert check("no sign of life") and check("if you wish") and not check("a heartbeat that is requested")
    assert words_of("PineconeSyncParams") == words_of("_pinecone_sync_params") - {""}


def test_names_use_the_words_of_the_glossary() -> None:
    not_used = {other: word for other, word in OTHERS.items() if " " not in other}
    assert not {
        f"{path.relative_to(ROOT)}: {name}: say {not_used[word]}"
        for path in (ROOT / "kbjobs").rglob("*.py")
        for name in names_in(path)
        for word in words_of(name) & not_used.keys()
    }


def test_messages_and_help_use_the_words_of_the_glossary() -> None:
    shown = [" ".join(text) for text in all_texts()]
    # The field of a job type of the last version is called so.
    shown = [text for text in shown if "CREATE TABLE" not in text and text != "foresee"]
    assert not [problem for text in shown for problem in check(text)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_use_the_words_of_the_glossary(path: Path) -> None:
    assert not check(path.read_text())
