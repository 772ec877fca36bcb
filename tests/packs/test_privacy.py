"""What is private of a source does not go into a pack, and nothing new goes into it that nobody thought of."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
import zstandard
from pydantic import BaseModel

from kbjobs.config.home import Home
from kbjobs.config.registry import SETTINGS
from kbjobs.packs import manifest, records
from kbjobs.packs.public import public_base, public_model, public_url
from kbjobs.services.sources import SourceFields
from kbjobs.store.ledger import Ledger
from kbjobs.store.pack_export import PACKED_FACTS
from kbjobs.store.sources import Source
from tests.packs.conftest import build
from tests.packs.sources import fill, make_source, page

# Every column of a ledger: what it is in a pack, or None, and why.
COLUMNS: dict[str, tuple[str | None, str]] = {
    "facts.name": ("manifest.facts", "those of PACKED_FACTS: titles and lengths by which the files were read"),
    "facts.value": ("manifest.facts", "likewise"),
    "documents.doc_id": ("document.doc_id", ""),
    "documents.path": ("document.path", "below the source's roots, never absolute"),
    "documents.url": ("document.url", "on the web, without what lets somebody in; never a file's"),
    "documents.title": ("document.title", ""),
    "documents.language": ("document.language", ""),
    "documents.content_hash": ("document.content_hash", ""),
    "documents.word_count": ("document.words", ""),
    "documents.pipeline": ("document.reader", "the version alone: the rest is the base URL, or tells of paths"),
    "documents.signature": (None, "times and inode of the file"),
    "documents.filtered": ("document.filtered", ""),
    "links.doc_id": ("link.doc_id", ""),
    "links.url": ("link.url", "as that of a document"),
    "links.target": ("link.target", ""),
    "profiles.id": (None, "a number of this ledger"),
    "profiles.name": ("profile.name", "hash of the tokenizer, window, version"),
    "chunked.doc_id": (None, "what has passages was cut"),
    "chunked.profile": (None, "likewise"),
    "chunks.id": (None, "a number of this ledger"),
    "chunks.doc_id": ("passage.doc_id", ""),
    "chunks.profile": (None, "each profile has a table of its own"),
    "chunks.ordinal": ("passage.ordinal", ""),
    "chunks.record_id": (None, "made of the rest"),
    "chunks.text_hash": ("passage.text_hash", ""),
    "chunks.tokens": ("passage.tokens", ""),
    "chunks.text": ("passage.text", ""),
    "chunks.page": ("passage.page", ""),
    "models.id": (None, "a number of this ledger"),
    "models.key": ("model.key", ""),
    "models.name": ("model.name", "without the path of a model of one's own"),
    "models.dimension": ("model.dimension", ""),
    "models.profile": ("model.profile", ""),
    "models.churn": (None, "of the collection here"),
    "models.cleared": (None, "what is cleared is not packed"),
    "vectors.id": (None, "a number of this ledger"),
    "vectors.model": (None, "each model has its own blocks"),
    "vectors.text_hash": ("text.text_hash", ""),
    "vectors.vector": ("block.vectors", ""),
    "metadata.doc_id": ("metadata.doc_id", ""),
    "metadata.state": (None, "names the base URL, or tells of paths"),
    "metadata.signature": (None, "times and inode of the file"),
    "metadata.language": ("metadata.language", ""),
    "metadata.snippet": ("metadata.snippet", ""),
    "metadata.characters": ("metadata.characters", ""),
    "metadata.heading_count": ("metadata.heading_count", ""),
    "metadata.headings": ("metadata.headings", ""),
    "metadata.evidence": (None, "what the language was decided by; it is decided"),
    "metadata.description": ("metadata.description", ""),
    "metadata.published": ("metadata.published", ""),
    "metadata.doc_type": ("metadata.kind", ""),
    "metadata.modified": (None, "no part of the pack's format"),
    "metadata.site": (None, "no part of the pack's format"),
    "metadata.licence": (None, "no part of the pack's format, which has a licence of the whole source"),
    "metadata.authors": ("metadata.authors", ""),
    "metadata.categories": ("metadata.categories", ""),
    "batches.key": (None, "what is under way at an API"),
    "batches.model": (None, "what is under way at an API"),
    "batches.size": (None, "what is under way at an API"),
    "batches.made_at": (None, "what is under way at an API"),
    "batches.asked_at": (None, "what is under way at an API"),
    "batches.file": (None, "what is under way at an API"),
    "batches.batch": (None, "what is under way at an API"),
    "batch_texts.batch": (None, "what is under way at an API"),
    "batch_texts.text_hash": (None, "what is under way at an API"),
    "batch_texts.tokens": (None, "what is under way at an API"),
}
# Every field of a source's manifest in the home, likewise.
SOURCE: dict[str, tuple[str | None, str]] = {
    "id": ("source.id", ""),
    "paths": (None, "where files are on this machine; the backup names them pages/N/NAME"),
    "name": ("source.name", ""),
    "license": ("source.license", ""),
    "base_url": ("source.base_url", "without user, password, query and fragment"),
    "created_at": (None, "when somebody did what on this machine"),
    "tags": ("source.tags", "the accepted ones"),
    "suggested_tags": (None, "not accepted"),
    "rejected_tags": (None, "not accepted"),
    "chain": (None, "what somebody does on this machine; it may be a path"),
    "language_filter": (None, "what somebody does on this machine"),
    "declared_in": (None, "a path of this machine"),
}
# Every kind of record in a pack, and what is in it that is in no column.
KINDS: dict[str, type[BaseModel]] = {
    "document": records.DocumentRecord,
    "metadata": records.MetadataRecord,
    "link": records.LinkRecord,
    "passage": records.PassageRecord,
    "text": records.TextRecord,
    "file": records.FileRecord,
    "piece": records.PackedChunk,
    "part": manifest.Part,
    "table": manifest.Table,
    "source": manifest.SourceDescription,
    "profile": manifest.PackedProfile,
    "block": manifest.PackedBlock,
    "model": manifest.ModelVectors,
    "backup": manifest.PackedBackup,
    "manifest": manifest.Manifest,
}
MADE = {
    *("file.name", "file.size", "file.sha256", "file.pieces", "piece.part", "piece.offset", "piece.length"),
    *("part.sha256", "part.size", "part.packing", "part.unpacked", "table.records", "table.parts"),
    *("profile.passages", "block.rows", "block.texts", "model.vectors", "model.blocks"),
    *("backup.roots", "backup.bytes", "backup.case_sensitive", "backup.files", "backup.data"),
    *("manifest.format", "manifest.minor", "manifest.source", "manifest.languages", "manifest.filtered"),
    *("manifest.documents", "manifest.metadata", "manifest.links", "manifest.profiles", "manifest.models"),
    *("manifest.backup",),
}


def test_somebody_decided_about_every_column(home: Home) -> None:
    home.prepare()
    with Ledger(home.path / "source.db") as ledger:
        tables = ledger.connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        )
        there = {
            f"{table}.{row[1]}"
            for (table,) in tables.fetchall()
            for row in ledger.connection.execute(f"PRAGMA table_info({table})")
        }
    assert there == set(COLUMNS)
    assert {field.name for field in fields(Source)} == set(SOURCE)


def test_every_field_of_a_pack_comes_from_somewhere() -> None:
    there = {f"{name}.{field}" for name, kind in KINDS.items() for field in kind.model_fields}
    places = {place for place, _ in (*COLUMNS.values(), *SOURCE.values()) if place is not None}
    assert places | MADE == there
    assert not places & MADE


def test_every_kind_of_record_is_looked_at() -> None:
    for module in (records, manifest):
        kinds = {
            kind for kind in vars(module).values() if isinstance(kind, type) and kind.__module__ == module.__name__
        }
        assert {kind for kind in kinds if hasattr(kind, "model_fields")} <= set(KINDS.values())


def read_all(store: Path) -> bytes:
    """Everything in a store, unpacked."""
    found = []
    for path in store.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found.append(zstandard.ZstdDecompressor().decompress(data) if data[:4] == b"\x28\xb5\x2f\xfd" else data)
    return b"\n".join(found)


@pytest.mark.parametrize("base", ["https://joe:base-secret@wiki.example.org/a/?token=base-secret#base-secret", ""])
@pytest.mark.parametrize("include_backup", [False, True])
def test_nothing_private_is_in_a_pack(home: Home, tmp_path: Path, base: str, include_backup: bool) -> None:
    folder = make_source(home, tmp_path, described=SourceFields(base_url=base))
    secret = "https://joe:url-secret@wiki.example.org/x?id=5&access_token=url-secret&Api-Key=url-secret#url-secret"
    fill(
        folder,
        [
            page("wiki", 0, f"file://{tmp_path}/"),
            page(
                "wiki", 1, url=secret, links=(secret, f"file://{tmp_path}/page0.html", f"file://{tmp_path}/gone.html")
            ),
        ],
    )
    with Ledger(folder.ledger) as ledger:
        key = "own-model-0123456789ab"
        ledger.model(key, f"{tmp_path}/path-secret/own-model", 8, ledger.profile("tokens 256 2"))
        row = ledger.models()[-1].id
        ledger.put_vectors(row, ledger.connection.execute("SELECT text_hash, vector FROM vectors").fetchall()[:1])
        for name in ("read wiki.zim for profile-1", "bought fact-secret", "site titles"):
            ledger.set_fact(name, "[[], [], []]" if name in PACKED_FACTS else "fact-secret")
        ledger.connection.execute("UPDATE metadata SET evidence = '\"evidence-secret\"'")
    values = json.loads(folder.manifest.read_text())
    values |= {
        "tags": ["water"],
        "suggested_tags": {"tags": ["suggested-secret"]},
        "rejected_tags": ["rejected-secret"],
        "scrape": {"url": "https://scrape-secret/"},
        "note": "note-secret",
        "chain": "/home/joe/chain-secret.toml",
        "declared_in": "/home/joe/declared-secret.toml",
        "language_filter": "en",
    }
    folder.manifest.write_text(json.dumps(values))
    written = build(folder, tmp_path / "store", include_backup)
    everything = read_all(tmp_path / "store")
    assert not re.findall(rb"[^\n]{0,80}(?:secret|joe)[^\n]{0,80}", everything)
    for path in (tmp_path, home.path, Path.home()):
        assert str(path).encode() not in everything
    assert not [one.name for one in SETTINGS if f'"{one.name}"'.encode() in everything and "_" in one.name]
    assert values["created_at"].encode() not in everything
    assert written.manifest.source.tags == ["water"]
    assert written.manifest.source.base_url == ("https://wiki.example.org/a/" if base else None)
    assert b'"https://wiki.example.org/x?id=5"' in everything
    assert [model.name for model in written.manifest.models] == ["own-model", "tiny"]


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://example.org/a?b=c&d=e", "https://example.org/a?b=c&d=e"),
        ("HTTPS://Example.org/a", "https://Example.org/a"),
        ("https://example.org:8443/", "https://example.org:8443/"),
        ("https://u:p@example.org/", "https://example.org/"),
        ("https://a@b@example.org/", "https://example.org/"),
        ("https://example.org/?token=1", "https://example.org/"),
        ("https://example.org/?page=2&X-Amz-Signature=1&X-Amz-Credential=2", "https://example.org/?page=2"),
        ("https://example.org/?page=2&X-Amz-Security-Token=1&sig=2&PHPSESSID=3", "https://example.org/?page=2"),
        ("https://example.org/?%74oken=1&apikey=2&api_key=3&password=4&auth=5", "https://example.org/"),
        ("https://example.org/a;jsessionid=12?b=c", "https://example.org/a?b=c"),
        ("https://example.org/?keyword=a&monkey=b&title=Token", "https://example.org/?keyword=a&monkey=b&title=Token"),
        ("https://example.org/a b|c", "https://example.org/a%20b%7Cc"),
        ("https://example.org/ä", "https://example.org/ä"),
        ("https://[::1]/", "https://[::1]/"),
        ("https://[/", None),
        ("https:///a", None),
        ("file:///etc/passwd", None),
        ("javascript:alert(1)", None),
        ("/etc/passwd", None),
        ("", None),
        ("https://example.org/" + "a" * 9_000, None),
    ],
)
def test_public_addresses(url: str, public: str | None) -> None:
    assert public_url(url) == public


def test_a_public_base_has_no_query() -> None:
    assert public_base("https://u:p@example.org/wiki/?a=b#c") == "https://example.org/wiki/"
    assert public_base("") is None


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
        ("BAAI/bge-large-en-v1.5", "BAAI/bge-large-en-v1.5"),
        ("/home/joe/models/own/", "own"),
        ("./own", "own"),
    ],
)
def test_public_names_of_models(name: str, public: str) -> None:
    assert public_model(name) == public
