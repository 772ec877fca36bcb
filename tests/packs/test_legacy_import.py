"""Folders of the system before kbjobs: documents and vectors by their ids, as ``_manifest.json`` and its like."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.embedding.choose import load_embedder
from kbjobs.services.documents import documents
from kbjobs.services.sources import describe, verify
from tests.conftest import Kbjobs, read_json
from tests.servers.openai_server import OpenAIServer, make_vector

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes such a folder; what is given takes the place of parts of it."""

    def write(**changes: Any) -> Path:
        folder = tmp_path / "former" / "old_wiki"
        folder.mkdir(parents=True, exist_ok=True)
        pages = {
            "Water/boil": "Boil water for one minute before you drink it.",
            "Fire & smoke": "Keep matches dry. A fire needs air.",
            "knots ü%": "A reef knot ties two ropes of one size.",
        }
        facts = {
            name: {
                "title": name.split("/")[-1].title(),
                "url": f"https://old.example/{number}?token=s3cret",
                "local_url": f"/home/somebody/pages/{number}.html",
                "content_hash": "x",
                "char_count": len(text),
                "categories": ["Water", "Safety"],
                "doc_type": "article",
                "scraped_at": "2025-01-01T00:00:00",
                "internal_links": ["https://old.example/1"],
            }
            for number, (name, text) in enumerate(pages.items())
        }
        files: dict[str, Any] = {
            "_manifest.json": {
                "schema_version": 3, "source_id": "Old_Wiki", "name": "Old wiki", "license": "CC-BY-SA",
                "base_url": "https://old.example/", "tags": ["water", "fire"], "language": "en",
            },
            "_metadata.json": {"schema_version": 3, "document_count": 3, "documents": facts},
            "_index.json": {
                "schema_version": 3,
                "documents": {name: {**facts[name], "content": text} for name, text in pages.items()},
            },
            "_vectors.json": {
                "schema_version": 3, "embedding_model": "text-embedding-3-small", "dimensions": 1536,
                "vectors": {name: [float(one) for one in make_vector(text)] for name, text in pages.items()},
            },
        }  # fmt: skip
        for name, content in {**files, **changes}.items():
            if content is None:
                (folder / name).unlink(missing_ok=True)
            else:
                (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return folder

    return write


def test_it_is_installed_and_nothing_is_bought(
    home: Home, write: Write, openai_api: OpenAIServer, kbjobs: Kbjobs
) -> None:
    write()
    kbjobs("run", "install-source", "old_wiki", "--from", write().parent)
    state = describe(home, "old_wiki")
    assert (state.documents, state.source.name, state.source.license) == (3, "Old wiki", "CC-BY-SA")
    assert state.source.tags == ("water", "fire")
    assert [(model.model, model.dimension, model.vectors) for model in state.models] == [
        ("text-embedding-3-small", 1536, 3)
    ]
    assert {one["title"] for one in documents(home, "old_wiki")} == {"Boil", "Fire & Smoke", "Knots Ü%"}
    assert all("s3cret" not in str(one) and "/home/somebody" not in str(one) for one in documents(home, "old_wiki"))
    assert verify(home, "old_wiki").ok
    assert openai_api.sold_texts == []
    hits = read_json(kbjobs("search", "old_wiki", "reef knot", "--json"))
    assert hits[0]["title"] == "Knots Ü%"
    assert not (home.downloads / "old_wiki").exists()


@pytest.mark.usefixtures("minilm")
def test_vectors_of_a_local_model(home: Home, write: Write, kbjobs: Kbjobs) -> None:
    embedder = load_embedder("all-MiniLM-L6-v2", home.models, home.engines, "auto")
    texts = {"Water/boil": "Boil water for one minute before you drink it."}
    vectors = {name: [float(one) for one in embedder.embed([text])[0]] for name, text in texts.items()}
    write(**{"_vectors_384.json": {"embedding_model": "all-MiniLM-L6-v2", "dimensions": 384, "vectors": vectors}})
    kbjobs("run", "install-source", "old_wiki", "--from", write(), "--mode", "replace")
    assert {model.model: model.vectors for model in describe(home, "old_wiki").models}["all-MiniLM-L6-v2"] == 1
    hits = read_json(kbjobs("search", "old_wiki", "make water safe", "--model", "all-MiniLM-L6-v2", "--json"))
    assert hits[0]["title"] == "Boil"


def test_vectors_of_a_model_that_is_not_here_are_left_out_and_told(
    home: Home, write: Write, openai_api: OpenAIServer, kbjobs: Kbjobs
) -> None:
    rows = {"Water/boil": [0.1] * 768}
    folder = write(
        **{"_vectors_768.json": {"embedding_model": "all-mpnet-base-v2", "dimensions": 768, "vectors": rows}}
    )
    ended = kbjobs("run", "install-source", "old_wiki", "--from", folder)
    assert "the vectors of all-mpnet-base-v2 are left out" in ended.stderr + ended.stdout
    assert [model.dimension for model in describe(home, "old_wiki").models] == [1536]


@pytest.mark.parametrize("store", ["weed"], indirect=True)
def test_from_a_store(home: Home, write: Write, store: str, openai_api: OpenAIServer, kbjobs: Kbjobs) -> None:
    from kbjobs.config.settings import Settings
    from kbjobs.object_storage.store_address import open_bucket, read_address

    bucket = open_bucket(home, Settings(home), read_address(store))
    for path in write().iterdir():
        bucket.put(f"old_wiki/{path.name}", path.read_bytes())
    kbjobs("run", "install-source", "old_wiki", "--from", store)
    assert describe(home, "old_wiki").documents == 3


def vectors(**changes: Any) -> dict[str, Any]:
    rows = {"Water/boil": [0.1] * 1536, **changes}
    return {"embedding_model": "text-embedding-3-small", "dimensions": 1536, "vectors": rows}


HOSTILE: dict[str, dict[str, Any]] = {
    "no JSON": {"_manifest.json": "{"},
    "a list": {"_manifest.json": "[]"},
    "a cut index": {"_index.json": '{"documents": {"a": {"content": "x"'},
    "deep": {"_manifest.json": "[" * 100_000},
    "cut vectors": {"_vectors.json": '{"embedding_model": "text-embedding-3-small", "vectors": {"a": [1, 2'},
    "no model": {"_vectors.json": {"dimensions": 1536, "vectors": {"Water/boil": [0.1] * 1536}}},
    "wrong length": {"_vectors.json": vectors(**{"Water/boil": [0.1] * 10})},
    "too long": {"_vectors.json": vectors(**{"Water/boil": [0.1] * 100_000})},
    "zero": {"_vectors.json": vectors(**{"Water/boil": [0.0] * 1536})},
    "huge": {"_vectors.json": vectors(**{"Water/boil": [1e308] * 1536})},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_damaged_is_named_and_nothing_is_changed(
    home: Home, write: Write, openai_api: OpenAIServer, kbjobs: Kbjobs, what: str
) -> None:
    folder = write(**HOSTILE[what])
    ended = kbjobs("run", "install-source", "old_wiki", "--from", folder, check=7)
    assert next(iter(HOSTILE[what])) in ended.stderr and "Traceback" not in ended.stderr
    assert not list(home.sources.iterdir())


def test_strange_documents_are_taken_as_far_as_they_go(
    home: Home, write: Write, openai_api: OpenAIServer, kbjobs: Kbjobs
) -> None:
    strange = {
        "../../etc": {"title": "\x00<script>\u202e", "url": "javascript:alert(1)", "content": "a" * 2_000_000},
        "": {"title": "no id", "content": "x"},
        "list": ["no", "object"],
        "numbers": {"title": 7, "url": 8, "content": 9, "categories": 10, "internal_links": {"a": 1}},
        "x" * 5_000: {"title": "long id", "content": "long id"},
    }
    write(**{"_index.json": {"documents": strange}, "_metadata.json": None, "_vectors.json": None})
    kbjobs(
        "run",
        "install-source",
        "old_wiki",
        "--from",
        write(**{"_index.json": {"documents": strange}, "_metadata.json": None, "_vectors.json": None}),
    )
    found = list(documents(home, "old_wiki"))
    assert len(found) == 3
    assert all("\x00" not in str(one["title"]) and "javascript" not in str(one["url"]) for one in found)
    assert np.isfinite(len(found))
