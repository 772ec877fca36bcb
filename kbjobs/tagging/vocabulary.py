"""The vocabulary that tags are chosen from: the categories of preparedness, or those of the user's own file. Light.

The file is TOML: a table ``[[category]]`` for each tag, with ``tag`` and ``description`` (its subjects in the words of
pages about them), and optionally ``other_fields``, a list of descriptions of other subjects that a source may have; by
default the other fields of the preparedness vocabulary.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import NotFoundError, UsageError
from kbjobs.tagging.preparedness import CATEGORIES, CATEGORIES_VERSION, OTHER_FIELDS, Category
from kbjobs.tagging.tag_names import clean_tag, fold_tag

SETTING = "tags_vocabulary"
MAX_BYTES = 256 * 1024
MAX_CATEGORIES = 200
MAX_DESCRIPTION = 500
FORM = 'A category is [[category]] with tag = "…" and description = "…".'


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Categories, and other subjects of sources; ``version`` identifies them."""

    categories: tuple[Category, ...]
    other_fields: tuple[str, ...]
    version: str


BUILT_IN = Vocabulary(CATEGORIES, OTHER_FIELDS, str(CATEGORIES_VERSION))


def load_vocabulary(home: Home, settings: Settings) -> Vocabulary:
    """Load the vocabulary that the setting names; a relative path is relative to the home.

    Raises:
        NotFoundError: there is no such file.
        UsageError: the file is not a vocabulary; the message says where.
    """
    named = settings.text(SETTING)
    if not named.strip():
        return BUILT_IN
    path = home.path / Path(named).expanduser()
    try:
        if not path.is_file():
            raise NotFoundError(f"{SETTING}: there is no file {path}", "Write it, or unset the setting. " + FORM)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{SETTING}: cannot read {path}: {error}", "Check its name and permissions.") from error
    if len(content) > MAX_BYTES:
        raise _wrong(path, f"it has more than {MAX_BYTES:,} bytes")
    try:
        values = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(path, f"it is not valid TOML: {error}") from error
    return _read(path, values, hashlib.sha256(content).hexdigest()[:16])


def _read(path: Path, values: dict[str, Any], version: str) -> Vocabulary:
    tables = values.get("category")
    if unknown := sorted(values.keys() - {"category", "other_fields"}):
        raise _wrong(path, f"{unknown[0]!r} means nothing in it")
    if not isinstance(tables, list) or not tables:
        raise _wrong(path, "it has no category")
    if len(tables) > MAX_CATEGORIES:
        raise _wrong(path, f"it has {len(tables):,} categories, and {MAX_CATEGORIES} are the most")
    categories: list[Category] = []
    for number, table in enumerate(tables, start=1):
        if not isinstance(table, dict) or set(table) != {"tag", "description"}:
            raise _wrong(path, f"category {number} is not a tag with a description")
        tag, description = clean_tag(table["tag"]), table["description"]
        if not tag:
            raise _wrong(path, f"category {number}: {table['tag']!r} cannot be a tag")
        if not _is_description(description):
            raise _wrong(path, f"category {tag!r}: its description is no text of 1 to {MAX_DESCRIPTION} characters")
        if any(fold_tag(tag) == fold_tag(other.tag) for other in categories):
            raise _wrong(path, f"category {tag!r} stands in it twice")
        categories.append(Category(tag, description.strip()))
    others = values.get("other_fields", list(OTHER_FIELDS))
    if (
        not isinstance(others, list)
        or not others
        or len(others) > MAX_CATEGORIES
        or not all(map(_is_description, others))
    ):
        raise _wrong(path, f"other_fields is no list of texts of 1 to {MAX_DESCRIPTION} characters")
    return Vocabulary(tuple(categories), tuple(others), version)


def _is_description(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_DESCRIPTION


def _wrong(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path} is not a vocabulary of tags: {reason}", FORM)
