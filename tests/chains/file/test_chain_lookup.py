"""From a name and parameters to a chain: job types, chains, and names of former times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kbjobs.chains.chain import Chain
from kbjobs.chains.file.chain_lookup import find_chain
from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError, NotFoundError, UsageError


def jobs(chain: Chain) -> list[str]:
    return [phase.job_type.name for phase in chain.phases]


def write_chain(home: Home, name: str, job: str) -> Path:
    home.chains.mkdir(exist_ok=True)
    path = home.chains / f"{name}.toml"
    path.write_text(f'[[phase]]\njob = "{job}"\n')
    return path


def test_a_job_type_is_a_chain_of_one_with_its_parameters(home: Home) -> None:
    for name in ("index_offline", "index-offline"):
        chain = find_chain(home, name, {"limit": 3})
        assert (chain.name, jobs(chain)) == ("index_offline", ["index_offline"])
        assert chain.phases[0].params.model_dump()["limit"] == 3


def test_a_chain_is_found_by_its_name(home: Home) -> None:
    assert jobs(find_chain(home, "reindex-online", {})) == ["clear_vectors", "index_online"]
    write_chain(home, "nightly", "metadata")
    assert jobs(find_chain(home, "nightly", {})) == ["metadata"]
    write_chain(home, "reindex_online", "metadata")  # one of the home takes the place of a built-in one
    assert jobs(find_chain(home, "reindex_online", {})) == ["metadata"]


def test_a_chain_file_does_not_take_the_place_of_a_job_type(home: Home) -> None:
    write_chain(home, "metadata", "suggest_tags")
    assert jobs(find_chain(home, "metadata", {})) == ["metadata"]


@pytest.mark.parametrize(
    ("name", "dimension", "wanted", "given"),
    [
        ("index", 384, ["index_offline"], [384]),
        ("index", 1024, ["index_offline"], [1024]),
        ("index", 1536, ["index_online"], [None]),  # it has one dimension, and no parameter for it
        ("reindex", 768, ["clear_vectors", "index_offline"], [768, 768]),
        ("reindex", 1536, ["clear_vectors", "index_online"], [1536, None]),
    ],
)
def test_a_former_name_is_told_apart_by_its_dimension(
    home: Home, name: str, dimension: int, wanted: list[str], given: list[int | None]
) -> None:
    chain = find_chain(home, name, {"dimension": dimension})
    assert jobs(chain) == wanted
    assert [phase.params.model_dump().get("dimension") for phase in chain.phases] == given


@pytest.mark.parametrize(
    ("name", "params", "error", "words"),
    [
        ("index", {}, UsageError, "index-offline or index-online"),
        ("index", {"dimension": 100}, UsageError, "100 is no dimension"),
        ("reindex", {"dimension": 384, "force": True}, UsageError, "the chain reindex takes no parameters"),
        ("reindex-offline", {"force": True}, UsageError, "the chain reindex-offline takes no parameters"),
        ("reindex-offline", {"dimension": 384}, UsageError, "takes no parameters"),
        ("metadata", {"nonsense": 1}, UsageError, "metadata: nonsense"),
        ("index_offline", {"limit": 0}, UsageError, "index-offline: limit"),
        ("nonsense", {}, KbjobsError, "nonsense"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    home: Home, name: str, params: dict[str, Any], error: type[KbjobsError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        find_chain(home, name, params)
    assert caught.value.hint


def test_a_chain_whose_file_is_gone_is_not_found(home: Home) -> None:
    path = write_chain(home, "nightly", "metadata")
    path.unlink()
    with pytest.raises((NotFoundError, UsageError), match="nightly"):
        find_chain(home, "nightly", {})
