"""The form of an API's answer to a request for tags, and the checks that it must pass.

Anyone may have written the documents, and may thereby have influenced the answer. So a tag counts only if its name is
valid, and only with documents that were shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kbjobs.store.tag_rows import TaggedDocument
from kbjobs.tagging.tag_names import clean_tag, fold_tag
from kbjobs.tagging.vocabulary import Vocabulary

MAX_NOVEL = 5
MAX_LISTED = 50  # entries beyond the size of the vocabulary that an answer may have at all
MAX_CHARACTERS = 100_000
MIN_EVIDENCE = 2  # least documents for a tag outside the vocabulary, so that no single page can introduce one
FEW_DOCUMENTS = 8  # if fewer were shown, one document is enough


class UnusableAnswerError(Exception):
    """A paid answer is unusable; the message says why."""


@dataclass(frozen=True, slots=True)
class FoundTag:
    """A tag with the ids of the documents that support it; ``kind``: category or novel."""

    name: str
    kind: str
    evidence: tuple[str, ...]


def answer_schema(vocabulary: Vocabulary) -> dict[str, Any]:
    """The JSON Schema of an answer, in strict form: all properties are required, and no others are allowed.

    Source: OpenAI's guide to structured outputs.
    """

    def entry(tag: dict[str, Any]) -> dict[str, Any]:
        documents = {"type": "array", "items": {"type": "integer"}}
        return _object({"tag": tag, "documents": documents})

    known = {"type": "string", "enum": [category.tag for category in vocabulary.categories]}
    lists = {"tags": entry(known), "novel": entry({"type": "string"})}
    return _object({name: {"type": "array", "items": items} for name, items in lists.items()})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def check_answer(content: object, shown: Sequence[TaggedDocument], vocabulary: Vocabulary) -> list[FoundTag]:
    """Check the answer of an API, and keep its usable tags.

    Left out are names that cannot be tags, tags that should be in the vocabulary but are not, and tags without a
    document that was shown.

    Args:
        content: the answer, parsed or not.
        shown: the documents of the prompt, in the order of their numbers.
        vocabulary: the tags to choose from.

    Returns:
        Each tag once, those of the vocabulary first.

    Raises:
        UnusableAnswerError: the answer has the wrong form, or no usable tag.
    """
    lists = _parse(content)
    entries = [(kind, *_entry(one)) for kind in ("tags", "novel") for one in lists[kind]]
    if len(entries) > len(vocabulary.categories) + MAX_LISTED:
        raise UnusableAnswerError(f"it lists {len(entries):,} tags")
    known = {fold_tag(category.tag): category.tag for category in vocabulary.categories}
    categories: dict[str, list[int]] = {}
    novel: dict[str, tuple[str, list[int]]] = {}
    for kind, text, numbers in entries:
        name = clean_tag(text)
        # A novel tag that is only another spelling of a category counts as that category.
        if (category := known.get(fold_tag(name))) is not None:
            categories.setdefault(category, []).extend(numbers)
        elif name and kind == "novel":
            novel.setdefault(fold_tag(name), (name, []))[1].extend(numbers)
    min_evidence = 1 if len(shown) < FEW_DOCUMENTS else MIN_EVIDENCE
    known_tags = (FoundTag(name, "category", _evidence(numbers, shown)) for name, numbers in categories.items())
    invented = (FoundTag(name, "novel", _evidence(numbers, shown)) for name, numbers in novel.values())
    found = [tag for tag in known_tags if tag.evidence]
    found += [tag for tag in invented if len(tag.evidence) >= min_evidence][:MAX_NOVEL]
    if entries and not found:
        raise UnusableAnswerError("none of its tags has a document that was shown")
    return found


def _parse(content: object) -> dict[str, list[Any]]:
    if not isinstance(content, str) or not content.strip():
        raise UnusableAnswerError("it is empty")
    if len(content) > MAX_CHARACTERS:
        raise UnusableAnswerError(f"it has {len(content):,} characters")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise UnusableAnswerError("it is not JSON") from None
    if not isinstance(values, dict) or set(values) != {"tags", "novel"}:
        raise UnusableAnswerError("it has another form than was asked for")
    if not all(isinstance(one, list) for one in values.values()):
        raise UnusableAnswerError("its tags are no list")
    return values


def _entry(value: object) -> tuple[str, list[int]]:
    if not isinstance(value, dict) or set(value) != {"tag", "documents"}:
        raise UnusableAnswerError("an entry of it has another form than was asked for")
    tag, numbers = value["tag"], value["documents"]
    if not isinstance(tag, str) or not isinstance(numbers, list):
        raise UnusableAnswerError("an entry of it is not a tag with documents")
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        raise UnusableAnswerError("it names documents by something else than their numbers")
    return tag, numbers


def _evidence(numbers: Iterable[int], shown: Sequence[TaggedDocument]) -> tuple[str, ...]:
    """The ids of the documents with these numbers, from 1; numbers that were not shown are ignored."""
    return tuple(shown[number - 1].doc_id for number in dict.fromkeys(numbers) if 1 <= number <= len(shown))
