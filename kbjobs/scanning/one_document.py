"""Reading one document again from its file, in a process that can be killed."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from kbjobs.config.settings import Settings
from kbjobs.content.source_files import FoundFile, find_files
from kbjobs.content.titles import NO_SITE
from kbjobs.content.zim import ZimFile, ZimItem
from kbjobs.scanning.changes import PAGE_TYPES, make_entry
from kbjobs.scanning.file_reading import ArchiveEntry, Read, Reader, Task, Unread, keeps_comments
from kbjobs.scanning.reading_pool import read_all
from kbjobs.store.sources import Source


def read_one(source: Source, key: str, settings: Settings, *, explains: bool) -> Read | Unread:
    """Read the current document of a source's file or archive entry.

    Args:
        source: the source.
        key: the document's key within the source.
        settings: the settings in force.
        explains: whether to list the parts that are left out, with the reasons.
    """
    task = _find_task(source, key)
    if task is None:
        return Unread(key, "its file is gone")
    reader = Reader(
        source.id,
        source.base_url,
        NO_SITE,
        describes=False,
        keeps_text=True,
        document_seconds=settings.number("document_seconds"),
        keeps_comments=keeps_comments(settings),
        explains=explains,
    )
    for _, outcomes in read_all(reader, [[task]], is_large=False, check=lambda: None):
        return outcomes[0]
    raise AssertionError("a task has an outcome")


def _find_task(source: Source, key: str) -> Task | None:
    for found in find_files([Path(path) for path in source.paths]):
        if isinstance(found, FoundFile):
            if found.key == key and not found.is_archive:
                return found
            if found.is_archive and key.startswith(f"{found.key}/"):
                return _find_entry(source, found, key)
    return None


def _find_entry(source: Source, archive: FoundFile, key: str) -> ArchiveEntry | None:
    with ZimFile(archive.path) as file:
        item = file.find(unquote(key.removeprefix(f"{archive.key}/")), frozenset(PAGE_TYPES))
        if not isinstance(item, ZimItem) or item.data is None:
            return None
        return make_entry(source, archive, file.header, item, archive.signature)
