"""Token counts equal those of tiktoken, and nothing that is cut by them exceeds its window."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbjobs.content.chunking import Chunker
from kbjobs.content.document import Block, Document
from kbjobs.embedding.openai_tokens import Cl100kTokens
from tests.content.test_chunking import check_covers
from tests.servers.openai_server import count_tokens

TOKENS = Cl100kTokens()


def document(title: str, *texts: str) -> Document:
    blocks = tuple(Block("text", 0, text) for text in texts)
    return Document("0" * 32, "p", "file:///p", title, None, blocks, "h", 1, ())


@settings(deadline=None)  # the tables are loaded at the first count
@given(st.lists(st.text(max_size=200), max_size=20))
def test_counts_are_those_of_tiktoken(texts: list[str]) -> None:
    assert TOKENS.count(texts) == [count_tokens(text) for text in texts]


def test_counts_of_real_pages_are_those_of_tiktoken(python_docs: Path) -> None:
    pages = [page.read_text() for page in sorted((python_docs / "tutorial").glob("*.html"))]
    assert TOKENS.count(pages) == [count_tokens(page) for page in pages]


@pytest.mark.parametrize("text", ["<|endoftext|>", "  \n\n  x", "a" * 5000, "'LL 'ſ don't", "👩‍👩‍👧 你好 naïve", ""])
def test_counts_of_odd_texts_are_those_of_tiktoken(text: str) -> None:
    assert TOKENS.count([text]) == [count_tokens(text)]


def test_counting_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert Cl100kTokens().count(["hello world"]) == [2]


@settings(deadline=None)  # the tables are loaded at the first count
@given(st.text(max_size=500))
def test_offsets_cover_the_text_in_order(text: str) -> None:
    offsets = TOKENS.offsets(text)
    assert "".join(text[start:end] for start, end in offsets) == text
    assert len(offsets) >= TOKENS.count([text])[0]


def test_a_text_is_cut_to_so_many_tokens() -> None:
    assert count_tokens(TOKENS.cut("salt and pepper " * 9000, 8192)) == 8192
    assert TOKENS.cut("salt", 8192) == "salt"


@pytest.mark.parametrize(
    "text",
    [
        "你好世界" * 3000,
        "🧠" * 4000,
        "x" * 20_000,
        "0123456789" * 2000,
        "water and salt, " * 3000,
        "\u0915\u094d" * 5000,
    ],
)
@pytest.mark.parametrize("title", ["Title", "🧠" * 300])
def test_no_passage_exceeds_its_window(text: str, title: str) -> None:
    made = document(title, text)
    chunks = Chunker(TOKENS, 800).chunk(made)
    assert [chunk.tokens for chunk in chunks] == [count_tokens(chunk.text) for chunk in chunks]
    assert max(chunk.tokens for chunk in chunks) <= 800
    check_covers(chunks, made)
    # Full ones, but for titles that take a part of each and cuts that keep joined letters together.
    assert len(chunks) <= 3 * count_tokens(text) / 500 + 1


def test_passages_of_mixed_text_are_full(python_docs: Path) -> None:
    generator = random.Random(3)
    words = (python_docs / "tutorial" / "classes.html").read_text().split()
    text = " ".join(generator.choice(words) for _ in range(5000))
    chunks = Chunker(TOKENS, 800).chunk(document("Words", text))
    assert all(400 <= chunk.tokens <= 800 for chunk in chunks[:-1])
    assert len(chunks) <= 1.2 * count_tokens(text) / 800
