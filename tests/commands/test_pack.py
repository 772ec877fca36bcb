"""``kbjobs pack``: what it says. What is in a pack: tests/packs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.sources import SourceFields
from kbjobs.store.sources import SourceFolder
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, copy_pages, read_json
from tests.packs.sources import make_source


@pytest.fixture
def wiki(home: Home, tmp_path: Path) -> SourceFolder:
    return make_source(home, tmp_path, described=SourceFields("Our wiki", "CC-BY-SA-4.0", "https://u:p@example.org/"))


def test_help(kbjobs: Kbjobs) -> None:
    for command in (("pack", "build"), ("pack", "inspect")):
        check_help(kbjobs, *command)


def test_build_and_inspect(wiki: SourceFolder, tmp_path: Path, kbjobs: Kbjobs) -> None:
    file = tmp_path / "wiki.kbpack"
    built = kbjobs("pack", "build", "wiki", file, "--include-backup")
    assert built.stdout == ""
    assert re.fullmatch(
        rf"{file}: wiki, version [0-9a-f]{{12}}, 0\.0 MB in \d+ parts, 0\.0 MB written\.\n", built.stderr
    )
    shown = kbjobs("pack", "inspect", file, "--verify")
    rows = dict(line.split("\t") for line in shown.stdout.splitlines())
    assert re.fullmatch("[0-9a-f]{64}", rows.pop("version"))
    parts = rows["size"].removeprefix("0.0 MB in ")
    assert rows == {
        "source": "wiki",
        "name": "Our wiki",
        "licence": "CC-BY-SA-4.0",
        "base URL": "https://example.org/",
        "format": "1.0",
        "languages": "en 5",
        "documents": "5",
        "model": "tiny, dimension 8: 10 passages, 6 vectors, 0.0 MB",
        "size": f"0.0 MB in {parts}",
        "backup": "5 files, 0.0 MB",
    }
    assert shown.stderr == f"All {parts} are intact.\n"
    described = read_json(kbjobs("pack", "inspect", f"file://{file}", "--json"))
    assert described["models"][0]["dimension"] == 8
    assert described["backup"]["files"] == 5
    assert (described["verified"], described["language"], described["license"]) == (False, "en", "CC-BY-SA-4.0")


def test_a_store(wiki: SourceFolder, tmp_path: Path, kbjobs: Kbjobs) -> None:
    first = read_json(kbjobs("pack", "build", "wiki", tmp_path / "store", "--json"))
    assert first["new_parts"] == first["parts"] == 6
    assert read_json(kbjobs("pack", "build", "wiki", tmp_path / "store", "--json"))["new_parts"] == 0
    place = tmp_path / "store" / "packs" / "wiki" / first["version"]
    for named in (place, place / "manifest.json", f"file://{place}"):
        described = read_json(kbjobs("pack", "inspect", named, "--json", "--verify"))
        assert (described["version"], described["backup"], described["verified"]) == (first["version"], None, True)
    for named in ((tmp_path / "store",), (tmp_path / "store", "wiki")):
        assert read_json(kbjobs("pack", "inspect", *named, "--json"))["version"] == first["version"]
    assert "has no pack of a source" in kbjobs("pack", "inspect", tmp_path / "store", "other", check=4).stderr


def test_a_damaged_pack_is_told(wiki: SourceFolder, tmp_path: Path, kbjobs: Kbjobs) -> None:
    file = tmp_path / "wiki.kbpack"
    kbjobs("pack", "build", "wiki", file)
    os.truncate(file, file.stat().st_size // 2)
    output = kbjobs("pack", "inspect", file, check=7)
    assert output.stdout == ""
    assert f"Error: {file} is not a pack that can be used: " in output.stderr
    assert "Nothing was changed." in output.stderr
    assert "is not the address" in kbjobs("pack", "inspect", "ftp://bucket/x", check=2).stderr
    kbjobs("pack", "inspect", tmp_path / "none", check=4)


def test_a_file_that_cannot_be_read_is_named(
    wiki: SourceFolder, tmp_path: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pages" / "secret.html").write_text("words")
    (tmp_path / "pages" / "secret.html").chmod(0)
    if os.access(tmp_path / "pages" / "secret.html", os.R_OK):
        pytest.skip("root reads every file")
    output = kbjobs("pack", "build", "wiki", tmp_path / "wiki.kbpack", "--include-backup", check=3)
    assert "Left out: pages/secret.html: permission denied" in output.stderr


@pytest.mark.usefixtures("minilm")
def test_a_real_source(tmp_path: Path, kbjobs: Kbjobs, python_docs: Path) -> None:
    """Pages of the Python documentation, embedded by a real model, with their files."""
    pages = copy_pages(python_docs, tmp_path / "pages", 12)
    kbjobs("sources", "add", "docs", pages, "--license", "PSF-2.0")
    kbjobs("run", "metadata", "docs")
    kbjobs("run", "index-offline", "docs")
    state = read_json(kbjobs("sources", "show", "docs", "--json"))
    kbjobs("pack", "build", "docs", tmp_path / "docs.kbpack", "--include-backup")
    described = read_json(kbjobs("pack", "inspect", tmp_path / "docs.kbpack", "--verify", "--json"))
    (model,) = described["models"]
    (indexed,) = state["models"]
    assert (model["passages"], model["vectors"], model["dimension"]) == (indexed["chunks"], indexed["vectors"], 384)
    assert (described["documents"], described["language"], described["license"]) == (12, "en", "PSF-2.0")
    assert described["backup"]["files"] == 12
    assert described["size"] < (tmp_path / "docs.kbpack").stat().st_size < described["size"] + 30_000
