"""Read an ODT as blocks of text: headings, paragraphs, lists, tables and notes.

Source: OpenDocument 1.3 (OASIS), part 3. Macros, pictures, embedded objects, annotations, deleted text and indexes are
not read, and nothing outside of the file is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
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

MEDIA_TYPES = (b"application/vnd.oasis.opendocument.text", b"application/vnd.oasis.opendocument.text-template")
"""What the file ``mimetype`` of a text document holds (part 2, 3.3)."""

_CONTENT, _META, _MANIFEST = "content.xml", "meta.xml", "META-INF/manifest.xml"
_NOT_READ = frozenset(
    [
        "tracked-changes", "annotation", "annotation-end", "forms", "table-of-content", "illustration-index",
        "table-index", "object-index", "user-index", "alphabetical-index", "sequence-decls", "variable-decls",
        "user-field-decls", "dde-connection-decls", "ruby-text", "hidden-text", "hidden-paragraph", "object",
        "image", "desc", "event-listeners", "covered-table-cell", "script",
    ]
)  # fmt: skip
_BREAKS = frozenset(["s", "tab", "line-break"])
_DRAWN = frozenset(
    ["frame", "custom-shape", "g", "rect", "circle", "ellipse", "polygon", "path"]
)  # may hold paragraphs
_TITLE_STYLE = "Title"  # programs write the same name in every language; what users see is the display name


def extract_odt(files: ZippedFiles) -> Extract:
    """Extract the text and the metadata of an ODT.

    Raises ValueError, with a reason for people, if it is encrypted, damaged, hostile or too large.
    """
    if is_encrypted(files):
        raise ValueError("it is encrypted and needs a password")
    root = parse_xml(files.read(_CONTENT), _CONTENT)
    walk = _OdtWalk(_read_parents(root))
    body = child_of(root, "body", "text")
    walk.read_blocks(body if body is not None else ())
    meta = child_of(parse_xml(files.read(_META), _META), "meta") if _META in files else None
    stated = text_of(child_of(meta, "title"))
    title = stated if is_given_title(stated) else walk.text.title
    language = text_of(child_of(meta, "language"))
    return Extract(title, language, "", walk.text.found.blocks, walk.references, _read_about(meta))


def is_odt(files: ZippedFiles) -> bool:
    """Whether a zip file is a text document."""
    return "mimetype" in files and files.read("mimetype", 1_000).strip() in MEDIA_TYPES


def is_encrypted(files: ZippedFiles) -> bool:
    """Whether the text needs a password (part 2, 3.4.1: the manifest then says how it is encrypted)."""
    if _MANIFEST not in files:
        return False
    return any(True for _ in parse_xml(files.read(_MANIFEST), _MANIFEST).iter("encryption-data"))


def _read_parents(root: Element) -> dict[str, str]:
    """Return the style on which each style of the text is based, such as "Title" for "P1"."""
    styles = root.find("automatic-styles")
    return {
        style.get("name", ""): style.get("parent-style-name", "") for style in (styles if styles is not None else ())
    }


class _OdtWalk:
    """Reads a text document. XML is nested up to a limit, and so are the calls.

    Args:
        parents: the style on which each style is based.
    """

    def __init__(self, parents: Mapping[str, str]) -> None:
        self.text = OfficeText()
        self.references: list[str] = []
        self._parents = parents
        self._boxes: list[Element] = []  # of the current paragraph

    def read_blocks(self, parent: Element | tuple[()]) -> None:
        """Read the headings, paragraphs and tables below an element, in order."""
        for node in parent:
            if node.tag in ("p", "h"):
                self._read_paragraph(node)
            elif node.tag == "table-row":
                self._read_row(node)
            elif node.tag not in _NOT_READ:
                self.read_blocks(node)

    def _read_row(self, row: Element) -> None:
        """Read a row once, however often it says that it is repeated: only empty rows are, and bombs."""
        cells: list[str] = []
        for cell in row:
            if cell.tag == "table-cell":
                self.text.open_cell()
                self.read_blocks(cell)
                cells.append(self.text.close_cell())
        self.text.add_row(cells)

    def _read_paragraph(self, node: Element) -> None:
        pieces: list[str] = []
        outer, self._boxes = self._boxes, []
        self._read_runs(node, pieces)
        boxes, self._boxes = self._boxes, outer
        style = node.get("style-name", "")
        if node.tag == "h":
            stated = node.get("outline-level", "1")
            level = int(stated[:2]) if stated.isdecimal() else 1
        else:
            level = int(_TITLE_STYLE in (style, self._parents.get(style)))
        self.text.add_paragraph("".join(pieces), level)
        for box in boxes:
            self.read_blocks(box)

    def _read_runs(self, parent: Element, pieces: list[str]) -> None:
        pieces.append(parent.text or "")
        for node in parent:
            if node.tag in _BREAKS:
                pieces.append(" ")
            elif node.tag == "note":
                self._read_note(node)
            elif node.tag in _DRAWN:
                self._boxes.append(node)
            elif node.tag not in _NOT_READ:
                if node.tag == "a" and (target := node.get("href", "")).startswith(("http://", "https://")):
                    self.references.append(target)
                self._read_runs(node, pieces)
            pieces.append(node.tail or "")

    def _read_note(self, note: Element) -> None:
        within = _OdtWalk(self._parents)
        body = note.find("note-body")
        within.read_blocks(body if body is not None else ())
        self.text.add_note(" ".join(block.text for block in within.text.found.blocks))


def _read_about(meta: Element | None) -> About:
    """Read the document's metadata (part 3, 4.3)."""
    authors = texts_of(meta, "initial-creator") or texts_of(meta, "creator")
    return About(
        description=clean_description(text_of(child_of(meta, "description")) or text_of(child_of(meta, "subject"))),
        published=read_date(text_of(child_of(meta, "creation-date"))),
        authors=clean_names(authors, MAX_AUTHORS),
        categories=clean_names(texts_of(meta, "keyword"), MAX_CATEGORIES),
        kind="text",
        modified=read_date(text_of(child_of(meta, "date"))),
    )
