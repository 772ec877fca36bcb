"""The table of contents of an e-book, and its titles as headings at the places that they name.

Sources: EPUB 3.3, 5.4 (navigation document); Open Packaging Format 2.0.1, 2.4.1 (NCX).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from kbjobs.content.document import Block
from kbjobs.content.xml_tree import child_of, text_of

ENTRY_LIMIT = 20_000
"""The most entries of a table of contents that become headings."""

PRINTED_ENTRIES = 3
"""Lines in a row that are titles of the table of contents, and so one that is printed in the text."""

_MARK = "\ufdd0"  # no character: no text of a book has it
_FOUND_MARK = re.compile(rf"{_MARK}(\d{{1,9}}){_MARK}")
_TAG_WITH_ID = re.compile(
    r"<([a-zA-Z][\w:]{0,30})\s[^<>]{0,2000}?\bid\s{0,9}=\s{0,9}[\"']([^\"'<>]{1,300})[\"'][^<>]*>"
)
_HOLDERS = frozenset(["body", "html", "main", "article", "section"])  # whose heading is within
_NOT_WORD = re.compile(r"[\W_]+")


class TocEntry(NamedTuple):
    """An entry of a table of contents: its level from 1, its title, and the file and element that it leads to."""

    level: int
    title: str
    path: str
    anchor: str


def resolve_path(base: str, reference: str) -> tuple[str, str]:
    """Return the path within the book, and the anchor, of a reference in the file ``base``."""
    path, _, anchor = reference.partition("#")
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), unquote(path))) if path else base, anchor


def read_navigation(root: Element, path: str) -> list[TocEntry]:
    """Read the table of contents of an EPUB 3: nested lists in ``<nav epub:type="toc">``; ``path`` is its file."""
    for nav in root.iter("nav"):
        if "toc" in nav.get("type", "").split():
            return list(_walk_lists(nav, path, 1))[:ENTRY_LIMIT]
    return []


def _walk_lists(parent: Element, path: str, level: int) -> Iterator[TocEntry]:
    for item in (item for found in parent.findall("ol") for item in found.findall("li")):
        link = item.find("a")
        if link is not None and (title := text_of(link)):
            yield TocEntry(level, title, *resolve_path(path, link.get("href", "")))
        yield from _walk_lists(item, path, level + 1)


def read_ncx(root: Element, path: str) -> list[TocEntry]:
    """Read the table of contents of an EPUB 2: nested ``navPoint`` elements; ``path`` is its file."""
    first = root.find("navMap")
    return [] if first is None else list(_walk_points(first, path, 1))[:ENTRY_LIMIT]


def _walk_points(parent: Element, path: str, level: int) -> Iterator[TocEntry]:
    for point in parent.findall("navPoint"):
        content = point.find("content")
        if content is not None and (title := text_of(child_of(point, "navLabel", "text"))):
            yield TocEntry(level, title, *resolve_path(path, content.get("src", "")))
        yield from _walk_points(point, path, level + 1)


def mark_places(chapter: str, entries: list[TocEntry]) -> str:
    """Put a mark into a chapter's markup at each place to which the table of contents leads."""
    chapter = chapter.replace(_MARK, "")
    numbers: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        numbers.setdefault(entry.anchor, []).append(number)
    numbers.pop("", None)  # the beginning of the chapter needs no mark
    if not numbers:
        return chapter

    def mark(tag: re.Match[str]) -> str:
        marks = "".join(f"<h1>{_MARK}{number}{_MARK}</h1>" for number in numbers.pop(tag[2], []))
        return tag[0] + marks if tag[1].lower() in _HOLDERS else marks + tag[0]

    return _TAG_WITH_ID.sub(mark, chapter)


def set_headings(blocks: list[Block], entries: list[TocEntry]) -> list[Block]:
    """Turn marks into headings, with the titles and levels of the table of contents.

    A heading or line of the chapter that repeats a title becomes one with it. The chapter's other headings are below
    those of the table of contents.

    Args:
        blocks: the chapter's blocks, with marks.
        entries: the entries that lead into the chapter, in the order in which they were marked.
    """
    level = 0
    made: list[Block] = []
    titles = [entry for entry in entries if not entry.anchor]
    waiting = list(blocks)[::-1]
    while waiting or titles:
        if titles:
            entry = titles.pop(0)
        elif numbers := [int(number) for number in _FOUND_MARK.findall(waiting[-1].text)]:
            block = waiting.pop()
            waiting.append(block._replace(text=_FOUND_MARK.sub(" ", block.text).strip()))
            # an entity may write the mark, so a hostile book can name entries that there are not
            titles += [entries[number] for number in numbers if number < len(entries)]
            continue
        else:
            block = waiting.pop()
            if block.kind == "heading":
                block = block._replace(level=min(6, max(block.level, level + 1)))
            if block.text:
                made.append(block)
            continue
        level = min(6, entry.level)
        made.append(Block("heading", level, _join_title(entry.title, waiting)))
    return made


def drop_printed_contents(blocks: list[Block], titles: frozenset[str]) -> list[Block]:
    """Remove tables of contents that are part of the text, as on title pages.

    Args:
        blocks: the chapter's blocks.
        titles: the folded titles of the book's table of contents.
    """
    kept: list[Block] = []
    row: list[Block] = []
    for block in blocks:
        if block.kind == "text" and fold_title(block.text, numbered=False) in titles:
            row.append(block)
            continue
        kept += row if len(row) < PRINTED_ENTRIES else []
        row = []
        kept.append(block)
    return kept + (row if len(row) < PRINTED_ENTRIES else [])


def _join_title(title: str, waiting: list[Block]) -> str:
    """Take the lines off the end of ``waiting`` that repeat a title; returns the title in its longest form."""
    wanted = fold_title(title)
    while waiting:
        block = waiting[-1]
        if not block.text:  # held nothing but a mark
            waiting.pop()
            continue
        said = fold_title(block.text) if len(block.text) <= 2 * len(title) + 200 else ""
        if not said:
            break
        if said == wanted or (block.kind == "heading" and said in wanted):
            waiting.pop()
        elif block.kind == "heading" and wanted and wanted in said:
            return waiting.pop().text
        else:
            break
    return title


def fold_title(text: str, *, numbered: bool = True) -> str:
    """Return the letters and digits of a title in lower case; unless ``numbered``, without the number before it."""
    folded = _NOT_WORD.sub("", text).casefold()
    return folded if numbered else folded.lstrip("0123456789") or folded
