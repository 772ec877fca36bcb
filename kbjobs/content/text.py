"""Read plain text and Markdown as blocks of text."""

from __future__ import annotations

import re

from kbjobs.content.dates import read_date
from kbjobs.content.document import (
    MAX_AUTHORS,
    MAX_CATEGORIES,
    About,
    Block,
    Extract,
    clean_description,
    clean_names,
)
from kbjobs.content.front_matter import read_front_matter

_TITLE_LINE_LIMIT = 120  # a longer first line is a paragraph, not a title

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_LIST_ITEM = re.compile(r"\s{0,12}(?:[-*+]|\d{1,9}[.)])[ \t]+")
_UNDERLINE = re.compile(r"([^\w\s])\1{2,}")  # of headings in reStructuredText and many READMEs
_RULE = re.compile(r" {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t:|-]*--[ \t:|-]*$")
_LINK = re.compile(r"!?\[([^\[\]]{0,500})\]\(<?([^()<>\s]{1,2000})>?(?:[ \t]+\"[^\"]{0,300}\")?\)")
_COMMENT_OR_TAG = re.compile(r"<!--.{0,2000}?-->|</?[a-zA-Z][a-zA-Z0-9-]{0,20}(?:[ \t][^<>]{0,500})?/?>")
_STRONG = re.compile(r"(\*\*|__)(?=\S)([^*_\n]{1,300})(?<=\S)\1")


def extract_text(text: str) -> Extract:
    """Extract a plain text file: blank lines separate paragraphs, an underlined line is a heading.

    The title is the first heading, or a short first line; if that line is alone in its paragraph, it becomes a heading
    too.
    """
    blocks: list[Block] = []
    lines: list[str] = []
    underlines: list[str] = []  # the characters in the order of their first use, which gives the headings' levels

    def end_paragraph() -> None:
        if lines:
            blocks.append(Block("text", 0, " ".join(lines)))
            lines.clear()

    first = ""
    for line in text.splitlines():
        words = " ".join(line.split())
        if not words:
            end_paragraph()
        elif not (ruler := _UNDERLINE.fullmatch(words)):
            lines.append(words)
            first = first or words
        elif len(lines) == 1 and len(lines[0]) <= _TITLE_LINE_LIMIT:
            if ruler[1] not in underlines:
                underlines.append(ruler[1])
            blocks.append(Block("heading", min(6, underlines.index(ruler[1]) + 1), lines.pop()))
    end_paragraph()
    heading = next((block.text for block in blocks if block.kind == "heading"), "")
    title = heading or (first if len(first) <= _TITLE_LINE_LIMIT else "")
    if title and not heading and blocks[0].text == title:
        blocks[0] = Block("heading", 1, title)
    return Extract(title, "", "", blocks, [], About(kind="text"))


def extract_markdown(text: str) -> Extract:
    """Extract a Markdown file: title and language come from the front matter, which is dropped; fenced code is kept."""
    lines = text.lstrip("\ufeff").splitlines()
    fields, start = read_front_matter(lines)
    reader = _MarkdownReader()
    for line in lines[start:]:
        reader.add_line(line)
    reader.end_block()
    first = {name: values[0] for name, values in fields.items() if values}
    about = About(
        description=clean_description(first.get("description", "")),
        published=read_date(first.get("date", "")),
        authors=clean_names(fields.get("authors", ()), MAX_AUTHORS),
        categories=clean_names(fields.get("categories", ()), MAX_CATEGORIES),
        kind="text",
    )
    title = first.get("title") or reader.title
    return Extract(title, first.get("language", ""), "", reader.blocks, reader.references, about)


class _MarkdownReader:
    """Reads a Markdown file line by line; ``blocks`` grows at each blank line, heading, item and fence."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.references: list[str] = []
        self.title = ""
        self._lines: list[str] = []
        self._fence = ""

    def add_line(self, line: str) -> None:
        fence = _FENCE.match(line)
        if self._fence:
            closes = fence and fence[1].startswith(self._fence) and line.strip() == fence[1]
            if closes:
                self.end_block()
                self._fence = ""
            else:
                self._lines.append(line.rstrip())
        elif fence:
            self.end_block()
            self._fence = fence[1]
        elif heading := _HEADING.match(line):
            self.end_block()
            self._add_heading(len(heading[1]), (heading[2] or "").strip().rstrip("#"))
        elif not line.strip():
            self.end_block()
        elif self._lines and line.strip("= \t") == "":
            self._turn_into_heading(1)
        elif len(self._lines) == 1 and line.strip("- \t") == "" and not _LIST_ITEM.match(self._lines[0]):
            self._turn_into_heading(2)
        elif _RULE.match(line) or _TABLE_RULE.match(line):
            pass
        elif _LIST_ITEM.match(line) or line.lstrip().startswith("|"):
            self.end_block()
            self._lines.append(line)
        else:
            self._lines.append(line)

    def end_block(self) -> None:
        """Turn the lines collected so far into a block."""
        lines = self._lines
        text = "\n".join(lines).strip("\n") if self._fence else self._strip_markup(" ".join(lines))
        self._lines = []
        if text.strip():
            self.blocks.append(Block("text", 0, text))

    def _add_heading(self, level: int, text: str) -> None:
        text = self._strip_markup(text)
        if text:
            self.blocks.append(Block("heading", level, text))
            if level == 1 and not self.title:
                self.title = text

    def _turn_into_heading(self, level: int) -> None:
        text = " ".join(self._lines)
        self._lines = []
        self._add_heading(level, text)

    def _strip_markup(self, text: str) -> str:
        if "](" in text:
            text = _LINK.sub(self._note_link, text)
        if "<" in text:
            text = _COMMENT_OR_TAG.sub(" ", text)
        if "**" in text or "__" in text:
            text = _STRONG.sub(r"\2", text)
        text = _LIST_ITEM.sub("", text, count=1).strip() if _LIST_ITEM.match(text) else text.strip()
        if text.startswith("|"):
            text = " | ".join(cell.strip() for cell in text.strip("|").split("|") if cell.strip())
        return " ".join(text.lstrip("> ").split())

    def _note_link(self, link: re.Match[str]) -> str:
        if not link[0].startswith("!"):
            self.references.append(link[2])
        return link[1]
