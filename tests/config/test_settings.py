"""Settings and the home."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home, current_home, refuse_network_home
from kbjobs.config.settings import Settings
from kbjobs.errors import UnavailableError, UsageError


def test_precedence(home: Home) -> None:
    assert Settings(home, {}).integer("workers") == 2
    home.config_file.write_text("workers = 3\n")
    assert Settings(home, {}).integer("workers") == 3
    settings = Settings(home, {"KBJOBS_WORKERS": "5"})
    assert settings.integer("workers") == 5
    assert settings.values["workers"].origin == "environment KBJOBS_WORKERS"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("workers = 0", "out of range"),
        ("workers = 'two'", "not a whole number"),
        ("workers = 2.5", "not a whole number"),
        ("workers = true", "not a whole number"),
        ("worker = 3", "unknown setting 'worker'"),
        ("engine = 'magic'", "unknown"),
        ("model = 3", "not a text"),
        ("workers = ", "not valid TOML"),
        ("grace_seconds = nan", "out of range"),
    ],
)
def test_a_bad_value_is_told_with_its_file(home: Home, text: str, words: str) -> None:
    home.config_file.write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        Settings(home, {})
    assert str(home.config_file) in caught.value.message
    assert caught.value.hint


def test_a_near_name_is_suggested(home: Home) -> None:
    home.config_file.write_text("worker = 3")
    with pytest.raises(UsageError) as caught:
        Settings(home, {})
    assert "Did you mean workers?" in caught.value.hint


def test_bytes_that_are_not_text(home: Home) -> None:
    home.config_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not valid TOML"):
        Settings(home, {})


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:50 / /srv/my\\040share rw,relatime shared:1 - nfs4 server:/export rw
31 30 0:51 / /srv/my\\040share/local rw - xfs /dev/vdb rw
"""


def test_a_home_on_nfs_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    with pytest.raises(UnavailableError, match="nfs4"):
        refuse_network_home(Path("/srv/my share/kb"), table)
    refuse_network_home(Path("/srv/my share/local/kb"), table)
    refuse_network_home(Path("/srv/my shared"), table)
    refuse_network_home(Path("/home/x"), tmp_path / "missing")


def test_a_relative_home_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KBJOBS_HOME", "here")
    assert current_home().path == tmp_path / "here"


def test_folders_are_private(home: Home) -> None:
    home.prepare()
    assert {folder.stat().st_mode & 0o777 for folder in (home.path, home.logs, home.sources)} == {0o700}
