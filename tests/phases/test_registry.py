"""Job types by name, of today and of former times."""

from __future__ import annotations

import pytest

from kbjobs.errors import UsageError
from kbjobs.phases.names import NAMES, known_names
from kbjobs.phases.registry import job_type


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
