"""Preview the indexing of a ZIM file: what it contains, how much of it is text, and the settings to use."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Literal

from kbjobs.content.document import Block, clean_blocks, clean_title
from kbjobs.content.document_metadata import cut
from kbjobs.content.document_reading import DOCUMENT_SECONDS, max_seconds
from kbjobs.content.language import READ_CHARACTERS, detect_language
from kbjobs.content.zim import TEXT_TYPES, ZimFailure, ZimFile, ZimHeader, ZimItem, ZimRedirect
from kbjobs.system.child_process import ChildError, ChildLimits, ChildLost, ChildProcess, ChildProgram

ContentType = Literal["website", "video", "pdf", "images", "mixed", "empty"]
Checksum = Literal["good", "bad", "none", "not checked"]
Text = tuple[str, list[Block]]

SCAN_LIMIT = 5_000
"""The most entries read; for a larger file a sample of that size, spread evenly, represents the whole."""

MIN_TEXT_LENGTH = 100
"""Fewest characters of text that make a page worth indexing, by default."""

CHECK_LIMIT = 2**32
"""Largest file whose checksum is verified without request, in bytes, since the whole file has to be read."""

BUCKETS = (0, 1, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000)
"""Where the buckets of text lengths begin, in characters."""

SAMPLES = 5
DAMAGED_SHOWN = 20

_SNIPPET = 200
_TITLE = 120
_LOWER_MINIMA = (50, 20, 1)
_MAX_LEFT_OUT = 0.1  # of the pages with text; a minimum that excludes more is too high for this file
_PAGES_FOR_EACH = 5  # pages per video or PDF from which a file is more than a collection of these
_IMAGES_FOR_EACH = 20
_OTHERS_SHARE = 0.02  # below it, other languages are quotations and errors of the detector


@dataclass(frozen=True, slots=True)
class TypeCount:
    """The number of items seen of a type, and their unpacked size in bytes."""

    mimetype: str
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class LengthBucket:
    """The number of pages with ``low`` to ``high`` characters of text; ``high`` is None in the last bucket."""

    low: int
    high: int | None
    count: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A page as a search would show it."""

    title: str
    path: str
    snippet: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Recommended settings for indexing, and the command. ``language_filter`` is None if all languages are wanted."""

    min_text_length: int
    language_filter: str | None
    command: str


@dataclass(frozen=True, slots=True)
class ZimReport:
    """The result of `inspect_zim`. Counts are of entries read: if ``is_sampled``, of ``entries`` out of ``total``.

    ``articles`` are the pages of text (HTML, XHTML, plain), ``indexable`` those with at least ``min_text_length``
    characters, ``skipped`` the others. ``languages`` has the number of pages by tag, '' for unknown. ``damaged`` holds
    the first of ``damaged_count`` entries.
    """

    header: ZimHeader
    content_type: ContentType
    reason: str
    is_sampled: bool
    total: int
    entries: int
    items: int
    redirects: int
    articles: int
    min_text_length: int
    indexable: int
    skipped: int
    types: tuple[TypeCount, ...]
    lengths: tuple[LengthBucket, ...]
    languages: dict[str, int]
    samples: tuple[Sample, ...]
    checksum: Checksum
    damaged: tuple[ZimFailure, ...]
    damaged_count: int
    recommended: Recommendation

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)


@dataclass
class _Tally:
    minimum: int
    read: Callable[[ZimItem], Text]
    entries: int = 0
    redirects: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    languages: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    candidates: int = 0
    chance: Random = field(default_factory=lambda: Random(0))  # noqa: S311 - nothing secret
    damaged: list[ZimFailure] = field(default_factory=list)
    damaged_count: int = 0

    def add(self, entry: ZimItem | ZimRedirect | ZimFailure) -> None:
        self.entries += not isinstance(entry, ZimFailure) or entry.is_content
        if isinstance(entry, ZimFailure):
            self._note_failure(entry)
        elif isinstance(entry, ZimRedirect):
            self.redirects += 1
        else:
            self.counts[entry.mimetype] += 1
            self.sizes[entry.mimetype] += entry.size
            if entry.mimetype in TEXT_TYPES:
                self._add_page(entry)

    @property
    def indexable(self) -> int:
        return sum(length >= self.minimum for length in self.lengths)

    def count_kind(self, *starts: str) -> tuple[int, int]:
        """Count the items, and their bytes, whose type begins with one of ``starts``."""
        names = [name for name in self.counts if name.startswith(starts)]
        return sum(self.counts[name] for name in names), sum(self.sizes[name] for name in names)

    def _note_failure(self, failure: ZimFailure) -> None:
        self.damaged_count += 1
        if len(self.damaged) < DAMAGED_SHOWN:
            self.damaged.append(failure)

    def _add_page(self, item: ZimItem) -> None:
        try:
            title, blocks = self.read(item)
        except (ChildLost, ChildError) as error:
            is_late = isinstance(error, ChildLost) and error.is_late
            self._note_failure(ZimFailure(item.path, "reading it takes too much time" if is_late else str(error)))
            title, blocks = "", []
        length = sum(len(block.text) for block in blocks)
        self.lengths.append(length)
        if length < max(1, self.minimum):
            return
        text = " ".join(_until(READ_CHARACTERS, blocks))
        self.languages[detect_language(text) or ""] += 1
        # Each page has the same chance, however many follow, and the same file gives the same samples.
        self.candidates += 1
        place = len(self.samples) if len(self.samples) < SAMPLES else self.chance.randrange(self.candidates)
        if place < SAMPLES:
            body = [block for block in blocks if block.kind == "text"] or blocks
            snippet = cut(" ".join(_until(2 * _SNIPPET, body)), _SNIPPET)
            self.samples[place : place + 1] = [Sample(cut(title, _TITLE) or item.path, item.path, snippet)]


def inspect_zim(
    path: str | os.PathLike[str],
    scan_limit: int = SCAN_LIMIT,
    min_text_length: int = MIN_TEXT_LENGTH,
    check: bool | None = None,
    stop: Callable[[], None] | None = None,
    document_seconds: float = DOCUMENT_SECONDS,
) -> ZimReport:
    """Examine a ZIM file.

    Args:
        path: the file, or any of its parts.
        scan_limit: the most entries read; of a larger file that many, spread evenly.
        min_text_length: fewest characters of text with which a page counts as indexable.
        check: whether to verify the checksum, which reads the whole file; None verifies files up to `CHECK_LIMIT`.
        stop: called now and then; if it raises, the examination ends.
        document_seconds: the setting ``document_seconds``.

    Raises ZimError if the file cannot be opened.
    """
    child = ChildProcess(ChildProgram(f"{PageService.__module__}:{PageService.__name__}"), "its reader")

    def read(item: ZimItem) -> Text:
        text: Text = child.ask(
            "read", item, limits=ChildLimits(max_seconds(len(item.data or b""), document_seconds), check=stop)
        )
        return text

    tally = _Tally(min_text_length, read)
    try:
        with ZimFile(path, check=stop) as file:
            header = file.header
            is_sampled = header.all_entry_count > scan_limit
            for entry in file.entries(sample=scan_limit if is_sampled else None):
                tally.add(entry)
            checksum = _check(file, check)
            opened = file.path
    finally:
        child.stop()
    content_type, reason = _judge(tally)
    return ZimReport(
        header=header,
        content_type=content_type,
        reason=reason,
        is_sampled=is_sampled,
        total=header.entry_count,
        entries=tally.entries,
        items=tally.counts.total(),
        redirects=tally.redirects,
        articles=len(tally.lengths),
        min_text_length=min_text_length,
        indexable=tally.indexable,
        skipped=len(tally.lengths) - tally.indexable,
        types=tuple(TypeCount(name, count, tally.sizes[name]) for name, count in tally.counts.most_common()),
        lengths=_fill_buckets(tally.lengths),
        languages=dict(tally.languages.most_common()),
        samples=tuple(tally.samples),
        checksum=checksum,
        damaged=tuple(tally.damaged),
        damaged_count=tally.damaged_count,
        recommended=_recommend(opened, header, tally),
    )


class PageService:
    """The service in the process that reads the pages."""

    def read(self, item: ZimItem) -> Text:
        """Do the same as :func:`read_text`."""
        return read_text(item)


def read_text(item: ZimItem) -> Text:
    """Read title and text of a page; no text if it has none, is too large or is not text after all."""
    from kbjobs.content.encoding import decode_page
    from kbjobs.content.html import extract_html
    from kbjobs.content.text import extract_text

    title = clean_title(item.title)
    if not item.data:
        return title, []
    try:
        text = decode_page(item.data)
        if item.mimetype == "text/plain":
            extract = extract_text(text)
        else:
            is_xml = item.mimetype == "application/xhtml+xml" or text[:200].lstrip().startswith("<?xml")
            extract = extract_html(text.encode("utf-8", "replace"), is_xml=is_xml)
    except ValueError:  # not text, or nested too deeply
        return title, []
    return clean_title(extract.title) or title, clean_blocks(extract.blocks)


def _until(limit: int, blocks: Iterable[Block]) -> Iterable[str]:
    length = 0
    for block in blocks:
        yield block.text[:limit]
        length += len(block.text)
        if length >= limit:
            return


def _check(file: ZimFile, wanted: bool | None) -> Checksum:
    if not file.header.has_checksum:
        return "none"
    if wanted is False or (wanted is None and file.header.filesize > CHECK_LIMIT):
        return "not checked"
    answer = file.check()
    return "not checked" if answer is None else "good" if answer else "bad"


def _fill_buckets(lengths: list[int]) -> tuple[LengthBucket, ...]:
    counts = Counter(max(start for start in BUCKETS if start <= length) for length in lengths)
    ends: list[tuple[int, int | None]] = [(low, high - 1) for low, high in pairwise(BUCKETS)]
    return tuple(LengthBucket(low, high, counts[low]) for low, high in [*ends, (BUCKETS[-1], None)])


def _judge(tally: _Tally) -> tuple[ContentType, str]:
    """Classify the file by its bytes and by the number of its pages, with the reason."""
    items, size = tally.counts.total(), tally.sizes.total()
    pages = tally.indexable
    if not items:
        return "empty", "nothing could be read" if tally.damaged_count else "it has no entries with content"
    videos, pdfs = tally.count_kind("video/", "audio/"), tally.count_kind("application/pdf")
    images, image_size = tally.count_kind("image/")
    heavy: list[tuple[ContentType, str, tuple[int, int]]] = [("video", "video and audio", videos), ("pdf", "PDF", pdfs)]
    for kind, name, (count, taken) in heavy:
        if count and taken * 2 >= size:
            share = f"{count:,} {name} files are {taken / max(1, size):.0%} of its bytes"
            if pages < _PAGES_FOR_EACH * count:
                return kind, f"{share}, beside {pages:,} pages of text"
            return "mixed", f"{share}, but there are {pages:,} pages of text too"
    if images and pages * _IMAGES_FOR_EACH < images and image_size * 2 >= size:
        return (
            "images",
            f"{images:,} images, {image_size / max(1, size):.0%} of its bytes, beside {pages:,} pages of text",
        )
    if pages:
        return "website", f"{pages:,} of {len(tally.lengths):,} pages have {tally.minimum:,} characters of text or more"
    if tally.lengths:
        return "mixed", f"none of its {len(tally.lengths):,} pages has {tally.minimum:,} characters of text"
    return "mixed", f"{items:,} items, and none of them is a page of text"


def _recommend(path: Path, header: ZimHeader, tally: _Tally) -> Recommendation:
    minimum = _choose_minimum(tally)
    language = _choose_language(header.language, tally.languages)
    command = ["kbjobs", "run", "zim-index", str(path.absolute())]
    if minimum != MIN_TEXT_LENGTH:
        command += ["--min-text-length", str(minimum)]
    if language:
        command += ["--language-filter", language]
    return Recommendation(minimum, language, shlex.join(command))


def _choose_minimum(tally: _Tally) -> int:
    """Choose the requested minimum, or a lower one if that excludes too many of the pages with text."""
    texts = [length for length in tally.lengths if length]
    for minimum in (tally.minimum, *(lower for lower in _LOWER_MINIMA if lower < tally.minimum)):
        if sum(length < minimum for length in texts) <= _MAX_LEFT_OUT * len(texts):
            return minimum
    return min(1, tally.minimum)


def _choose_language(claimed: str, languages: Counter[str]) -> str | None:
    """Choose the file's main language if there are pages in others to leave out."""
    known = Counter({tag: count for tag, count in languages.items() if tag})
    total = known.total()
    if not total:
        return None
    main, count = known.most_common(1)[0]
    if claimed and known[claimed] * 2 >= total:
        main, count = claimed, known[claimed]
    is_main = count * 2 >= total if main == claimed else count >= 0.8 * total
    return main if is_main and total - count > _OTHERS_SHARE * total else None
