"""List the text of an HTML page that is not main text, with the reasons, for people who doubt the choice."""

from __future__ import annotations

from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser

from kbjobs.content.block_choice import choose, judge
from kbjobs.content.html import MAX_BLOCKS, HtmlReading, read_html
from kbjobs.content.nesting import prepare_page

FURNITURE = "marked as furniture"
"""The reason for a line in navigation, a footer or the like, in a hidden element, or outside the main element."""

_UNSEEN = "script,style,template,noscript,svg,iframe,object,select,textarea,button"
_MAX_LINES = 5_000


class LeftOutText(NamedTuple):
    """A line or a paragraph, and why it is not kept."""

    reason: str
    text: str


def list_left_out(page: bytes, is_xml: bool = False, keeps_comments: bool = False) -> list[LeftOutText]:
    """List the text of a page that is not kept, in the order of the page.

    Args:
        page: the page as UTF-8.
        is_xml, keeps_comments: as in :func:`kbjobs.content.html.extract_html`.

    Raises:
        TooDeeplyNested: the page is made to keep the parser busy.
    """
    reading = read_html(page, is_xml=is_xml)
    improbable, kept = _judge(reading, keeps_comments)
    body = LexborHTMLParser(prepare_page(page)).body
    if body is None:
        return []
    for node in body.css(_UNSEEN):
        node.decompose()
    found: list[LeftOutText] = []
    for line in body.text(separator="\n").split("\n"):
        line = " ".join(line.split())
        if not line or line in kept:
            continue
        at = next((number for number, (_, text) in enumerate(improbable) if line in text), None)
        if at is None:
            found.append(LeftOutText(FURNITURE, line))
        else:
            found.append(LeftOutText(*improbable[at]))
            del improbable[at]
            kept += f"\n{found[-1].text}"  # its other lines are reported with it
        if len(found) == _MAX_LINES:
            break
    return found


def _judge(reading: HtmlReading, keeps_comments: bool) -> tuple[list[tuple[str, str]], str]:
    """Find the blocks that are not kept, with reasons, and the text of the others."""
    blocks = reading.extract.blocks
    improbable: list[tuple[str, str]] = []
    if reading.outline is not None and 0 < len(blocks) <= MAX_BLOCKS:
        probable = judge(reading.outline, reading.facts)
        chosen = choose(probable, reading.outline, reading.facts, keeps_comments=keeps_comments)
        if chosen.any():
            texts = [" ".join(block.text.split()) for block in blocks]
            improbable = [
                (f"main text with a probability of {probability:.2f}", text)
                for text, probability, is_kept in zip(texts, probable, chosen, strict=True)
                if not is_kept
            ]
            blocks = [block for block, is_kept in zip(blocks, chosen, strict=True) if is_kept]
    return improbable, "\n".join(" ".join(block.text.split()) for block in blocks)
