"""Job types by name, of today and of former times."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.errors import UsageError
from kbjobs.phases import registry
from kbjobs.phases.names import NAMES, known_names
from kbjobs.phases.registry import is_taken, job_type


def test_every_name_is_a_type() -> None:
    for name in NAMES:
        assert job_type(name).name == job_type(name.replace("_", "-")).name == name


def test_a_former_name_for_two_types_is_refused_with_both() -> None:
    with pytest.raises(UsageError, match="index-offline or index-online") as caught:
        job_type("index")
    assert "1536" in caught.value.hint
    assert known_names("index") == ("index_offline", "index_online", "index")
    assert (job_type("index", 1536).name, job_type("index", 384).name) == ("index_online", "index_offline")
    assert known_names("download") == ("install_source", "download")
    assert known_names("vectors-768") == ("vectors_768",)


def test_a_package_is_looked_for_again_once_something_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not is_taken("brew")
    looked = registry._find_entry_points.cache_info().misses
    assert not is_taken("brew")
    assert registry._find_entry_points.cache_info().misses == looked  # a page asks for many
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "METADATA").write_text("Name: brewing\nVersion: 1.0\n")
    (tmp_path / "new" / "entry_points.txt").write_text("[kbjobs.job_types]\nbrew = brewing:JOB_TYPE\n")
    (tmp_path / "new").rename(tmp_path / "brewing-1.0.dist-info")
    assert is_taken("brew")
    (tmp_path / "brewing-1.0.dist-info").rename(tmp_path / "gone")
    assert not is_taken("brew")
