"""Which documents of a source are meant: by language, tag, date and kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kbjobs.content.source_files import kind_of
from kbjobs.errors import UsageError

_DATE_LENGTHS = (4, 7, 10)  # 2024, 2024-05, 2024-05-17


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """Which documents of a source are meant; all by default.

    Args:
        language: a tag such as ``de``, which includes ``de-at``.
        tag: one of the document's categories, ignoring case.
        since, until: ISO 8601 dates; a document without a date matches neither.
        kind: one of :data:`kbjobs.content.source_files.KINDS`, or what the document says it is, such as ``article``.
    """

    language: str | None = None
    tag: str | None = None
    since: str | None = None
    until: str | None = None
    kind: str | None = None

    def check(self) -> DocumentFilter:
        """Return itself. Raises UsageError if a date is none."""
        for name, date in (("--since", self.since), ("--until", self.until)):
            if date is not None and (len(date) not in _DATE_LENGTHS or not date.replace("-", "").isdecimal()):
                raise UsageError(f"{name} {date!r} is not a date", "Write 2024, 2024-05 or 2024-05-17.")
        return self

    def matches(self, document: Mapping[str, Any]) -> bool:
        """Whether a document matches, by its ``language``, ``published``, ``categories``, ``path`` and ``doc_type``."""
        language, published = document["language"] or "", document["published"] or ""
        return (
            (self.language is None or language == self.language or language.startswith(f"{self.language}-"))
            and (self.tag is None or self.tag.casefold() in map(str.casefold, document["categories"] or ()))
            and (self.since is None or published >= self.since)
            and (self.until is None or "" < published[: len(self.until)] <= self.until)
            and (self.kind is None or self.kind.casefold() in _kinds(document))
        )


def _kinds(document: Mapping[str, Any]) -> tuple[str, str]:
    return kind_of(document["path"]), (document["doc_type"] or "").casefold()
