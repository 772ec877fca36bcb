"""``kbjobs chains``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from kbjobs.chains.library import TEMPLATES, built_in_names
from kbjobs.config.home import Home
from kbjobs.services.sources import register
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, read_json, write_pages

PHASE = '[[phase]]\njob = "index-offline"\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def wiki(home: Home, tmp_path: Path) -> str:
    register(home, "wiki", [write_pages(tmp_path / "wiki", 2)])
    return "wiki"


def write_home_chain(home: Home, name: str, text: str) -> Path:
    folder = home.path / "chains"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def test_list_shows_where_each_is_from(kbjobs: Kbjobs, home: Home) -> None:
    mine = write_home_chain(home, "reindex_offline", 'description = "Mine."\n' + PHASE)
    listed = {one["name"]: one for one in read_json(kbjobs("chains", "list", "--json"))}
    assert set(listed) == set(built_in_names())
    assert listed["reindex_offline"]["path"] == str(mine)
    assert listed["reindex_offline"]["origin"] == "home" and listed["generate_source"]["origin"] == "built-in"
    assert [phase["job"] for phase in listed["reindex_online"]["phases"]] == ["clear_vectors", "index_online"]
    rows = [line.split("\t") for line in kbjobs("chains", "list").stdout.splitlines()]
    assert ["reindex-offline", "home", "index-offline", "Mine."] in rows


def test_a_broken_one_in_the_home_is_listed_as_broken(kbjobs: Kbjobs, home: Home) -> None:
    write_home_chain(home, "broken", "name = \n")
    (home.path / "chains" / "binary.toml").write_bytes(bytes(range(256)))
    (home.path / "chains" / "dangling.toml").symlink_to("nowhere")
    rows = [line.split("\t") for line in kbjobs("chains", "list").stdout.splitlines()]
    assert ["broken", "home", "broken", "kbjobs chains validate broken says why"] in rows
    assert len(rows) == len(built_in_names()) + 2
    listed = {one["name"]: one for one in read_json(kbjobs("chains", "list", "--json"))}
    assert listed["broken"]["broken"] and "not a value" in listed["broken"]["error"]
    assert not listed["generate_source"]["broken"]


def test_show_prints_the_file_and_it_can_be_used(kbjobs: Kbjobs, here: Path) -> None:
    shown = kbjobs("chains", "show", "generate-source").stdout
    assert shown == (TEMPLATES / "generate_source.toml").read_text()
    (here / "copy.toml").write_text(shown)
    kbjobs("chains", "validate", "copy.toml", "--syntax-only")
    chain = read_json(kbjobs("chains", "show", "generate_source.toml", "--json"))
    assert [phase["name"] for phase in chain["phases"]] == [
        "metadata", "index_online", "index_offline", "suggest_tags"
    ]  # fmt: skip


def test_show_of_a_broken_one_also_says_why(kbjobs: Kbjobs, here: Path) -> None:
    (here / "bad.toml").write_text("name = \n")
    ended = kbjobs("chains", "show", "bad.toml", check=2)
    assert ended.stdout == "name = \n" and "bad.toml:1:8: error" in ended.stderr
    assert "Did you mean reindex-online" in kbjobs("chains", "show", "reindex-onlin", check=4).stderr


def test_validate_shows_every_mistake_of_every_file(kbjobs: Kbjobs, here: Path) -> None:
    (here / "one.toml").write_text("nme = 1\n" + PHASE + "weight = -1\n")
    (here / "two.toml").write_text("[[phase]\n")
    (here / "good.toml").write_text(PHASE)
    ended = kbjobs(
        "chains", "validate", "one.toml", "two.toml", "good.toml", "reindex-online", "--syntax-only", check=2
    )
    assert [line.split(": ")[0] for line in ended.stdout.splitlines() if ": error: " in line] == [
        "one.toml:1:1", "one.toml:4:10", "two.toml:1:8"
    ]  # fmt: skip
    assert "   | ^^^\n" in ended.stdout and "did you mean name?" in ended.stdout
    assert "good.toml: valid, 1 phase\n" in ended.stdout
    assert "reindex_online.toml: valid, 2 phases\n" in ended.stdout


def test_validate_as_json(kbjobs: Kbjobs, here: Path) -> None:
    (here / "bad.toml").write_text(PHASE + "weight = -1\n")
    (here / "order.toml").write_text(PHASE + '[[phase]]\njob = "metadata"\n')
    output = read_json(
        kbjobs("chains", "validate", "bad.toml", "order.toml", "no.toml", "--json", "--syntax-only", check=2)
    )
    assert [(one["file"], one["line"], one["column"], one["severity"], one["kind"]) for one in output] == [
        ("bad.toml", 3, 10, "error", "value"),
        ("order.toml", 2, 7, "warning", "order"),
        ("no.toml", None, None, "error", "file"),
    ]
    assert output[0]["expected"] == "a number from 0 to 1,000,000"
    assert read_json(kbjobs("chains", "validate", "generate-source", "--json", "--syntax-only")) == []


def test_validate_exit_codes(kbjobs: Kbjobs, here: Path) -> None:
    (here / "order.toml").write_text(PHASE + '[[phase]]\njob = "metadata"\n')
    shown = kbjobs("chains", "validate", "order.toml", check=0).stdout
    assert "order.toml:2:7: warning: Index (Offline) runs before Metadata" in shown
    assert "Did you mean order.toml?" in kbjobs("chains", "validate", "oder.toml", check=4).stdout
    kbjobs("chains", "validate", check=2)


def test_validate_with_a_source_says_what_each_phase_would_meet(
    kbjobs: Kbjobs, here: Path, wiki: str, minilm: None
) -> None:
    (here / "nightly.toml").write_text('source = "wiki"\n\n[[phase]]\njob = "index-online"\n\n' + PHASE)
    shown = kbjobs("chains", "validate", "nightly.toml", check=6).stdout
    assert "nightly.toml:4:7: error: source 'wiki': index-online needs OPENAI_API_KEY" in shown
    assert "valid" not in shown.splitlines()[-1]
    assert kbjobs("chains", "validate", "nightly.toml", "--syntax-only").stdout == "nightly.toml: valid, 2 phases\n"
    (here / "clear.toml").write_text('[[phase]]\njob = "clear-vectors"\n')
    shown = kbjobs("chains", "validate", "clear.toml", "--source", "wiki").stdout
    assert "warning: source 'wiki' has no vectors of dimension 384: nothing to clear" in shown


def test_validate_with_a_source_that_is_indexed_says_so(kbjobs: Kbjobs, here: Path, wiki: str, minilm: None) -> None:
    (here / "again.toml").write_text(PHASE)
    shown = kbjobs("chains", "validate", "again.toml", "--source", "wiki").stdout
    assert "source 'wiki' has no metadata; add the phase metadata before it" in shown and "already has" not in shown
    kbjobs("run", "index-offline", "wiki", "--quiet")
    shown = kbjobs("chains", "validate", "again.toml", "--source", "wiki").stdout
    assert "again.toml:2:7: warning: source 'wiki' already has 2 local vectors" in shown
    # What runs before it in the chain makes the difference.
    shown = kbjobs("chains", "validate", "reindex-offline", "--source", "wiki").stdout
    assert "already has" not in shown


def test_validate_names_a_model_that_is_missing(kbjobs: Kbjobs, here: Path, wiki: str) -> None:
    (here / "x.toml").write_text(PHASE + 'params = { model = "bge-large-en-v1.5" }\n')
    output = read_json(kbjobs("chains", "validate", "x.toml", "--source", "wiki", "--json", check=6))
    assert [(one["kind"], one["severity"]) for one in output] == [("state", "error")]
    assert "bge-large-en-v1.5 is not on this machine" in output[0]["message"]


@pytest.mark.parametrize(
    ("params", "code", "output"),
    [
        ('{ model = "bge-large-en-v1.5" }', 6, "bge-large-en-v1.5 is not on this machine"),
        ('{ model = "all-MiniLM-L6" }', 4, "all-MiniLM-L6"),
        ('{ model = "all-MiniLM-L6-v2", dimension = 768 }', 2, "384 dimensions, not 768"),
    ],
)
@pytest.mark.parametrize("with_source", [True, False])
def test_validate_refuses_what_a_submit_refuses(
    kbjobs: Kbjobs, here: Path, wiki: str, minilm: None, params: str, code: int, output: str, with_source: bool
) -> None:
    (here / "x.toml").write_text(PHASE + f"params = {params}\n")
    source = ["--source", "wiki"] if with_source else []
    shown = kbjobs("chains", "validate", "x.toml", *source, check=code).stdout
    assert "x.toml:2:7: error: " in shown and output in shown
    assert output in kbjobs("chain", "x.toml", "--source", "wiki", check=code).stderr
    kbjobs("chains", "validate", "x.toml", *source, "--syntax-only")


def test_validate_needs_no_key_for_a_dry_run(kbjobs: Kbjobs, here: Path) -> None:
    phase = '[[phase]]\njob = "index-online"\n'
    (here / "online.toml").write_text(phase)
    (here / "dry.toml").write_text(phase + "params = { dry_run = true }\n")
    assert "OPENAI_API_KEY" in kbjobs("chains", "validate", "online.toml", check=6).stdout
    assert kbjobs("chains", "validate", "dry.toml").stdout == "dry.toml: valid, 1 phase\n"


def test_validate_with_a_source_that_is_not_there(kbjobs: Kbjobs, here: Path, wiki: str) -> None:
    (here / "x.toml").write_text('sources = ["wiki", "wikki"]\n' + PHASE)
    shown = kbjobs("chains", "validate", "x.toml", check=4).stdout
    assert "x.toml:1:20: error: there is no source 'wikki'" in shown and "Did you mean wiki?" in shown
    assert "no source" in kbjobs("chains", "validate", "x.toml", "--source", "wikki", check=4).stderr
    kbjobs("chains", "validate", "x.toml", "--source", "../x", check=2)


def test_schema_is_one(kbjobs: Kbjobs) -> None:
    schema = json.loads(kbjobs("chains", "schema").stdout)
    Draft7Validator.check_schema(schema)
    for path in TEMPLATES.glob("*.toml"):
        Draft7Validator(schema).validate(tomllib.loads(path.read_text()))


def test_new_writes_a_valid_file_and_the_schema_beside_it(kbjobs: Kbjobs, here: Path) -> None:
    written = kbjobs("chains", "new", "over-night", "--job", "metadata", "--job", "index_offline").stdout
    assert written.splitlines() == ["over-night.toml", "chain.schema.json"]
    text = (here / "over-night.toml").read_text()
    assert text.startswith("#:schema ./chain.schema.json\n")
    document = tomllib.loads(text)
    assert [phase["job"] for phase in document["phase"]] == ["metadata", "index_offline"]
    Draft7Validator(json.loads((here / "chain.schema.json").read_text())).validate(document)
    kbjobs("chains", "validate", "over-night.toml")


def test_new_overwrites_nothing(kbjobs: Kbjobs, here: Path) -> None:
    (here / "mine.toml").write_text("mine")
    (here / "chain.schema.json").write_text("mine")
    assert "is there already" in kbjobs("chains", "new", "mine", check=2).stderr
    (here / "dangling.toml").symlink_to(here / "elsewhere")
    kbjobs("chains", "new", "dangling", check=2)
    assert kbjobs("chains", "new", "other").stdout == "other.toml\n"
    assert (here / "mine.toml").read_text() == (here / "chain.schema.json").read_text() == "mine"
    assert not (here / "elsewhere").exists()


def test_new_in_the_home_is_found_by_its_name(kbjobs: Kbjobs, home: Home, here: Path) -> None:
    kbjobs("chains", "new", "nightly", "--home")
    assert not list(here.iterdir())
    assert (home.path / "chains" / "nightly.toml").stat().st_mode & 0o777 == 0o600
    assert (home.path / "chains").stat().st_mode & 0o777 == 0o700
    kbjobs("chains", "validate", "nightly")


@pytest.mark.parametrize(
    "arguments", [["../x"], ["Big"], [""], ["index-offline"], ["index"], ["x", "--job", "mtadata"]]
)
def test_new_refuses_what_could_not_run(kbjobs: Kbjobs, here: Path, arguments: list[str]) -> None:
    ended = kbjobs("chains", "new", *arguments, check=2)
    assert not list(here.iterdir()) and not (here.parent / "x.toml").exists()
    assert ("Did you mean metadata?" in ended.stderr) == ("mtadata" in arguments)


def test_new_in_a_folder_that_cannot_be_written(kbjobs: Kbjobs, home: Home) -> None:
    (home.path / "chains").write_text("a file")
    assert "cannot be written" in kbjobs("chains", "new", "x", "--home", check=7).stderr


def test_validate_gives_the_code_that_a_submit_meets_first(kbjobs: Kbjobs, here: Path, wiki: str) -> None:
    """The sources stand above the phases in the file, and are looked at one after the other."""
    (here / "two.toml").write_text(f'sources = ["{wiki}", "gone"]\n[[phase]]\njob = "index-online"\n')
    kbjobs("chain", "two.toml", "-d", check=6)
    assert "there is no source 'gone'" in kbjobs("chains", "validate", "two.toml", check=6).stdout


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "chains")
    for command in ("list", "show", "validate", "schema", "new"):
        check_help(kbjobs, "chains", command)
