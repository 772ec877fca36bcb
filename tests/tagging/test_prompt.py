"""What is sent is bounded, and can be printed, whatever the documents hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kbjobs.embedding.openai_tokens import Cl100kTokens
from kbjobs.store import tag_rows
from kbjobs.store.tag_rows import TaggedDocument
from kbjobs.tagging import prompt as prompts
from kbjobs.tagging.limits import DOCUMENT_TOKENS, TRIES, max_tokens
from kbjobs.tagging.preparedness import Category
from kbjobs.tagging.vocabulary import BUILT_IN, MAX_CATEGORIES, MAX_DESCRIPTION, Vocabulary

LEDGER: Any = None
EVIL = TaggedDocument("id1", "root/ev\x1bil\u202e" + "x" * 500, "", "Evil", "")


def make(
    monkeypatch: pytest.MonkeyPatch, text: str, count: int = 1, vocabulary: Vocabulary = BUILT_IN
) -> prompts.Prompt:
    def texts(ledger: Any, doc_ids: Any) -> Iterator[tuple[str, str]]:
        return ((doc_id, text) for doc_id in doc_ids)

    monkeypatch.setattr(tag_rows, "document_texts", texts)
    return prompts.make_prompt(LEDGER, [EVIL] * count, "gpt-4o-mini", vocabulary)


def documents(prompt: prompts.Prompt) -> list[dict[str, Any]]:
    return [json.loads(line) for line in prompt.messages[1]["content"].splitlines()[1:]]


def test_texts_and_paths_are_short_and_printable(monkeypatch: pytest.MonkeyPatch) -> None:
    [sent] = documents(make(monkeypatch, "Boil\x1b[31m\u202e\n\tit. " * 3_000))
    assert sent["text"].startswith("Boil [31m it. Boil")
    assert all(char.isprintable() for char in sent["text"] + sent["path"])
    assert Cl100kTokens().count([sent["text"]])[0] <= DOCUMENT_TOKENS
    assert len(sent["path"]) <= 100


def test_the_most_that_is_told_at_submit_is_never_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    described = "water " * (MAX_DESCRIPTION // 6)
    large = Vocabulary(tuple(Category(f"tag {n}", described) for n in range(MAX_CATEGORIES)), ("x",), "1")
    for vocabulary in (BUILT_IN, large):
        prompt = make(monkeypatch, "水を沸かす 🔥 " * 3_000, 80, vocabulary)
        assert TRIES * prompt.tokens <= max_tokens(len(vocabulary.categories))[0]


def test_another_request_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {make(monkeypatch, text, count).key for text in ("a", "b") for count in (1, 2)}
    assert len(keys) == 4
    assert make(monkeypatch, "a").key == make(monkeypatch, "a").key
