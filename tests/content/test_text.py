"""Plain text and Markdown."""

from __future__ import annotations

from kbjobs.content.document import Block
from kbjobs.content.text import extract_markdown, extract_text


def test_plain_text() -> None:
    page = extract_text("A title\n\nfirst line\nsecond line\n\n\nanother\n")
    assert page.title == "A title"
    assert page.blocks == [
        Block("heading", 1, "A title"),
        Block("text", 0, "first line second line"),
        Block("text", 0, "another"),
    ]
    assert extract_text("word " * 100).title == ""


def test_underlined_headings() -> None:
    page = extract_text(
        ".. highlight:: c\n\n=======\n A book\n=======\n\nfirst\nline\n\n"
        "Chapter\n-------\ntext\n\nOther\n=====\n\n----\n\nend\n"
    )
    assert page.title == "A book"
    assert page.blocks == [
        Block("text", 0, ".. highlight:: c"), Block("heading", 1, "A book"), Block("text", 0, "first line"),
        Block("heading", 2, "Chapter"), Block("text", 0, "text"), Block("heading", 1, "Other"), Block("text", 0, "end"),
    ]  # fmt: skip
    assert extract_text("====\n----\n").blocks == []


def test_markdown() -> None:
    page = extract_markdown(
        '---\ntitle: "From front matter"\nlang: de\nsecret: x\n---\n# One #\n\npara **bold** [link](b.html "t")\n'
        "more ![img](i.png)\n"
        "- item\n- item two\n\n```py\n# not a heading\n  x = 1\n```\nSetext\n======\n\n"
        "| a | b |\n|---|---|\n| c | d |\n\n> quote <br> x\n"
    )
    assert page.title == "From front matter"
    assert page.language == "de"
    assert page.references == ["b.html"]
    assert page.blocks == [
        Block("heading", 1, "One"), Block("text", 0, "para bold link more img"), Block("text", 0, "item"),
        Block("text", 0, "item two"), Block("text", 0, "# not a heading\n  x = 1"), Block("heading", 1, "Setext"),
        Block("text", 0, "a | b"), Block("text", 0, "c | d"), Block("text", 0, "quote x"),
    ]  # fmt: skip
    assert extract_markdown("intro\n\n# Head\n").title == "Head"
    assert extract_markdown("---\ntitle: never closed\n").title == ""
    assert extract_markdown("```\nnever closed").blocks == [Block("text", 0, "never closed")]
