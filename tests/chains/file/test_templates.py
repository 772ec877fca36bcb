"""The built-in chains, and their forms with comments among the examples."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from kbjobs.chains.file.chain_reading import examine_chain, read_chain
from kbjobs.chains.library import TEMPLATES, built_in_names
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples" / "chains"
# With something in them that is the user's to say: a site, a bucket, a file.
OTHERS = {
    "scrape_offline": ["scrape", "metadata", "index_offline", "suggest_tags"],
    "wiki_overnight": ["scrape", "metadata", "index_offline", "suggest_tags", "visualisation"],
    "zim_shelf": ["zim_index", "suggest_tags", "visualisation"],
    "publish": ["upload", "pinecone_sync", "visualisation"],
}
FILES = sorted(TEMPLATES.glob("*.toml"))
WANTED = {
    "generate_source": ["metadata", "index_online", "index_offline", "suggest_tags"],
    "regenerate_source": [
        "metadata", "clear_vectors", "index_online", "clear_vectors", "index_offline", "suggest_tags",
    ],
    "reindex_online": ["clear_vectors", "index_online"],
    "reindex_offline": ["clear_vectors", "index_offline"],
    "generate_offline": ["metadata", "index_offline", "suggest_tags"],
    "cloud_publish": ["pinecone_sync", "visualisation"],
}  # fmt: skip


def test_they_are_all_there() -> None:
    assert set(WANTED) <= set(built_in_names())
    assert {path.name for path in EXAMPLES.glob("*.toml")} == {path.name for path in FILES} | {
        f"{name}.toml" for name in OTHERS
    }


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_examples_are_valid(name: str) -> None:
    found = examine_chain(EXAMPLES / f"{name}.toml")
    assert not found.diagnostics, found.render()
    assert found.chain is not None
    assert [phase.job_type.name for phase in found.chain.phases] == OTHERS[name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_is_valid_and_gives_no_cause_for_advice(path: Path) -> None:
    found = examine_chain(path)
    assert not found.diagnostics, found.render()
    assert found.chain is not None and found.chain.name == path.stem and found.chain.description
    assert sum(phase.weight for phase in found.chain.phases) == 100


@pytest.mark.parametrize("name", WANTED)
def test_the_phases_are_those_wanted(name: str) -> None:
    chain = read_chain(TEMPLATES / f"{name}.toml")
    assert [phase.job_type.name for phase in chain.phases] == WANTED[name]
    assert chain.resumable == (name in ("generate_source", "generate_offline", "cloud_publish"))


def test_what_is_rebuilt_is_cleared_just_before() -> None:
    for name in ("regenerate_source", "reindex_online", "reindex_offline"):
        phases = read_chain(TEMPLATES / f"{name}.toml").phases
        for clear, index in pairwise(phases):
            if clear.job_type.name == "clear_vectors":
                online = index.job_type.name == "index_online"
                assert clear.params.model_dump()["dimension"] == (1536 if online else None)
                assert index.job_type.name in ("index_online", "index_offline")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_example_says_the_same_with_comments(path: Path) -> None:
    example = EXAMPLES / path.name
    assert tomllib.loads(example.read_text()) == tomllib.loads(path.read_text())
    assert example.read_text().count("#") > path.read_text().count("#")
    assert path.read_text().startswith("#:schema ./chain.schema.json\n")
