"""Passages that an older version has cut: cut anew for a local model, for an online one only where it is asked for."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.embedding.online_models import TEXT_EMBEDDING_3_SMALL
from kbjobs.errors import JobCancelled
from kbjobs.phases import index_offline
from kbjobs.phases.index_offline import IndexOfflineParams
from kbjobs.services.sources import describe, register, verify
from kbjobs.store.ledger import Ledger
from kbjobs.store.phase_state import dump_phases
from kbjobs.store.queue import Queue
from kbjobs.store.sources import SourceFolder
from tests.conftest import MODEL, Kbjobs, copy_pages, read_json
from tests.phases.test_index_offline import context
from tests.servers.openai_server import OpenAIServer


def make_older(home: Home, source_id: str) -> None:
    """Turn what a source holds into what an older version would have cut: a word more at each passage's end."""
    ledger = Ledger(SourceFolder(home.sources, source_id).ledger)
    execute = ledger.connection.execute
    execute("UPDATE profiles SET name = substr(name, 1, length(name) - 2) || ' 1'")
    execute("UPDATE chunks SET text = text || ' older', text_hash = 'o' || substr(text_hash, 2),"
            " record_id = 'o' || substr(record_id, 2)")  # fmt: skip
    execute("UPDATE vectors SET text_hash = 'o' || substr(text_hash, 2)")
    ledger.close()


def texts_of(home: Home, source_id: str) -> dict[str, str]:
    """Passages by the path of their document, joined."""
    ledger = Ledger(SourceFolder(home.sources, source_id).ledger)
    rows = ledger.connection.execute(
        "SELECT d.path, group_concat(c.text, '|') FROM chunks c JOIN documents d USING (doc_id) GROUP BY d.path"
    ).fetchall()
    ledger.close()
    return dict(rows)


@pytest.fixture
def pages(home: Home, tmp_path: Path, python_docs: Path) -> Path:
    """A source of six real pages."""
    folder = copy_pages(python_docs, tmp_path / "pages", 6, "tutorial")
    register(home, "docs", [folder])
    return folder


def test_a_resumed_job_says_before_that_it_cuts_anew(home: Home, pages: Path, kbjobs: Kbjobs) -> None:
    kbjobs("run", "index-offline", "docs", "--quiet")
    make_older(home, "docs")
    with Queue(home.state_file) as queue:  # as an older version has left it
        [phase] = queue.get(1).phases
        queue.connection.execute(
            "UPDATE jobs SET status = 'interrupted', exit_code = 10, phases = ?", (dump_phases([phase.restarted()]),)
        )
    resumed = kbjobs("resume", "1")
    note, first = resumed.stderr.splitlines()[:2]
    assert "cut by an older version; this job cuts its 6 documents anew" in note
    assert "tokens) are embedded, about" in note
    assert re.search("index-offline docs is (queued|running)", first)
    assert "the passages were cut by an older version: 6 documents are cut anew" in kbjobs("logs", "1").stdout
    assert "older version" not in kbjobs("retry", "1").stderr


def test_a_local_model_cuts_an_older_source_anew_and_says_so(home: Home, pages: Path, kbjobs: Kbjobs) -> None:
    kbjobs("run", "index-offline", "docs", "--quiet")
    before = texts_of(home, "docs")
    make_older(home, "docs")
    kbjobs("sources", "rebuild", "docs")
    assert read_json(kbjobs("search", "docs", "older", "--mode", "words", "-k", "1", "--json"))[0]["matched"] == [
        "older"
    ]
    run = kbjobs("run", "index-offline", "docs", "--progress", "plain")
    assert "cut by an older version; this job cuts its 6 documents anew" in run.stderr
    assert "tokens) are embedded, about" in run.stderr and "at the speed measured here" in run.stderr
    assert texts_of(home, "docs") == before  # and no old passage is left
    assert not verify(home, "docs").drift
    again = kbjobs("run", "index-offline", "docs", "--progress", "plain")
    assert "older version" not in again.stderr
    assert describe(home, "docs").models[0].chunks > 30


@pytest.mark.full
def test_until_it_is_published_the_older_cut_is_what_counts(home: Home, pages: Path, kbjobs: Kbjobs) -> None:
    kbjobs("run", "index-offline", "docs", "--quiet")
    make_older(home, "docs")
    kbjobs("sources", "rebuild", "docs")
    ledger = Ledger(SourceFolder(home.sources, "docs").ledger)

    def is_cut() -> bool:
        return bool(ledger.connection.execute("SELECT count(DISTINCT profile) > 1 FROM chunks").fetchone()[0])

    with pytest.raises(JobCancelled):  # after the pages were cut, before they are embedded
        index_offline.run(context(home, "docs", is_cut), IndexOfflineParams(model=MODEL))
    ledger.close()
    assert not verify(home, "docs").drift
    kbjobs("sources", "rebuild", "docs")
    assert read_json(kbjobs("search", "docs", "older", "--mode", "words", "--json"))[0]["matched"] == ["older"]


