"""``kbjobs config``: the settings in force, the home, and secrets, which are never shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.registry import SETTINGS
from kbjobs.config.secrets import stored_secrets
from tests.commands.conftest import check_help
from tests.conftest import MODEL, Kbjobs, read_json


def set_secret(name: str, value: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kbjobs", "config", "set-secret", "--", name]
    return subprocess.run(command, input=value, text=True, capture_output=True, check=False)


def test_help(kbjobs: Kbjobs) -> None:
    for command in (["config"], ["config", "show"], ["config", "set"], ["config", "unset"], ["config", "path"]):
        check_help(kbjobs, *command)


def test_every_setting_is_shown_with_its_origin(home: Home, kbjobs: Kbjobs) -> None:
    home.config_file.write_text("workers = 4\n")
    shown = kbjobs("config", "show")
    rows = {row[0]: row[1:] for row in (line.split("\t") for line in shown.stdout.splitlines())}
    assert set(rows) == {setting.name for setting in SETTINGS}
    assert rows["workers"][0] == "4" and "config.toml" in rows["workers"][1]
    assert rows["model"][:2] == [MODEL, "environment KBJOBS_MODEL"]
    assert rows["nice"][:2] == ["0", "default"]
    output = read_json(kbjobs("config", "show", "--json"))
    assert output["on_finish"]["value"] == []
    output["on_finish"]["value"] = ""  # in the table the words stand as a shell would take them
    assert {name: [str(one["value"]), one["origin"]] for name, one in output.items()} == {
        name: row[:2] for name, row in rows.items()
    }


def test_a_bad_setting_is_told_with_its_file(home: Home, kbjobs: Kbjobs) -> None:
    home.config_file.write_text("wokers = 4\n")
    refused = kbjobs("config", "show", check=2)
    assert refused.stdout == ""
    assert str(home.config_file) in refused.stderr and "workers" in refused.stderr


def test_the_path_is_that_of_the_home_even_where_it_is_not_there(home: Home, kbjobs: Kbjobs) -> None:
    assert kbjobs("config", "path").stdout == f"{home.path}\n"
    home.engines.unlink()
    home.path.rmdir()
    assert kbjobs("config", "path").stdout == f"{home.path}\n"
    assert not home.path.exists()


def test_a_secret_is_read_from_stdin_and_not_shown(home: Home, kbjobs: Kbjobs) -> None:
    stored = set_secret("OPENAI_API_KEY", "sk-hidden\n")
    assert (stored.returncode, stored.stdout) == (0, "")
    assert stored.stderr.startswith("OPENAI_API_KEY is stored")
    assert "hidden" not in stored.stderr + kbjobs("config", "show", "--json").stdout
    assert stored_secrets(home) == {"OPENAI_API_KEY": "sk-hidden"}
    assert home.secrets_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["openai", "A B", "", "../X", "A" * 65])
def test_a_bad_name_of_a_secret(home: Home, name: str) -> None:
    refused = set_secret(name, "sk-hidden")
    assert (refused.returncode, refused.stdout, "hidden" in refused.stderr) == (2, "", False)
    assert stored_secrets(home) == {}


def test_a_bad_value_of_a_secret(home: Home) -> None:
    refused = set_secret("OPENAI_API_KEY", "")
    assert (refused.returncode, "is empty" in refused.stderr) == (2, True)
    assert stored_secrets(home) == {}


def test_a_setting_is_written_where_it_belongs_and_the_rest_stays(home: Home, kbjobs: Kbjobs) -> None:
    home.config_file.write_text('# mine\nworkers = 2 # two\n\n[packs]\n# where\nto = "x"\n\n[ray]\naddress = "auto"\n')
    assert "workers = 5" in kbjobs("config", "set", "workers", "5").stderr
    kbjobs("config", "set", "packs.from", "s3://theirs/packs")
    kbjobs("config", "set", "on_finish", "notify.sh", "the night")
    text = home.config_file.read_text()
    assert text.startswith("# mine\nworkers = 5 # two\n") and "# where\n" in text
    values = read_json(kbjobs("config", "show", "--json"))
    assert [values[name]["value"] for name in ("workers", "packs.to", "packs.from", "ray.address", "on_finish")] == [
        5,
        "x",
        "s3://theirs/packs",
        "auto",
        ["notify.sh", "the night"],
    ]


def test_a_setting_is_removed_with_the_table_that_it_leaves_empty(home: Home, kbjobs: Kbjobs) -> None:
    kbjobs("config", "set", "packs.to", "/srv/packs")
    kbjobs("config", "set", "workers", "3")
    assert "no longer set" in kbjobs("config", "unset", "packs.to").stderr
    assert home.config_file.read_text().strip() == "workers = 3"
    assert "is not set" in kbjobs("config", "unset", "packs.to").stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("wokers", "4"), "Did you mean workers?"),
        (("workers", "many"), "not a whole number"),
        (("workers", "4", "5"), "takes one value"),
        (("workers", "0"), "out of range"),
        (("engine", "magic"), "Choose one of"),
        (("on_finish", ""), "not a list of words"),
    ],
)
def test_a_setting_that_would_be_refused_is_not_written(
    words: tuple[str, ...], reason: str, home: Home, kbjobs: Kbjobs
) -> None:
    home.config_file.write_text("nice = 5\n")
    assert reason in kbjobs("config", "set", *words, check=2).stderr
    assert home.config_file.read_text() == "nice = 5\n"


def test_a_file_that_is_no_toml_is_not_overwritten(home: Home, kbjobs: Kbjobs) -> None:
    home.config_file.write_text("workers = \n")
    assert "not valid TOML" in kbjobs("config", "set", "nice", "5", check=2).stderr
    assert home.config_file.read_text() == "workers = \n"


def test_an_environment_that_overrides_is_told(kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBJOBS_WORKERS", "7")
    assert "KBJOBS_WORKERS is set in this shell" in kbjobs("config", "set", "workers", "3").stderr


def test_a_linked_file_stays_a_link(home: Home, kbjobs: Kbjobs, tmp_path: Path) -> None:
    kept = tmp_path / "kept.toml"
    kept.write_text("nice = 5\n")
    home.config_file.symlink_to(kept)
    kbjobs("config", "set", "workers", "3")
    assert home.config_file.is_symlink() and kept.read_text() == "nice = 5\nworkers = 3\n"


def test_every_setting_can_be_written(home: Home, kbjobs: Kbjobs) -> None:
    for setting in SETTINGS:
        default = setting.default if isinstance(setting.default, tuple) else (str(setting.default),)
        kbjobs("config", "set", setting.name, *(default or ("notify.sh",)))
    origins = {one["origin"] for name, one in read_json(kbjobs("config", "show", "--json")).items() if name != "model"}
    assert origins == {str(home.config_file)}


def test_a_command_may_be_given_as_the_list_that_the_file_has(home: Home, kbjobs: Kbjobs) -> None:
    kbjobs("config", "set", "on_finish", '["notify.sh", "the night"]')
    assert read_json(kbjobs("config", "show", "--json"))["on_finish"]["value"] == ["notify.sh", "the night"]
    assert "not a list of words" in kbjobs("config", "set", "on_finish", '["a", 1]', check=2).stderr
