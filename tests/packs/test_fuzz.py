"""Packs with anything in the place of anything: they are refused with an error for people, or are whole."""

from __future__ import annotations

import json
import tarfile
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.packs.inspecting import describe_pack, verify_pack
from kbjobs.packs.pack_reading import open_pack
from kbjobs.packs.vector_rows import read_rows
from tests.conftest import FACTOR
from tests.packs.conftest import Forger, build
from tests.packs.sources import make_source

MANY = settings(max_examples=150 * FACTOR, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["", "a" * 64, "../x", "\ud800", "NaN", "https://x@y/", "\x1b[0m"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


def places_in(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    if isinstance(value, dict):
        return [here, *(place for name in value for place in places_in(value[name], (*here, name)))]
    if isinstance(value, list):
        return [here, *(place for number, one in enumerate(value) for place in places_in(one, (*here, number)))]
    return [here]


def put(value: Any, place: tuple[Any, ...], odd: Any) -> Any:
    if not place:
        return odd
    changed = deepcopy(value)
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = odd
    return changed


def check(place: str) -> None:
    with suppress(KbjobsError), open_pack(place) as pack:
        describe_pack(pack)
        verify_pack(pack)


@pytest.fixture(scope="module")
def module_forger(tmp_path_factory: pytest.TempPathFactory) -> Forger:
    path = tmp_path_factory.mktemp("fuzz")
    return Forger(path / "store", build(make_source(Home(path / "home"), path), path / "store", include_backup=True))


@MANY
@given(data=st.data())
def test_anything_in_the_manifest(module_forger: Forger, data: st.DataObject) -> None:
    values = module_forger.values
    place = data.draw(st.sampled_from(places_in(values)))
    text = json.dumps(put(values, place, data.draw(ODD)))
    check(module_forger.write_text(text.encode()))


@MANY
@given(data=st.data())
def test_anything_in_a_record(module_forger: Forger, data: st.DataObject) -> None:
    forger = Forger.__new__(Forger)
    forger.store, forger.values = module_forger.store, deepcopy(module_forger.values)
    table = data.draw(
        st.sampled_from(
            [
                *(forger.values[name] for name in ("documents", "metadata", "links")),
                forger.values["profiles"][0]["passages"],
                forger.values["backup"]["files"],
            ]
        )
    )
    records = forger.lines(table)
    place = data.draw(st.sampled_from(places_in(records)[1:]))
    changed = put(records, place, data.draw(ODD))
    forger.replace(table, changed)
    check(forger.write())


@MANY
@given(data=st.data())
def test_any_bytes_changed_in_a_file(tmp_path: Path, module_forger: Forger, data: st.DataObject) -> None:
    """The archive is cut, and bytes of it are others."""
    original = tmp_path / "original.kbpack"
    if not original.exists():
        with tarfile.open(original, "w:", format=tarfile.USTAR_FORMAT) as tar:
            for path in sorted(module_forger.store.glob("objects/*")):
                tar.add(path, f"objects/{path.name}")
            (tmp_path / "manifest.json").write_text(json.dumps(module_forger.values))
            tar.add(tmp_path / "manifest.json", "manifest.json")
    whole = bytearray(original.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "changed.kbpack").write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    check(str(tmp_path / "changed.kbpack"))


@MANY
@given(
    header=st.one_of(
        st.binary(max_size=200),
        st.text(alphabet="{}'():, <f48descrshapefortran_orderTrueFalse01", max_size=200).map(str.encode),
    )
)
def test_any_header_of_an_array(header: bytes) -> None:
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
    with pytest.raises(ValueError, match=r"has|holds|is no array"):
        read_rows(data, 2, 8)
