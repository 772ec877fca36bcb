"""A page as its blocks and the elements that hold them: the basis for choosing its main text."""

from __future__ import annotations

from dataclasses import dataclass

from selectolax.lexbor import LexborNode

from kbjobs.content.document import Block
from kbjobs.content.html_tags import CONTAINER, HEADINGS, LISTING, PARAGRAPH, ROW, codes

_CLIMB_LIMIT = 6
_CELLS = frozenset(["td", "th"])


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What is known about a page besides its blocks.

    Args:
        title: the page's title.
        article_body: the article text that it gives in JSON-LD, white space folded; '' if none.
        is_article: whether it calls itself an article.
        is_thread: whether it is a thread of a forum, or of questions and answers.
    """

    title: str = ""
    article_body: str = ""
    is_article: bool = False
    is_thread: bool = False


class BlockTaker:
    """Collects the blocks of a page one after the other, and nothing else."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.run: list[str] = []
        """The text since the last block began or ended …"""
        self.linked_run = 0
        """… and how many of its characters are links."""

    def end_run(self) -> None:
        """Make a block of the running text, unless it is empty, and start a new run."""
        if self.run:
            if text := " ".join("".join(self.run).split()):
                self.add(Block("text", 0, text), 0, self.linked_run, None)
            self.run.clear()
            self.linked_run = 0

    def enter(self, node: LexborNode) -> None:
        """Record that the following elements are within ``node``."""

    def leave(self) -> None:
        """Record that the element last entered has ended."""

    def count_links(self, node: LexborNode) -> int:
        """Return how many characters of links an inline element or a block element has."""
        return 0

    def add(self, block: Block, code: int, linked: int, node: LexborNode | None) -> None:
        """Add the next block.

        Args:
            block: the block.
            code: the code of its tag; 0 for a line of text.
            linked: the characters of links in it.
            node: its element, if it is one.
        """
        self.blocks.append(block)


class Outline(BlockTaker):
    """The blocks with the elements that hold them. Holders are numbered in document order; the outermost is 0.

    Args:
        root: the element to walk.
    """

    def __init__(self, root: LexborNode) -> None:
        super().__init__()
        self.elements: list[LexborNode | None] = []
        """The element of each block; None for a line of text within its holder."""
        self.codes: list[int] = []
        self.linked: list[int] = []
        """The characters of links in each block."""
        self.places: list[int] = []
        """The holder of each block."""
        self.holders: list[LexborNode] = [root]
        self.parents: list[int] = [-1]
        self._links = _measure_links(root)
        self._current = 0

    def enter(self, node: LexborNode) -> None:  # noqa: D102 — as above
        self.parents.append(self._current)
        self.holders.append(node)
        self._current = len(self.holders) - 1

    def leave(self) -> None:  # noqa: D102
        self._current = self.parents[self._current]

    def count_links(self, node: LexborNode) -> int:  # noqa: D102
        return self._links.get(node.mem_id, 0)

    def add(self, block: Block, code: int, linked: int, node: LexborNode | None) -> None:  # noqa: D102
        self.blocks.append(block)
        self.codes.append(code)
        self.linked.append(linked)
        self.elements.append(node)
        self.places.append(self._current)


def _measure_links(root: LexborNode) -> dict[int, int]:
    """Count characters of links in elements that are blocks or within one, by ``mem_id``."""
    tag_codes = codes()
    links: dict[int, int] = {}
    ends = {PARAGRAPH, ROW, LISTING, *HEADINGS.values()}
    for link in root.css("a"):
        length = len(" ".join(link.text().split()))
        node: LexborNode | None = link
        for _ in range(_CLIMB_LIMIT):
            if node is None:
                break
            links[node.mem_id] = links.get(node.mem_id, 0) + length
            code = tag_codes.get(node.tag_id, CONTAINER)
            if code in ends or (code == CONTAINER and node.tag not in _CELLS):
                break
            node = node.parent
    return links
