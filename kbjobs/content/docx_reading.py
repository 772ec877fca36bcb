"""Read a DOCX as blocks of text: headings, paragraphs, lists, tables, footnotes and endnotes.

Source: ECMA-376, part 1, 17 (WordprocessingML) and part 2 (the package). Macros, pictures, embedded objects, headers,
footers, comments and deleted text are not read, and nothing outside of the file is fetched.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from kbjobs.content.dates import read_date
from kbjobs.content.document import (
    MAX_AUTHORS,
    MAX_CATEGORIES,
    About,
    Extract,
    clean_description,
    clean_names,
)
from kbjobs.content.office_text import OfficeText
from kbjobs.content.titles import is_given_title
from kbjobs.content.xml_tree import child_of, parse_xml, text_of, texts_of
from kbjobs.content.zipped_files import ZippedFiles

RELATIONS = "_rels/.rels"
"""The file that names the main part of an office file."""

STYLE_DEPTH = 20
"""The most styles on which a style is based; a chain of styles may be circular."""

_HEADING_NAME = re.compile(r"heading ([1-9])", re.IGNORECASE)
_CONTENTS_NAME = re.compile(r"(?:toc|table of (?:figures|authorities)|index) ?\d?", re.IGNORECASE)
_NOT_READ = frozenset(
    ["del", "moveFrom", "instrText", "Fallback", "pPr", "rPr", "sdtPr", "sectPr", "tblPr", "trPr", "object"]
)
_BREAKS = frozenset(["tab", "br", "cr"])
_OFF = frozenset(["0", "false", "off"])


@dataclass(frozen=True, slots=True)
class _Style:
    """The level of the headings of a style, 0 for text; ``is_contents``: it belongs to a table of contents."""

    level: int
    is_contents: bool


@dataclass(slots=True)
class _Walk:
    """What is needed while the document is read."""

    text: OfficeText
    styles: Mapping[str, _Style]
    notes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """The texts of notes by the kind of their reference and their id."""
    boxes: list[Element] = field(default_factory=list)
    """Text boxes of the current paragraph."""


def extract_docx(files: ZippedFiles) -> Extract:
    """Extract the text and the metadata of a DOCX.

    Raises ValueError, with a reason for people, if it is damaged, hostile or too large.
    """
    main = find_main_part(files)
    if main is None:
        raise ValueError("it is damaged: it does not name its main part")
    parts = _read_relations(files, main)
    body = child_of(parse_xml(files.read(main), main), "body")
    walk = _Walk(OfficeText(), _read_styles(_read_part(files, parts, "styles")))
    walk.notes = _read_notes(files, parts, walk.styles)
    _read_blocks(body if body is not None else (), walk)
    references = [
        target for _, target, is_outside in parts if is_outside and target.startswith(("http://", "https://"))
    ]
    core = _read_part(files, _read_relations(files, ""), "core-properties")
    stated = text_of(child_of(core, "title"))
    title = stated if is_given_title(stated) else walk.text.title
    return Extract(
        title, text_of(child_of(core, "language")), "", walk.text.found.blocks, references, _read_about(core)
    )


def find_main_part(files: ZippedFiles) -> str | None:
    """Return the path of the main part of a Word document; None if the file is none, such as a spreadsheet."""
    if RELATIONS not in files:
        return None
    for kind, target, is_outside in _read_relations(files, ""):
        if kind == "officeDocument" and not is_outside and posixpath.basename(posixpath.dirname(target)) == "word":
            return target
    return None


def _read_relations(files: ZippedFiles, part: str) -> list[tuple[str, str, bool]]:
    """Return what a part refers to: the kind, the path or address, and whether it is outside of the file."""
    folder, name = posixpath.split(part)
    path = posixpath.join(folder, "_rels", f"{name}.rels")
    if path not in files:
        return []
    found = []
    for relation in parse_xml(files.read(path), path).iter("Relationship"):
        target, is_outside = relation.get("Target", ""), relation.get("TargetMode") == "External"
        if not is_outside:
            target = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
        found.append((relation.get("Type", "").rpartition("/")[2], target, is_outside))
    return found


def _read_part(files: ZippedFiles, parts: list[tuple[str, str, bool]], kind: str) -> Element | None:
    for found, target, is_outside in parts:
        if found == kind and not is_outside and target in files:
            return parse_xml(files.read(target), target)
    return None


def _read_styles(root: Element | None) -> dict[str, _Style]:
    """Read the styles by their ids. A style has the level of the one on which it is based, unless it sets its own."""
    nodes = {node.get("styleId", ""): node for node in (root.iter("style") if root is not None else ())}
    return {key: _judge_style(key, nodes) for key in nodes}


def _judge_style(key: str, nodes: Mapping[str, Element]) -> _Style:
    level: int | None = None
    for _ in range(STYLE_DEPTH):
        node = nodes.get(key)
        if node is None:
            break
        name = _value(child_of(node, "name"))
        if _CONTENTS_NAME.fullmatch(name):
            return _Style(0, is_contents=True)
        if level is None:
            named = _HEADING_NAME.fullmatch(name)
            stated = _read_level(child_of(node, "pPr", "outlineLvl"))
            level = int(named[1]) if named else 1 if name.lower() == "title" else stated
        key = _value(child_of(node, "basedOn"))
    return _Style(level or 0, is_contents=False)


def _read_level(node: Element | None) -> int | None:
    """Return the level of an outline, from 1; 0 for text, which has the number 9; None if it states none."""
    value = _value(node)
    return None if not value.isdecimal() else int(value[:3]) + 1 if int(value[:3]) < 9 else 0


def _value(node: Element | None) -> str:
    return "" if node is None else node.get("val", "")


def _read_notes(
    files: ZippedFiles, parts: list[tuple[str, str, bool]], styles: Mapping[str, _Style]
) -> dict[tuple[str, str], str]:
    notes = {}
    for part, kind in (("footnotes", "footnote"), ("endnotes", "endnote")):
        root = _read_part(files, parts, part)
        for node in root.iter(kind) if root is not None else ():
            if node.get("type") in (None, "normal"):  # others are the lines between text and notes
                within = _Walk(OfficeText(), styles)
                _read_blocks(node, within)
                notes[f"{kind}Reference", node.get("id", "")] = " ".join(
                    block.text for block in within.text.found.blocks
                )
    return notes


def _read_blocks(parent: Element | tuple[()], walk: _Walk) -> None:
    """Read the paragraphs and tables below an element, in order. XML is nested up to a limit, and so are the calls."""
    for node in parent:
        if node.tag == "p":
            _read_paragraph(node, walk)
        elif node.tag == "tbl":
            for row in _rows_of(node):
                _read_row(row, walk)
        elif node.tag == "sdt" and _is_contents(node):
            continue
        elif node.tag not in _NOT_READ:
            _read_blocks(node, walk)


def _rows_of(table: Element) -> list[Element]:
    """Return the rows of a table, also those within content controls and insertions, but not of tables in cells."""
    rows: list[Element] = []
    for node in table:
        if node.tag == "tr":
            rows.append(node)
        elif node.tag not in _NOT_READ:
            rows += _rows_of(node)
    return rows


def _read_row(row: Element, walk: _Walk) -> None:
    if child_of(row, "trPr", "del") is not None:
        return
    cells: list[str] = []
    for cell in _cells_of(row):
        walk.text.open_cell()
        _read_blocks(cell, walk)
        cells.append(walk.text.close_cell())
    walk.text.add_row(cells)


def _cells_of(row: Element) -> list[Element]:
    cells: list[Element] = []
    for node in row:
        if node.tag == "tc":
            cells.append(node)
        elif node.tag not in _NOT_READ:
            cells += _cells_of(node)
    return cells


def _is_contents(control: Element) -> bool:
    """Whether a content control is a table of contents that Word made."""
    gallery = child_of(control, "sdtPr", "docPartObj", "docPartGallery")
    return _value(gallery) == "Table of Contents"


def _read_paragraph(node: Element, walk: _Walk) -> None:
    properties = node.find("pPr")
    style = walk.styles.get(_value(child_of(properties, "pStyle")), _Style(0, is_contents=False))
    level = _read_level(child_of(properties, "outlineLvl"))
    pieces: list[str] = []
    outer, walk.boxes = walk.boxes, []
    _read_runs(node, walk, pieces)
    boxes, walk.boxes = walk.boxes, outer
    if not style.is_contents:
        walk.text.add_paragraph("".join(pieces), style.level if level is None else level)
    for box in boxes:
        _read_blocks(box, walk)


def _read_runs(parent: Element, walk: _Walk, pieces: list[str]) -> None:
    for node in parent:
        if node.tag == "t":
            pieces.append(node.text or "")
        elif node.tag in _BREAKS:
            pieces.append(" ")
        elif node.tag == "noBreakHyphen":
            pieces.append("-")
        elif node.tag in ("footnoteReference", "endnoteReference"):
            if note := walk.notes.get((node.tag, node.get("id", ""))):
                walk.text.add_note(note)
        elif node.tag == "txbxContent":
            walk.boxes.append(node)
        elif node.tag not in _NOT_READ and not (node.tag == "r" and _is_hidden(node)):
            _read_runs(node, walk, pieces)


def _is_hidden(run: Element) -> bool:
    vanish = child_of(run, "rPr", "vanish")
    return vanish is not None and _value(vanish) not in _OFF


def _read_about(core: Element | None) -> About:
    """Read the core properties (ECMA-376, part 2, 11)."""
    keywords = text_of(child_of(core, "keywords")).replace(";", ",").split(",")
    description = text_of(child_of(core, "description")) or text_of(child_of(core, "subject"))
    return About(
        description=clean_description(description),
        published=read_date(text_of(child_of(core, "created"))),
        authors=clean_names([name for text in texts_of(core, "creator") for name in text.split(";")], MAX_AUTHORS),
        categories=clean_names(map(str.strip, keywords), MAX_CATEGORIES),
        kind="text",
        modified=read_date(text_of(child_of(core, "modified"))),
    )
