"""``kbjobs sources``: registered, shown, compared, rebuilt. Copies and paths: tests/services/test_sources.py."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running, stop_daemon
from kbjobs.services.sources import describe, register
from kbjobs.store.ledger import Ledger
from kbjobs.store.locks import lock_source
from kbjobs.store.sources import SourceFolder
from tests.commands.conftest import check_help
from tests.conftest import MODEL, Kbjobs, read_json, write_pages


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "sources")
    for command in ("add", "edit", "list", "show", "documents", "tags", "verify", "rebuild", "compact", "remove"):
        check_help(kbjobs, "sources", command)


def test_an_empty_home(home: Home, kbjobs: Kbjobs) -> None:
    listed = kbjobs("sources", "list")
    assert (listed.stdout, listed.stderr) == ("", "No sources. Register one with kbjobs sources add ID PATH.\n")
    assert read_json(kbjobs("sources", "list", "--json")) == []
    for command in ("show", "documents", "tags", "verify", "rebuild", "edit", "remove"):
        assert "there is no source 'wiki'" in kbjobs("sources", command, "wiki", check=4).stderr
    assert not home.sources.exists()


def test_what_is_registered_is_listed_and_shown(tmp_path: Path, kbjobs: Kbjobs) -> None:
    pages = write_pages(tmp_path / "pages", 2)
    options = ("--name", "Our wiki", "--license", "CC0-1.0", "--base-url", "https://wiki.example.org/")
    output = kbjobs("sources", "add", "wiki", pages, *options)
    assert (output.stdout, output.stderr) == ("", "Source wiki: 2 files. Next: kbjobs run index-offline wiki\n")
    [listed] = read_json(kbjobs("sources", "list", "--json"))
    assert read_json(kbjobs("sources", "show", "wiki", "--json")) == listed
    assert listed["paths"] == [str(pages)]
    assert (listed["name"], listed["license"], listed["documents"]) == ("Our wiki", "CC0-1.0", 0)
    assert kbjobs("sources", "list").stdout == f"wiki\tOur wiki\t0\tnot indexed\t{pages}\n"
    assert "base URL\thttps://wiki.example.org/\n" in kbjobs("sources", "show", "wiki").stdout
    assert "Did you mean wiki" in kbjobs("sources", "show", "wikki", check=4).stderr
    assert "exists already" in kbjobs("sources", "add", "wiki", pages, check=5).stderr


def test_add_and_edit_print_json(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    pages, more = write_pages(tmp_path / "pages", 2), write_pages(tmp_path / "more", 1)
    added = read_json(kbjobs("sources", "add", "x", pages, "--copy", "--json"))
    assert (added["id"], added["files"]) == ("x", 2)
    assert added["paths"] == [str(SourceFolder(home.sources, "x").pages / "1" / "pages")]
    edited = read_json(kbjobs("sources", "edit", "x", "--add", more, "--name", "Tea", "--json"))
    assert edited["paths"] == [*added["paths"], str(more)]
    assert (edited["name"], edited["documents"], edited["dropped_documents"]) == ("Tea", 0, 0)


def test_an_unknown_source_and_one_in_use_are_not_edited(home: Home, source: str, kbjobs: Kbjobs) -> None:
    assert "Did you mean a" in kbjobs("sources", "edit", "aa", "--name", "n", check=4).stderr
    assert not (home.sources / "aa").exists()
    folder = SourceFolder(home.sources, source)
    with lock_source(folder.lock, source, 1):
        assert "in use" in kbjobs("sources", "edit", source, "--name", "n", check=5).stderr
    assert folder.read().name == ""


def test_a_damaged_source_is_named_and_the_others_are_listed(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    for name in ("a", "b", "c", "d"):
        register(home, name, [write_pages(tmp_path / "pages", 1)])
    SourceFolder(home.sources, "b").manifest.write_text('{"paths": 3}')
    SourceFolder(home.sources, "c").ledger.write_text("no ledger")
    listed = kbjobs("sources", "list", "--json", check=3)
    assert [source["id"] for source in read_json(listed)] == ["a", "d"]
    assert "source b: " in listed.stderr and "manifest.json is damaged" in listed.stderr
    assert "source c: " in listed.stderr and "source.db is damaged" in listed.stderr
    assert kbjobs("sources", "list", check=3).stdout.count("\n") == 2
    assert "manifest.json is damaged" in kbjobs("sources", "show", "b", check=7).stderr


def test_what_was_never_indexed_cannot_be_compared(source: str, kbjobs: Kbjobs) -> None:
    for command in ("verify", "rebuild"):
        refused = kbjobs("sources", command, source, check=6)
        assert (refused.stdout, "index-offline" in refused.stderr) == ("", True)


@pytest.mark.usefixtures("minilm")
def test_verify_finds_drift_and_rebuild_heals_it_without_a_model(
    home: Home, tmp_path: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    kbjobs("sources", "add", "x", write_pages(tmp_path / "pages", 4))
    kbjobs("run", "index-offline", "x", "--quiet")
    good = read_json(kbjobs("sources", "verify", "x", "--json"))
    assert (good["ok"], good["drift"], good["checked"]) == (True, [], 4)
    [model] = describe(home, "x").models
    assert (model.model, model.dimension, model.chunks, model.vectors) == (MODEL, 384, 4, 4)
    live = SourceFolder(home.sources, "x").vectors / model.key
    shutil.rmtree(live)
    drift = read_json(kbjobs("sources", "verify", "x", "--json", check=1))
    assert drift["ok"] is False
    assert drift["drift"][0]["model"] == MODEL
    assert "sources rebuild x" in kbjobs("sources", "verify", "x", check=1).stderr
    monkeypatch.setenv("KBJOBS_MODEL", "no-such-model")
    [rebuilt] = read_json(kbjobs("sources", "rebuild", "x", "--json"))
    assert rebuilt == {"model": MODEL, "dimension": 384, "records": 4}
    assert kbjobs("sources", "rebuild", "x").stdout == f"x: {MODEL}: 4 records rebuilt from the ledger\n"
    assert kbjobs("sources", "verify", "x").stdout == "x: 4 passages verified, no drift\n"
    ledger = Ledger(SourceFolder(home.sources, "x").ledger)
    assert ledger.count_documents() == 4
    ledger.close()
    with lock_source(SourceFolder(home.sources, "x").lock, "x", 1):
        for command in ("verify", "rebuild"):
            refused = kbjobs("sources", command, "x", check=5)
            assert "source 'x' is in use by another process" in refused.stderr
            assert "kbjobs status" in refused.stderr
        assert read_json(kbjobs("sources", "list", "--json"))  # looking is allowed


def test_documents(tmp_path: Path, home: Home, kbjobs: Kbjobs) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "water.html").write_text(
        "<html lang=en><title>Water\x1b[31m</title><meta name=author content=Ann><meta name=date content=2024-05-17>"
        '<meta name=keywords content="water, fire"><meta property="og:type" content="article">'
        "<p>Boil the water. <a href=fire.html>Fire</a></p>"
    )
    (pages / "fire.html").write_text("<html lang=fr><title>Feu</title><p>Le feu.</p>")
    register(home, "docs", [pages])
    output = kbjobs("sources", "documents", "docs")
    assert (output.stdout, output.stderr) == ("", "No documents yet. Next: kbjobs run metadata docs\n")
    kbjobs("run", "metadata", "docs", "--language-filter", "en")
    assert kbjobs("sources", "documents", "docs").stdout == (
        "(fr)\t\tpage\tFeu\tpages/fire.html\nen\t2024-05-17\tarticle\tWater [31m\tpages/water.html\n"
    )
    fire, water = map(json.loads, kbjobs("sources", "documents", "docs", "--json").stdout.splitlines())
    assert (fire["filtered"], water["filtered"], water["links"]) == (True, False, 1)
    assert (water["authors"], water["categories"], water["published"]) == (["Ann"], ["water", "fire"], "2024-05-17")
    assert water["url"].startswith("file://") and water["headings"] == []


@pytest.mark.parametrize("command", [("sources", "remove"), ("run", "delete-source")])
@pytest.mark.parametrize("has_daemon", [False, True])
def test_a_source_is_removed_and_its_jobs_say_so(
    home: Home, tmp_path: Path, kbjobs: Kbjobs, command: tuple[str, ...], has_daemon: bool
) -> None:
    pages = write_pages(tmp_path / "pages", 2)
    kbjobs("sources", "add", "wiki", pages)
    kbjobs("run", "metadata", "wiki", "--quiet")
    if not has_daemon:
        stop_daemon(home, now=True, seconds=20)
    assert is_running(home) is has_daemon
    output = kbjobs(*command, "wiki", "--confirm", "wiki").stdout
    assert "job 2 delete-source wiki: completed in" in output
    assert "2 documents, 0 vectors and" in output and f"not touched: {pages}" in output
    assert kbjobs("sources", "list").stderr.startswith("No sources.")
    assert len(list(pages.iterdir())) == 2
    for listing in ("status", "history"):
        rows = [line.split("\t")[:3] for line in kbjobs(listing).stdout.splitlines()]
        assert rows == [["2", "delete-source", "wiki (deleted)"], ["1", "metadata", "wiki (deleted)"]]
    assert "source\tdeleted on 20" in kbjobs("status", "1").stdout
    first, last = read_json(kbjobs("history", "--source", "wiki", "--json"))
    assert first["source_deleted_at"] == last["source_deleted_at"] is not None
    assert {name: first["result"][name] for name in ("documents", "vectors", "links", "outside", "kept", "again")} == {
        "documents": 2, "vectors": 0, "links": 0, "outside": [str(pages)], "kept": None, "again": None,
    }  # fmt: skip
    assert "there is no source 'wiki'" in kbjobs(*command, "wiki", "--confirm", "wiki", check=4).stderr
    assert "was for a source 'wiki' that was deleted" in kbjobs("retry", "1", check=5).stderr
    kbjobs("sources", "add", "wiki", pages)
    kbjobs("run", "metadata", "wiki", "--quiet")
    assert kbjobs("history").stdout.startswith("3\tmetadata\twiki\tcompleted")
    assert "The source of that id is a new one" in kbjobs("retry", "2", check=5).stderr
    assert "wiki" in kbjobs("sources", "list").stdout


def test_removing_with_nobody_to_ask_needs_the_id_and_a_source_in_use_is_not_asked_about(
    home: Home, source: str, kbjobs: Kbjobs
) -> None:
    for options in ((), ("--no-input",), ("--confirm", "b"), ("--json",)):
        output = kbjobs("sources", "remove", "a", *options, check=2)
        assert "source 'a' would be deleted permanently, and that is not confirmed" in output.stderr
        assert "give --confirm a " in output.stderr and output.stdout == ""
    assert not home.state_file.exists()
    waiting = kbjobs("run", "steps", "a", "--not-before", "+1h", "--detach").stdout.strip()
    output = kbjobs("sources", "remove", "a", check=5)
    assert f"is not deleted while a job of it is pending: job {waiting} (steps)" in output.stderr
    kbjobs("cancel", waiting)
    removing = kbjobs("sources", "remove", "a", "--confirm", "a", "--not-before", "+1h", "--detach").stdout.strip()
    assert (
        f"is about to be deleted: job {removing} (delete-source) is pending"
        in kbjobs("run", "steps", "a", check=5).stderr
    )
    assert (
        f"the same job is already pending: job {removing}"
        in kbjobs("sources", "remove", "a", "--confirm", "a", check=5).stderr
    )
    kbjobs("sources", "remove", "a", "--confirm", "a", "--if-active", "skip")


def test_kept_files_are_named_with_the_command_that_registers_them(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    pages = write_pages(tmp_path / "my pages", 2)
    kbjobs("sources", "add", "wiki", pages, "--copy", "--name", "Our wiki")
    kbjobs("run", "metadata", "wiki", "--quiet")
    last = json.loads(
        kbjobs("sources", "remove", "wiki", "--keep-files", "--confirm", "wiki", "--json").stdout.splitlines()[-1]
    )
    result = last["job"]["result"]
    assert (last["event"], result["kept"]) == ("finished", str(home.sources / "wiki"))
    kept = f"{home.sources}/wiki/pages/1/my pages"
    assert result["again"] == f"kbjobs sources add wiki '{kept}' --name 'Our wiki'"
    assert kbjobs("sources", "list").stdout == ""
    added = kbjobs(*shlex.split(result["again"])[1:])
    assert added.stderr.startswith("Source wiki: 2 files.")
