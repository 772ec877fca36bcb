"""The blocks of a document that is read piece by piece, up to a limit."""

from __future__ import annotations

from kbjobs.content.document import Block

TEXT_LIMIT = 30_000_000
"""The most characters of a document that is read: ten thousand full pages."""

BLOCK_LIMIT = 500_000
"""The most headings, paragraphs and rows of a document that is read: each costs memory and time, however short."""


class BlockList:
    """Collects blocks in the order of the document; white space is folded and empty blocks are dropped.

    Each method raises ValueError, with a reason for people, if the document becomes too long.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._length = 0

    def add_heading(self, level: int, text: str) -> None:
        """Add a heading; a level outside of 1-6 becomes the nearest one."""
        self.add(Block("heading", min(6, max(1, level)), text))

    def add_text(self, text: str) -> None:
        """Add a paragraph, list item or table row."""
        self.add(Block("text", 0, text))

    def add_row(self, cells: list[str]) -> None:
        """Add a table row as one line, with bars between its non-empty cells."""
        self.add_text(" | ".join([folded for cell in cells if (folded := " ".join(cell.split()))]))

    def add_paragraphs(self, text: str) -> None:
        """Add text whose paragraphs are separated by blank lines."""
        lines: list[str] = []
        for line in text.splitlines():
            if line.strip():
                lines.append(line)
            elif lines:
                self.add_text(" ".join(lines))
                lines = []
        self.add_text(" ".join(lines))

    def add(self, block: Block) -> None:
        """Add a block of any kind."""
        text = " ".join(block.text.split())
        if text:
            self._count(text)
            self.blocks.append(block._replace(text=text))

    def add_read(self, blocks: list[Block]) -> None:
        """Add blocks of another reader as they are, with the line breaks of listings."""
        for block in blocks:
            self._count(block.text)
            self.blocks.append(block)

    def _count(self, text: str) -> None:
        self._length += len(text)
        if self._length > TEXT_LIMIT:
            raise ValueError(f"too much text: more than {TEXT_LIMIT:,} characters")
        if len(self.blocks) >= BLOCK_LIMIT:
            raise ValueError(f"too much text: more than {BLOCK_LIMIT:,} paragraphs or rows")
