"""The documents: what is generated is that of the code, links lead somewhere, and the README is short."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.queue import Queue
from tests.conftest import ROOT, Kbjobs, read_json, write_pages

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "bench" / "RESULTS.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
MAX_WORDS = 450
MAX_WORDS_OF_PAGES = 20_000  # of those that a user reads from the beginning; reference apart


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for its own module
    spec.loader.exec_module(module)
    return module


def test_commands_and_settings_are_those_of_the_code(generate: ModuleType) -> None:
    """Otherwise: make docs."""
    pages = generate.group_pages()
    assert {path: path.read_text() for path in pages} == pages
    assert set(generate.COMMANDS.glob("*.md")) < pages.keys()
    for path, text in generate.pages_with_tables().items():
        assert "<!-- generated: " in text and path.read_text() == text, path


def test_the_schema_that_the_examples_name_is_there_and_that_of_the_code(generate: ModuleType) -> None:
    for path in generate.EXAMPLES.glob("*.toml"):
        named = path.read_text().splitlines()[0].removeprefix("#:schema ")
        assert (path.parent / named).read_text() == generate.schema_text(), path


def test_the_readme_is_short_and_begins_with_both_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= MAX_WORDS
    assert 0 < text.index("make demo") < text.index("make test") < 1500


def test_the_pages_of_a_user_are_short_together() -> None:
    """Those for developers apart, as the reference is."""
    docs = ROOT / "docs"
    pages = {ROOT / "README.md", *docs.glob("*.md"), *docs.glob("howto/*.md"), *docs.glob("explanation/*.md")}
    pages -= {docs / "explanation" / "architecture.md", docs / "howto" / "job-type.md"}
    assert sum(len(path.read_text().split()) for path in pages) <= MAX_WORDS_OF_PAGES


def anchors(path: Path) -> set[str]:
    """What a link may lead to in a document: its headings, as the usual sites name them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def documented(section: str) -> set[str]:
    """The fields that a section of docs/reference/json.md describes."""
    text = (ROOT / "docs" / "reference" / "json.md").read_text()
    rows = text.partition(f"## {section}\n")[2].partition("\n## ")[0].splitlines()
    return {name for row in rows if row.startswith("| `") for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_every_field_of_a_job_is_described(home: Home, tmp_path: Path, test_types: None) -> None:
    register(home, "a", [write_pages(tmp_path / "pages", 1)])
    manager = JobManager(home)
    with Queue(home.state_file) as queue:
        job = queue.submit(manager.plan(manager.find_chain("steps", {}), "a").job)
    assert manager.as_dict(job).keys() == documented("A job")


def test_every_field_of_a_hit_a_source_and_a_document_is_described(home: Home, kbjobs: Kbjobs, tmp_path: Path) -> None:
    register(home, "a", [write_pages(tmp_path / "pages", 1)])
    kbjobs("run", "metadata", "a", "--quiet")
    for command, section in (
        (("sources", "show", "a"), "A source"),
        (("search", "a", "kettle"), "A search hit"),
        (("documents", "list", "a"), "A document"),
    ):
        printed = read_json(kbjobs(*command, "--json"))
        fields = printed[0] if isinstance(printed, list) else printed
        assert fields.keys() == documented(section), section
