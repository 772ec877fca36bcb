"""ZIM files as sources: registered, read in one pass, incremental; and what a person is told of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.phases.zim_files import name_source
from kbjobs.services.sources import describe, register, verify
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import Kbjobs, real_input
from tests.content.zims import ZIMS, build_zim

pytestmark = pytest.mark.usefixtures("minilm")
SUBJECTS = ("water", "fire", "shelter", "bread", "rope", "wool")


def page(title: str, text: str, language: str = "en") -> str:
    return (
        f"<html lang={language}><head><title>{title}</title></head><body><h1>{title}</h1><p>{text}</p>"
        '<p><a href="p1">Next</a></p></body></html>'
    )


def items(count: int, changed: dict[int, str] | None = None) -> list[tuple[str, str, str, str]]:
    made = []
    for number in range(count):
        word = SUBJECTS[number % len(SUBJECTS)]
        text = (changed or {}).get(
            number, f"How to keep {word} safe through a winter, in the way number {number}. " * 4
        )
        made.append((f"p{number}", f"Page {number}", "text/html", page(f"Page {number}", text)))
    return made


def edition(path: Path, pages: list[tuple[str, str, str, str]], **metadata: str) -> Path:
    facts: dict[str, Any] = {
        "Title": "Winter",
        "Language": "eng",
        "Creator": "Somebody",
        "License": "CC0",
        "Date": "2026-01-01",
    }
    return build_zim(path, pages, [("alias", "p0")], main="p0", **{**facts, **metadata})


@pytest.fixture
def zim(tmp_path: Path) -> Path:
    short = ("short", "Short", "text/html", page("Short", "Hardly anything."))
    german = ("german", "Brot", "text/html", page("Brot", "Wie man Brot backt und lange aufbewahrt. " * 5, "de"))
    return edition(tmp_path / "Winter Guide_2026-01.zim", [*items(12), short, german, ("x.css", "", "text/css", "p{}")])


def paths_of(home: Home, source: str) -> list[str]:
    ledger = Ledger(SourceFolder(home.sources, source).ledger)
    try:
        return [path for _, path in ledger.document_paths()]
    finally:
        ledger.close()


def result_of(kbjobs: Kbjobs, *arguments: str | Path, check: int = 0) -> dict[str, object]:
    ended = kbjobs("run", *arguments, "--json", check=check)
    result: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])["job"]["result"]
    return result


def test_a_zim_file_becomes_a_source(home: Home, zim: Path, kbjobs: Kbjobs) -> None:
    counts = result_of(kbjobs, "zim-index", zim)
    assert (counts["documents"], counts["embedded"], counts["skipped"], counts["failed"]) == (13, 13, 1, 0)
    [source] = [path.name for path in home.sources.iterdir()]
    assert source == "winter-guide_2026-01"
    assert paths_of(home, source)[0] == "Winter Guide_2026-01.zim/german"
    manifest = json.loads(SourceFolder(home.sources, source).manifest.read_text())
    assert (manifest["name"], manifest["license"], manifest["creator"]) == ("Winter", "CC0", "Somebody")
    assert (manifest["language"], manifest["date"], manifest["paths"]) == ("en", "2026-01-01", [str(zim)])
    state = describe(home, source)
    assert (state.documents, state.languages) == (13, {"en": 12, "de": 1})
    [hit] = json.loads(kbjobs("search", "bake bread and keep it", "--json", "-k", "1").stdout)
    assert hit["url"] == ""  # it has no address
    assert verify(home, source).ok
    again = result_of(kbjobs, "zim-index", zim)
    assert (again["embedded"], again["reused"], again["unchanged"]) == (0, 13, 13)
    # Every later job works over it.
    assert result_of(kbjobs, "index-offline", source)["embedded"] == 0
    assert result_of(kbjobs, "metadata", source)["unchanged"] == 13
    kbjobs("run", "suggest-tags", source, "--quiet")
    assert result_of(kbjobs, "index-offline", source)["documents"] == 13


def test_links_of_entries_lead_to_documents(home: Home, zim: Path, kbjobs: Kbjobs) -> None:
    kbjobs("run", "zim-index", zim, "--source", "winter", "--quiet")
    ledger = Ledger(SourceFolder(home.sources, "winter").ledger)
    total, resolved = ledger.connection.execute("SELECT count(*), count(target) FROM links").fetchone()
    ledger.close()
    assert (total, resolved) == (12, 12)  # one of the pages is p1 itself


def test_the_address_is_that_of_the_header_or_of_the_source(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    archive = edition(tmp_path / "told.zim", items(2), Source="https://winter.example.org/wiki")
    kbjobs("run", "zim-index", archive, "--quiet")
    [first, _] = json.loads(kbjobs("search", "told", "water", "--json").stdout)
    assert first["url"] == "https://winter.example.org/wiki/p0"
    kbjobs("sources", "edit", "told", "--base-url", "https://mirror.example.org/")
    kbjobs("run", "index-offline", "told", "--quiet")
    [first, _] = json.loads(kbjobs("search", "told", "water", "--json").stdout)
    assert first["url"] == "https://mirror.example.org/p0"


def test_a_newer_edition_embeds_only_what_it_says_anew(home: Home, zim: Path, kbjobs: Kbjobs) -> None:
    kbjobs("run", "zim-index", zim, "--source", "winter", "--quiet")
    zim.unlink()
    edition(zim, items(11, {3: "A page on snow goggles that are carved of wood or bone, against the light. " * 3}))
    counts = result_of(kbjobs, "zim-index", zim, "--source", "winter")
    assert (counts["embedded"], counts["changed"], counts["deleted"], counts["documents"]) == (1, 1, 2, 11)
    assert verify(home, "winter").ok
    zim.unlink()
    edition(zim, items(3))
    refused = kbjobs("run", "zim-index", "winter", check=1)
    assert "8 of the 11 documents of 'winter' are gone" in refused.stderr + refused.stdout
    assert len(paths_of(home, "winter")) == 11
    assert result_of(kbjobs, "zim-index", "winter", "--allow-delete")["deleted"] == 8
    assert verify(home, "winter").ok


def test_what_the_user_wrote_into_the_manifest_stays(home: Home, zim: Path, kbjobs: Kbjobs) -> None:
    kbjobs("run", "zim-index", zim, "--source", "winter", "--quiet")
    folder = SourceFolder(home.sources, "winter")
    manifest = json.loads(folder.manifest.read_text())
    folder.manifest.write_text(json.dumps(manifest | {"name": "My winter", "creator": "Me", "shelf": 4}))
    kbjobs("run", "zim-index", "winter", "--quiet")
    manifest = json.loads(folder.manifest.read_text())
    assert (manifest["name"], manifest["creator"], manifest["shelf"]) == ("My winter", "Me", 4)


def test_limits_of_length_and_language(home: Home, zim: Path, kbjobs: Kbjobs) -> None:
    counts = result_of(kbjobs, "zim-index", zim, "--source", "winter", "--language-filter", "en")
    assert (counts["filtered"], counts["embedded"], counts["documents"]) == (1, 12, 12)
    counts = result_of(kbjobs, "zim-index", "winter", "--min-text-length", "5")
    assert (counts["filtered"], counts["embedded"], counts["documents"]) == (0, 2, 14)
    assert result_of(kbjobs, "index-offline", "winter")["documents"] == 14  # the length is remembered
    assert result_of(kbjobs, "zim-index", "winter")["documents"] == 13
    kbjobs("run", "zim-index", "winter", "--language-filter", "klingon", check=2)


def test_another_zim_file_under_an_id_is_refused(home: Home, zim: Path, tmp_path: Path, kbjobs: Kbjobs) -> None:
    kbjobs("run", "zim-index", zim, "--source", "winter", "--quiet")
    other = edition(tmp_path / "other.zim", items(2))
    refused = kbjobs("run", "zim-index", other, "--source", "winter", check=5)
    assert "source 'winter' exists, and is not of" in refused.stderr
    assert "sources edit winter --drop OLD" in refused.stderr
    register(home, "pages", [tmp_path / "other.zim"])
    kbjobs("run", "zim-index", "pages", "--quiet")
    assert kbjobs("run", "zim-index", tmp_path / "none.zim", check=4).stderr.startswith("Error: there is no file")
    text = tmp_path / "text.zim"
    text.write_text("no archive")
    assert "is not a ZIM file" in kbjobs("run", "zim-index", text, check=2).stderr


def test_paths_of_every_kind_are_one_source(home: Home, zim: Path, tmp_path: Path, kbjobs: Kbjobs) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "oil.html").write_text(page("Oil", "A lamp burns oil for nine hours through the night. " * 3))
    named = tmp_path / "no-suffix"
    named.write_text("<!doctype html><title>Salt</title><p>Salt keeps meat for months in a dry cellar.</p>")
    register(home, "all", [folder, named, zim])
    assert result_of(kbjobs, "metadata", "all")["documents"] == 15
    counts = result_of(kbjobs, "index-offline", "all")
    assert (counts["documents"], counts["embedded"], counts["failed"]) == (15, 15, 0)
    found = json.loads(kbjobs("search", "all", "salt meat", "--json", "-k", "1").stdout)
    assert found[0]["title"] == "Salt"
    assert verify(home, "all").ok


def test_damage_is_counted_and_the_rest_is_indexed(home: Home, kbjobs: Kbjobs) -> None:
    real_input(ZIMS, "the ZIM files")
    ended = kbjobs("run", "zim-index", ZIMS / "invalid.smaller_than_header.zim", check=1)
    assert "cannot be opened" in ended.stdout + ended.stderr
    assert "less than a ZIM file's header" in ended.stdout + ended.stderr
    name = "invalid.outofbounds_first_clusterptr.zim"
    counts = result_of(kbjobs, "zim-index", ZIMS / name, "--source", "damaged", "--limit", "20", check=3)
    assert counts["failed"] == 10
    split = ZIMS / "wikibooks_be_all_nopic_2017-02_splitted.zim"
    counts = result_of(kbjobs, "zim-index", split, "--source", "parts", "--limit", "3")
    assert counts["documents"] == 3


def test_a_copy_takes_all_parts(home: Home, kbjobs: Kbjobs) -> None:
    real_input(ZIMS, "the ZIM files")
    name = "wikibooks_be_all_nopic_2017-02_splitted.zimaa"
    kbjobs("sources", "add", "parts", ZIMS / name, "--copy")
    copied = sorted(path.name for path in SourceFolder(home.sources, "parts").pages.rglob("*.zim*"))
    assert copied == sorted(path.name for path in ZIMS.glob("*_splitted.zim*"))
    assert result_of(kbjobs, "index-offline", "parts", "--limit", "2")["documents"] == 2


def test_an_inspection_is_a_report_and_json(zim: Path, home: Home, kbjobs: Kbjobs) -> None:
    ended = kbjobs("run", "zim-inspect", zim)
    for words in ("Winter", "website", "text/html", "characters of text", "Somebody", "checksum"):
        assert words in ended.stdout
    assert "13 of 14 pages have at least 100 characters of text. To index them:" in ended.stdout
    assert f"kbjobs run zim-index '{zim}'" in ended.stdout
    report = result_of(kbjobs, "zim-inspect", zim, "--min-text-length", "5")
    assert (report["articles"], report["indexable"], report["redirects"]) == (14, 14, 1)
    kbjobs("run", "zim-index", zim, "--source", "winter", "--quiet")
    assert result_of(kbjobs, "zim-inspect", "winter")["articles"] == 14
    assert "zim-inspect" in kbjobs("history").stdout


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/x/wikipedia_en_all_2026-01.zim", "wikipedia_en_all_2026-01"),
        ("/x/Winter Guide (2).ZIM", "winter-guide-2"),
        ("/x/parts.zimaa", "parts"),
        ("/x/" + "é" * 10 + "a.zim", "a"),
    ],
)
def test_an_id_is_made_of_the_name(path: str, name: str) -> None:
    assert name_source(path) == name
