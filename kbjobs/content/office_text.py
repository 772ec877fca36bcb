"""What DOCX and ODT have in common: paragraphs, tables and notes on the way to blocks."""

from __future__ import annotations

from kbjobs.content.block_list import BlockList


class OfficeText:
    """Collects the paragraphs of an office document.

    A note follows the paragraph or table row that refers to it; a table within a cell is text of the cell.
    """

    def __init__(self) -> None:
        self.found = BlockList()
        self._notes: list[str] = []
        self._cells: list[list[str]] = []  # the texts of the cells that are open, the innermost last

    @property
    def title(self) -> str:
        """The first heading of the highest level, '' if there is none."""
        headings = [block for block in self.found.blocks if block.kind == "heading"]
        return min(headings, key=lambda block: block.level).text if headings else ""

    def add_paragraph(self, text: str, level: int = 0) -> None:
        """Add a paragraph, or a heading of a level from 1; within a cell it is text of the cell."""
        if self._cells:
            self._cells[-1].append(text)
            return
        if level:
            self.found.add_heading(level, text)
        else:
            self.found.add_text(text)
        self._end_block()

    def add_note(self, text: str) -> None:
        """Add a footnote or endnote to the current paragraph."""
        self._notes.append(text)

    def open_cell(self) -> None:
        """Let the following paragraphs be text of a cell."""
        self._cells.append([])

    def close_cell(self) -> str:
        """End a cell; returns its text."""
        return " ".join(self._cells.pop())

    def add_row(self, cells: list[str]) -> None:
        """Add a row of a table."""
        if self._cells:
            self._cells[-1].append(" | ".join(filter(None, cells)))
        else:
            self.found.add_row(cells)
            self._end_block()

    def _end_block(self) -> None:
        for note in self._notes:
            self.found.add_text(note)
        self._notes.clear()
