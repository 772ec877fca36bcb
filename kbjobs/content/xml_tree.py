"""Parse XML of unknown origin: no entity is expanded, nothing is fetched, and depth and size are limited."""

from __future__ import annotations

from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

ELEMENT_LIMIT = 2_000_000
"""The most elements of a file: each takes some hundred bytes of memory."""

NAME_LIMIT = 10_000
"""The most different names of elements and attributes of a file; the formats that are read have some hundred."""

TAG_LIMIT = 2 * 2**20
"""Longest tag or comment, in bytes. A parser collects all attributes of a tag before it shows the first."""

DEPTH_LIMIT = 200
"""The deepest nesting of elements, so that a reader may call itself for each level."""

_STEP = 2**20


class DamagedXml(ValueError):
    """The file is not well-formed XML."""


class _LocalNames(dict[str, str]):
    """Names without their namespaces; the formats that are read do not use one name for two things."""

    def __missing__(self, name: str) -> str:
        if len(self) >= NAME_LIMIT:
            raise ValueError(f"it is not trustworthy: its XML has more than {NAME_LIMIT:,} different names")
        local = self[name] = name.rpartition(" ")[2]
        return local


def parse_xml(data: bytes, name: str) -> Element:
    """Parse an XML file. The names of elements and attributes come without namespace.

    A document type is passed over: e-books name that of XHTML. Entities that it declares are refused, and those that an
    external one declares are left out of the text (XML 1.0, 4.4.3).

    Args:
        data: the file.
        name: its name, for errors.

    Raises:
        DamagedXml: it is not well-formed.
        ValueError: it declares entities, is nested too deep, or is too large in any way.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    builder = TreeBuilder()
    short = _LocalNames()
    depth = count = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth += 1
        count += 1
        if depth > DEPTH_LIMIT:
            raise ValueError(f"its XML is nested too deep: more than {DEPTH_LIMIT} levels")
        if count > ELEMENT_LIMIT:
            raise ValueError(f"too large: its XML has more than {ELEMENT_LIMIT:,} elements")
        builder.start(short[tag], {short[key]: value for key, value in attributes.items()})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(short[tag])

    def refuse(*_: object) -> None:
        raise ValueError("it is not trustworthy: its XML declares entities")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse
    try:
        for fed in range(0, len(data), _STEP):
            parser.Parse(data[fed : fed + _STEP], False)
            if fed + _STEP - parser.CurrentByteIndex > TAG_LIMIT + _STEP:
                raise ValueError(f"it is not trustworthy: its XML has a tag of more than {TAG_LIMIT:,} bytes")
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise DamagedXml(f"it is damaged: {name[:100]} is not well-formed XML") from error
    return builder.close()


def child_of(element: Element | None, *path: str) -> Element | None:
    """Return the first element along a path of names, or None if there is none."""
    for name in path:
        element = None if element is None else element.find(name)
    return element


def text_of(element: Element | None) -> str:
    """Return all text of an element on one line; '' for None."""
    return "" if element is None else " ".join("".join(element.itertext()).split())


def texts_of(parent: Element | None, name: str) -> list[str]:
    """Return the texts of the children of that name that have one."""
    return [text for child in (parent if parent is not None else ()) if child.tag == name and (text := text_of(child))]
