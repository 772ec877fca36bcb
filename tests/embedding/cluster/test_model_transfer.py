"""A model as it arrives on a node: whole, verified, once."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.embedding.cluster.model_transfer import PART_BYTES, Parcel, Reception, pack_model, read_parts
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.errors import KbjobsError


@pytest.fixture
def parcel(home: Home, small_model: Path) -> Parcel:
    """A model of the head's, beside which lies what is not to be sent."""
    folder = home.models / "acme" / "small"
    folder.mkdir(parents=True)
    for file in small_model.rglob("*"):
        if file.is_file():
            target = folder / file.relative_to(small_model)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "onnx" / "model_qint8.onnx").write_bytes(b"another engine's")
    return pack_model(find_model("acme/small", home.models), home.engines)


@pytest.fixture
def node(tmp_path: Path) -> Home:
    """The home of a node that has no model."""
    node = Home(tmp_path / "node")
    node.path.mkdir()
    return node


def send(parcel: Parcel, reception: Reception) -> None:
    for name, part in read_parts(parcel):
        assert len(part) <= PART_BYTES
        reception.take(name, part)


def test_a_model_arrives_as_it_is_on_the_head(parcel: Parcel, node: Home) -> None:
    reception = Reception(parcel, node)
    assert reception.find() is None
    assert reception.begin() is None
    send(parcel, reception)
    folder = reception.finish()
    assert folder.path.is_relative_to(node.path)
    assert pack_model(folder, node.engines).files == parcel.files
    assert pack_model(folder, node.engines).key == parcel.key
    names = {name for name, _, _ in parcel.files}
    assert {"config.json", "tokenizer.json", "onnx/model.onnx"} <= names
    assert not names & {"pytorch_model.bin", "onnx/model_qint8.onnx"}
    assert Reception(parcel, node).find() == folder
    assert (folder.path.stat().st_mode & 0o777) == 0o700


def test_what_arrives_otherwise_is_refused_and_removed(parcel: Parcel, node: Home) -> None:
    reception = Reception(parcel, node)
    reception.begin()
    send(parcel, reception)
    reception.take("config.json", b" ")
    with pytest.raises(KbjobsError, match=r"config\.json of acme/small arrived damaged"):
        reception.finish()
    assert Reception(parcel, node).find() is None
    assert reception.begin() is None  # the lock is free again
    send(parcel, reception)
    assert reception.finish()


def test_what_a_killed_process_has_left_is_thrown_away(parcel: Parcel, node: Home) -> None:
    first = Reception(parcel, node)
    first.begin()
    first.take("config.json", b"the half of")
    first._lock.release()  # as the kernel does it
    second = Reception(parcel, node)
    assert second.begin() is None
    send(parcel, second)
    assert second.finish()


def test_a_second_process_waits_and_takes_nothing(parcel: Parcel, node: Home) -> None:
    first, second = Reception(parcel, node), Reception(parcel, node)
    assert first.begin() is None
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(second.begin()))
    waiting.start()
    send(parcel, first)
    assert not found
    folder = first.finish()
    waiting.join(timeout=20)
    assert found == [folder]


def test_a_node_that_has_the_model_itself_needs_none(parcel: Parcel, home: Home) -> None:
    found = Reception(parcel, home).find()
    assert found is not None
    assert found.path == home.models / "acme" / "small"
    # Of that name, but another model.
    assert Reception(replace(parcel, key="small-000000000000"), home).find() is None
    assert Reception(replace(parcel, reading={"window": 1}), home).find() is None
