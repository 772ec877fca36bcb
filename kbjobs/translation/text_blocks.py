"""Reading a text of any length in blocks: paragraphs to translate, and parts between them that stay as they are.

Fenced code (CommonMark, "Fenced code blocks") stays untranslated, and so do HTML elements whose content is not prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_BLOCK = 16_000
"""Most characters of a block; a longer paragraph or line becomes several blocks."""

_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})(?![^\n]*`)")
_RAW = re.compile(r"<(pre|script|style|textarea|svg|math)(?=[\s/>])|(<!--)", re.IGNORECASE)
_CODE_SPAN = re.compile(r"(`++)[^`\n]++\1")
_SENTENCE_END = re.compile(r"[.!?…]\s|[。！？।॥؟۔]")


@dataclass(frozen=True, slots=True)
class TranslatedBlock:
    """A part of a text; all parts in order give the text."""

    text: str
    is_kept: bool
    """Whether it stays untranslated."""


def read_blocks(pieces: Iterable[str]) -> Iterator[TranslatedBlock]:
    """Yield the blocks of a text that comes in pieces of any length."""
    paragraph = ""
    closing: re.Pattern[str] | None = None
    for line in _read_lines(pieces):
        rest = line
        while rest:
            if closing is not None:
                end = closing.search(rest)
                place = len(rest) if end is None else end.end()
                yield TranslatedBlock(rest[:place], True)
                rest, closing = rest[place:], closing if end is None else None
                continue
            opening = _find_opening(rest, is_begin=rest is line)
            text = rest if opening is None else rest[: opening.start()]
            is_blank = not text.strip()
            ends_paragraph = opening is not None or (is_blank and rest is line)
            if paragraph and (ends_paragraph or len(paragraph) + len(text) > MAX_BLOCK):
                yield TranslatedBlock(paragraph, False)
                paragraph = ""
            if is_blank or opening is not None:
                if text:
                    yield TranslatedBlock(text, is_blank)
            else:
                paragraph += text
            rest = rest[len(text) :]
            if opening is not None:
                closing = _closing_of(opening)
                yield TranslatedBlock(opening[0], True)
                rest = rest[len(opening[0]) :]
    if paragraph:
        yield TranslatedBlock(paragraph, False)


def _find_opening(line: str, is_begin: bool) -> re.Match[str] | None:
    """Find the start of an untranslated part that does not end on the same line."""
    if is_begin and (fence := _FENCE.match(line)):
        return fence
    spans = [found.span() for found in _CODE_SPAN.finditer(line)] if "`" in line else []
    for found in _RAW.finditer(line):
        if any(start <= found.start() < end for start, end in spans):
            continue
        if _closing_of(found).search(line, found.end()) is None:
            return found
    return None


def _closing_of(opening: re.Match[str]) -> re.Pattern[str]:
    """The pattern that ends an untranslated part."""
    if opening.re is _FENCE:
        mark = opening[1]
        return re.compile(rf"(?m)^[ \t>]*{re.escape(mark[0])}{{{len(mark)},}}[ \t\r]*$\n?")
    if opening[2]:
        return re.compile("-->")
    return re.compile(rf"</{opening[1]}\s*>", re.IGNORECASE)


def _read_lines(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the lines with their line ends; a line that is too long comes in parts."""
    held = ""
    for piece in pieces:
        held += piece
        *lines, held = _split(held)
        for line in lines:
            yield from _cut(line)
        while len(held) > MAX_BLOCK:
            place = _cut_place(held)
            yield held[:place]
            held = held[place:]
    if held:
        yield from _cut(held)


def _split(text: str) -> list[str]:
    """Split a text into lines; the last one has no line end, and may be empty."""
    lines = text.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + [lines[-1]]


def _cut(line: str) -> Iterator[str]:
    while len(line) > MAX_BLOCK:
        place = _cut_place(line)
        yield line[:place]
        line = line[place:]
    if line:
        yield line


def _cut_place(text: str) -> int:
    """Where to cut a line that is too long: after a sentence, else after a word, else anywhere."""
    head = text[:MAX_BLOCK]
    ends = [found.end() for found in _SENTENCE_END.finditer(head, MAX_BLOCK // 2)]
    if ends:
        return ends[-1]
    return max(head.rfind(" "), head.rfind("\t")) + 1 or MAX_BLOCK
