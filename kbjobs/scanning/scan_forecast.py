"""Counting a source's documents, and the new and changed ones among them, by name and time, without reading them."""

from __future__ import annotations

from pathlib import Path

from kbjobs.config.settings import Settings
from kbjobs.content.document import document_id
from kbjobs.content.source_files import FoundFile, find_files
from kbjobs.scanning.scan import name_pipeline
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import KnownDocument
from kbjobs.store.sources import SourceFolder


def count_documents(folder: SourceFolder, settings: Settings) -> tuple[int, int]:
    """Count a source's documents, and those whose files are new or changed.

    For an archive that was never read, the count in its header is used.
    """
    source = folder.read()
    known: dict[str, KnownDocument] = {}
    if folder.ledger.exists():
        with Ledger(folder.ledger) as ledger:
            known = ledger.known_documents(0)  # no profile has this id: whether documents are cut does not matter here
    pipeline = name_pipeline(source, settings)
    current = {doc_id: one.signature for doc_id, one in known.items() if one.pipeline == pipeline}
    total = changed = 0
    for file in find_files([Path(path) for path in source.paths]):
        if not isinstance(file, FoundFile):
            continue
        if file.is_archive:
            mine = [one.signature for one in known.values() if one.path.startswith(f"{file.key}/")]
            is_known = bool(mine) and all(signature.startswith(file.signature) for signature in mine)
            entries = len(mine) if is_known else _count_entries(file)
            total += entries
            changed += 0 if is_known else entries
        else:
            total += 1
            changed += current.get(document_id(source.id, file.key)) != file.signature
    return total, changed


def _count_entries(archive: FoundFile) -> int:
    from kbjobs.content.zim import ZimError, ZimFile

    try:
        with ZimFile(archive.path) as zim:
            return zim.header.article_count or zim.header.entry_count
    except ZimError:  # the job itself will report it
        return 0