@pytest.mark.full
def test_an_online_model_buys_nothing_unasked(
    home: Home, pages: Path, kbjobs: Kbjobs, openai_api: OpenAIServer
) -> None:
    kbjobs("run", "index-online", "docs", "--quiet")
    make_older(home, "docs")
    bought = len(openai_api.sold_texts)
    for page in pages.iterdir():
        page.touch()  # read again, and nothing new in it
    run = kbjobs("run", "index-online", "docs", "--progress", "plain")
    assert len(openai_api.sold_texts) == bought
    assert "6 documents had passages cut by an older version and keep them" in run.stdout + run.stderr
    assert "--recut cuts them anew, fuller, for about 0.00" in run.stdout + run.stderr
    again = kbjobs("run", "index-online", "docs", "--progress", "plain")
    assert "--recut" not in again.stdout + again.stderr  # said once
    page = sorted(pages.iterdir())[0]
    page.write_text("<title>Geysers</title><p>Hot water springs from the ground.</p>")
    kbjobs("run", "index-online", "docs", "--quiet")
    texts = texts_of(home, "docs")
    assert [text.endswith(" older") for text in texts.values()].count(False) == 1
    assert len(openai_api.sold_texts) == bought + 1
    assert not verify(home, "docs").drift

    dry = json.loads(kbjobs("run", "index-online", "docs", "--recut", "--dry-run", "--json").stdout.splitlines()[-1])
    asked = kbjobs("run", "index-online", "docs", "--recut", "--progress", "plain")
    assert "tokens are bought" in asked.stderr and "at the list price" in asked.stderr
    assert not any(text.endswith(" older") for text in texts_of(home, "docs").values())
    now = len(openai_api.sold_texts)
    assert now > bought + 1
    assert f"{now - bought - 1:,} embedded" in asked.stdout + asked.stderr
    assert dry["job"]["result"]["would_embed"] == now - bought - 1
    kbjobs("run", "index-online", "docs", "--recut", "--quiet")
    assert len(openai_api.sold_texts) == now
    assert describe(home, "docs").models[0].model == TEXT_EMBEDDING_3_SMALL.name


@pytest.mark.full
def test_a_newer_reader_makes_nothing_bought(home: Home, pages: Path, kbjobs: Kbjobs, openai_api: OpenAIServer) -> None:
    """A version that reads the same files otherwise: a local index follows, what was paid for stays."""
    for page in pages.iterdir():
        os.utime(page, (time.time() - 3600, time.time() - 3600))
    kbjobs("run", "index-online", "docs", "--quiet")
    kbjobs("run", "index-offline", "docs", "--quiet")
    bought = len(openai_api.sold_texts)
    ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
    execute = ledger.connection.execute
    execute("UPDATE documents SET pipeline = '1' || pipeline, content_hash = 'read by an older version'")
    # As an older version has cut them: the same files, another text.
    execute("UPDATE profiles SET name = substr(name, 1, length(name) - 2) || ' 1' WHERE id = 1")
    execute("UPDATE chunks SET text = text || ' older', text_hash = 'o' || substr(text_hash, 2),"
            " record_id = 'o' || substr(record_id, 2)")  # fmt: skip
    execute("UPDATE vectors SET text_hash = 'o' || substr(text_hash, 2)")
    ledger.close()
    kbjobs("sources", "rebuild", "docs")
    kbjobs("run", "metadata", "docs", "--quiet")
    kbjobs("run", "index-online", "docs", "--quiet")
    kbjobs("run", "index-offline", "docs", "--quiet")
    kbjobs("run", "index-online", "docs", "--quiet")
    assert len(openai_api.sold_texts) == bought
    ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
    for model in ledger.models():
        statement = "SELECT text FROM chunks WHERE profile = ?"
        texts = [row[0] for row in ledger.connection.execute(statement, (model.profile,))]
        is_online = model.name == TEXT_EMBEDDING_3_SMALL.name
        assert texts and all(text.endswith(" older") is is_online for text in texts), model.name
    ledger.close()
    assert not verify(home, "docs").drift
    changed = sorted(pages.iterdir())[0]
    changed.write_text("<title>Geysers</title><p>Hot water springs from the ground.</p>")
    kbjobs("run", "metadata", "docs", "--quiet")
    kbjobs("run", "index-online", "docs", "--quiet")
    assert len(openai_api.sold_texts) == bought + 1
    kbjobs("run", "index-online", "docs", "--recut", "--quiet")
    assert len(openai_api.sold_texts) > bought + 1
