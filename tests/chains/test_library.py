"""Where a chain is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.chains.library import TEMPLATES, built_in_names, find_chain_file, list_chain_files
from kbjobs.config.home import Home
from kbjobs.errors import NotFoundError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (home.path / "chains").mkdir()
    return here


@pytest.mark.parametrize("name", ["generate_source", "generate-source", "generate_source.toml", "generate-source.toml"])
def test_a_built_in_one_is_found_by_its_name(home: Home, name: str) -> None:
    assert find_chain_file(home, name) == TEMPLATES / "generate_source.toml"


def test_the_home_comes_before_the_built_in_ones(home: Home) -> None:
    path = home.path / "chains" / "generate-source.toml"
    path.touch()
    assert find_chain_file(home, "generate_source") == find_chain_file(home, "generate-source.toml") == path
    origins = {one.name: one.origin for one in list_chain_files(home)}
    assert origins["generate_source"] == "home"
    assert [one for one, origin in origins.items() if origin == "built-in"] == [
        name for name in built_in_names() if name != "generate_source"
    ]


def test_a_file_that_is_there_comes_first(home: Home, folder: Path) -> None:
    (folder / "generate_source.toml").touch()
    (folder / "plain").touch()
    (home.path / "chains" / "mine.toml").touch()
    assert find_chain_file(home, "generate_source.toml") == Path("generate_source.toml")
    assert find_chain_file(home, "generate_source") == TEMPLATES / "generate_source.toml"
    assert find_chain_file(home, "./plain") == find_chain_file(home, "plain") == Path("plain")
    assert find_chain_file(home, str(folder / "plain")) == folder / "plain"
    assert find_chain_file(home, "mine") == find_chain_file(home, "mine.toml") == home.path / "chains" / "mine.toml"


def test_a_folder_is_no_chain(home: Home, folder: Path) -> None:
    (folder / "generate_source").mkdir()
    (folder / "sub.toml").mkdir()
    (home.path / "chains" / "other.toml").mkdir()
    assert find_chain_file(home, "generate_source") == TEMPLATES / "generate_source.toml"
    for name in ("sub.toml", "./sub.toml", "other"):
        with pytest.raises(NotFoundError):
            find_chain_file(home, name)
    assert "other" not in {one.name for one in list_chain_files(home)}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("generate-sorce", "generate-source"),
        ("nightli.toml", "nightly.toml"),
        ("sub/nightli.toml", "sub/nightly.toml"),
        ("no/such/folder.toml", "not a folder"),
        ("../../etc/passwd.toml", "not a folder"),
        ("x" * 5000, "chains list"),
        ("x" * 5000 + ".toml", "chains list"),
        ("nul\0.toml", "chains list"),
        ("", "chains list"),
        ("a/\0", "not a folder"),
    ],
)
def test_what_is_not_there_is_told_with_the_nearest_name(home: Home, folder: Path, name: str, hint: str) -> None:
    (folder / "sub").mkdir()
    (folder / "nightly.toml").touch()
    (folder / "sub" / "nightly.toml").touch()
    with pytest.raises(NotFoundError) as caught:
        find_chain_file(home, name)
    assert hint in caught.value.hint


def test_a_name_cannot_climb_out_of_the_home(home: Home) -> None:
    (home.path / "secret.toml").touch()
    with pytest.raises(NotFoundError):
        find_chain_file(home, "../secret")


def test_without_a_folder_in_the_home_the_built_in_ones_are_listed(home: Home) -> None:
    (home.path / "chains").rmdir()
    assert [one.name for one in list_chain_files(home)] == list(built_in_names())
