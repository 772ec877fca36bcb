"""XML of strangers: entities, external files, depth and size."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kbjobs.content import xml_tree
from kbjobs.content.xml_tree import DEPTH_LIMIT, NAME_LIMIT, DamagedXml, child_of, parse_xml, text_of, texts_of


def test_names_have_no_namespace() -> None:
    root = parse_xml(b'<a:x xmlns:a="urn:a" a:k="1"><y>one <b>two</b></y><y/></a:x>', "f")
    assert (root.tag, root.attrib, texts_of(root, "y")) == ("x", {"k": "1"}, ["one two"])
    assert text_of(child_of(root, "y", "b")) == "two"
    assert child_of(root, "z", "b") is None and text_of(None) == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1251"])
def test_a_declared_encoding_is_read(encoding: str) -> None:
    word = "мир" if encoding == "windows-1251" else "Öl"
    text = f'<?xml version="1.0" encoding="{encoding}"?><a>{word}</a>'
    assert parse_xml(text.encode(encoding), "f").text == word


BOMB = b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><a>&b;</a>'


@pytest.mark.parametrize("data", [BOMB, BOMB.decode().encode("utf-16"), b'<!DOCTYPE a [<!ENTITY % p "x">]><a/>'])
def test_entities_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="declares entities"):
        parse_xml(data, "f")


def test_nothing_outside_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.dtd"
    secret.write_text('<!ENTITY s "secret">')
    data = f'<!DOCTYPE a SYSTEM "{secret.as_uri()}"><a>b&s;c&nbsp;d</a>'
    assert parse_xml(data.encode(), "f").text == "bcd"
    with pytest.raises(ValueError, match="declares entities"):
        parse_xml(f'<!DOCTYPE a [<!ENTITY s SYSTEM "{secret.as_uri()}">]><a>&s;</a>'.encode(), "f")


@pytest.mark.parametrize(
    "data", [b"", b"<a", b"<a></b>", b"<a/><b/>", b"\xff\xfe\0", b"text", b"<a>&b;</a>", b"<a>\xff</a>"]
)
def test_damaged_xml_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedXml, match="f is not well-formed"):
        parse_xml(data, "f")


def test_depth_is_limited_quickly() -> None:
    assert parse_xml(b"<a>" * DEPTH_LIMIT + b"</a>" * DEPTH_LIMIT, "f").tag == "a"
    started = time.process_time()
    with pytest.raises(ValueError, match="nested too deep"):
        parse_xml(b"<a>" * 5_000_000, "f")
    assert time.process_time() - started < 1


def test_the_number_of_elements_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_tree, "ELEMENT_LIMIT", 1000)
    assert len(parse_xml(b"<a>" + b"<b/>" * 999 + b"</a>", "f")) == 999
    with pytest.raises(ValueError, match="more than 1,000 elements"):
        parse_xml(b"<a>" + b"<b/>" * 1000 + b"</a>", "f")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("<a " + " ".join(f'b{number}="c"' for number in range(800_000)) + "/>", "a tag of more than 2,097,152 bytes"),
        ("<a><!--" + "x" * 8_000_000 + "--></a>", "a tag of more than 2,097,152 bytes"),
        ("<a>" + "".join(f"<b{number}/>" for number in range(NAME_LIMIT + 1)) + "</a>", "10,000 different names"),
        ("<a " + " ".join(f'b{number}="c"' for number in range(NAME_LIMIT + 1)) + "/>", "10,000 different names"),
    ],
    ids=["long tag", "long comment", "elements", "attributes"],
)
def test_tags_and_names_are_limited_quickly(data: str, reason: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=reason):
        parse_xml(data.encode(), "f")
    assert time.process_time() - started < 3


def test_long_text_is_no_long_tag() -> None:
    assert len(parse_xml(b"<a>" + b"x" * 8_000_000 + b"</a>", "f").text or "") == 8_000_000
