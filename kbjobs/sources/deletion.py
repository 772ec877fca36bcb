"""Deleting a source for good, and reporting what was deleted and what stays.

The folder gets a hidden name, the deletion is recorded, then the files are removed. After a kill at any point, the next
attempt, run or daemon finishes the deletion.
"""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from kbjobs.context import Context, PhaseResult
from kbjobs.errors import JobCancelled, KbjobsError
from kbjobs.formatting import counted
from kbjobs.object_storage.upload_targets import upload_targets
from kbjobs.store.connection import is_disk_full
from kbjobs.store.ledger import Ledger
from kbjobs.store.source_deletion import SourceFolderDeletion
from kbjobs.store.source_history import count_contents
from kbjobs.store.sources import SourceFolder
from kbjobs.system.crashpoints import crash_point
from kbjobs.vectors.chroma_places import list_places, name_collection
from kbjobs.vectors.chroma_server import Waiting
from kbjobs.vectors.indexed import copies_where_published
from kbjobs.vectors.pinecone_places import last_target

MAX_PATHS = 10  # most paths that a result names
MAX_COMMAND = 2_000  # most characters of a command in the result and in a message
REPORTED_EACH = 100  # files removed between two reports of progress


@dataclass(frozen=True, slots=True)
class DeletionFacts:
    """The facts that a person gets about a deleted source.

    ``documents`` and ``vectors`` are None if its ledger is unreadable; ``freed_bytes`` is disk space; ``outside`` are
    its paths outside its own folder, or the target if its folder is a link; ``again`` is the command that registers the
    kept files.
    """

    documents: int | None = None
    vectors: int | None = None
    files: int = 0
    freed_bytes: int = 0
    links: int = 0
    outside: list[str] = field(default_factory=list)
    collections: list[str] = field(default_factory=list)
    cloud: list[str] = field(default_factory=list)
    cloud_left: bool = True
    kept: str | None = None
    again: str | None = None


def find_facts(removal: SourceFolderDeletion, keep_files: bool) -> DeletionFacts:
    """Find the facts about a source, under its folder's own or hidden name, without following a link."""
    top = removal.hidden or removal.source.path
    takes = removal.measure(keep_files)
    if top.is_symlink():
        return DeletionFacts(links=takes.links, outside=[str(top.resolve())])
    there = removal.source.under(top)
    documents, vectors = count_contents(there.ledger) or (None, None)
    outside, again = _find_paths(there, removal.source.path)
    is_kept = keep_files and removal.has_more_than_made()
    return DeletionFacts(
        documents,
        vectors,
        takes.files,
        takes.freed_bytes,
        takes.links,
        outside,
        [_name(there.id, place) for place in _places(there)],
        list_cloud(there),
        kept=str(removal.source.path) if is_kept else None,
        again=again if is_kept else None,
    )


def _find_paths(there: SourceFolder, folder: Path) -> tuple[list[str], str]:
    """The source's paths outside its folder, and the command that registers all its paths again."""
    pages = shlex.join(["kbjobs", "sources", "add", there.id, str(folder / there.pages.name)])
    try:
        source = there.read()
    except KbjobsError:  # a damaged manifest
        return [], pages
    outside = [path for path in source.paths if not Path(path).is_relative_to(folder)]
    command = ["kbjobs", "sources", "add", source.id, *source.paths]
    for option, value in (("--name", source.name), ("--license", source.license), ("--base-url", source.base_url)):
        command += [option, value] if value else []
    line = shlex.join(command)
    return outside, line if len(line) <= MAX_COMMAND else pages


def list_cloud(there: SourceFolder) -> list[str]:
    """The source's copies in the cloud according to its ledger: records in Pinecone, packs in stores."""
    if not there.ledger.is_file():
        return []
    try:
        with Ledger(there.ledger) as ledger:
            target = last_target(ledger)
            records = [f"records in Pinecone's {target[0]}/{target[1]}"] if target is not None else []
            return [*records, *(f"packs in {address}" for address in upload_targets(ledger, there.path.parent.parent))]
    except (KbjobsError, sqlite3.Error):
        return []


def delete_source(context: Context, keep_files: bool, has_left_cloud: bool = False) -> PhaseResult:
    """Delete the source of the job, or resume its deletion. The caller holds the source's lock.

    Args:
        context: the job's context.
        keep_files: whether to keep the copied or scraped files.
        has_left_cloud: whether the source was removed from Pinecone and from stores.
    """
    removal = SourceFolderDeletion(context.home.sources, context.source.id)
    is_recorded = context.checkpoint is not None
    unreached = [] if is_recorded else _remove_from_servers(context, removal)
    if removal.hidden is None and not is_recorded and removal.is_there:
        removal.check()
        removal.begin(keep_files)
    # After a kill, the hidden name shows the choice made when the deletion began.
    keep_files = removal.keeps_files if removal.hidden is not None else keep_files
    facts = DeletionFacts(**context.checkpoint) if is_recorded else find_facts(removal, keep_files)
    if not is_recorded:
        facts = replace(facts, outside=[*facts.outside, *unreached], cloud_left=not has_left_cloud)
        is_recorded = _record(context, facts)
    context.saved(1)

    def report(removed: int) -> None:
        if removed % REPORTED_EACH == 0:
            context.saved(1)
            context.progress(min(removed, facts.files), facts.files, "files", "removing files", eta_matters=False)

    page = context.home.map_page(context.source.id)
    for file in (page, page.with_suffix(".json")):
        file.unlink(missing_ok=True)
    removal.finish(report)
    crash_point("delete.removed")
    if not is_recorded:
        context.end_source(asdict(facts))
    counts = {**asdict(facts), "outside": facts.outside[:MAX_PATHS]}
    return PhaseResult(counts, summarise(facts))


def _places(there: SourceFolder) -> list[tuple[str, str, str]]:
    """The places of its collections on servers: key, address, prefix; empty if its ledger is unreadable."""
    if not there.ledger.is_file():
        return []
    try:
        with Ledger(there.ledger) as ledger:
            return list_places(ledger)
    except (KbjobsError, sqlite3.Error):
        return []


def _name(source_id: str, place: tuple[str, str, str]) -> str:
    key, url, prefix = place
    return f"{name_collection(prefix, source_id, key)} on {url}"


def _remove_from_servers(context: Context, removal: SourceFolderDeletion) -> list[str]:
    """Remove the source's collections from their servers.

    Returns those that could not be removed from a server that is no longer in the settings, and may be gone for good.
    """
    top = removal.hidden or removal.source.path
    if top.is_symlink():
        return []
    there = removal.source.under(top)
    unreached = []
    waiting = Waiting(context.settings.number("vectors.chroma_wait"), lambda message: _report_waiting(context, message))
    for place in _places(there):
        key, url, _ = place
        is_configured = url == context.settings.text("vectors.chroma").rstrip("/")
        with Ledger(there.ledger) as ledger:
            allowed = waiting if is_configured else Waiting()
            copies = copies_where_published(context.home, context.settings, there, ledger, key, allowed)
            try:
                with closing(copies):
                    copies.remove_from_server()
            except KbjobsError as error:
                if is_configured or isinstance(error, JobCancelled):
                    raise
                context.log.warning("%s; its collection is left there", error.message)
                unreached.append(f"{_name(there.id, place)} ({error.message})")
    return unreached


def _report_waiting(context: Context, message: str) -> None:
    context.progress(0, 0, "files", message, eta_matters=False)


def _record(context: Context, facts: DeletionFacts) -> bool:
    """Record the deletion of the source; False if the disk has no room for that before files are removed."""
    try:
        context.end_source(asdict(facts))
    except sqlite3.Error as error:
        if not is_disk_full(error):
            raise
        context.log.info("the disk is full: the deletion is recorded once the files are gone")
        return False
    return True


def summarise(facts: DeletionFacts) -> str:
    """Summarise the result in a sentence."""
    parts = [f"{format_contents(facts)} deleted, {facts.freed_bytes / 1e6:,.1f} MB freed"]
    if facts.kept:
        parts.append(f"its files are kept in {facts.kept}; {facts.again} registers them again")
    parts += format_untouched(facts)
    return "; ".join(parts)


def format_contents(facts: DeletionFacts) -> str:
    """Format what is deleted, with numbers."""
    parts = [counted(facts.files, "file")]
    if facts.links:
        parts.append(f"{counted(facts.links, 'link')} (not what they lead to)")
    if facts.documents is not None and facts.vectors is not None:
        parts = [counted(facts.documents, "document"), counted(facts.vectors, "vector"), *parts]
    parts += [f"the collection {name}" for name in facts.collections if name not in str(facts.outside)]
    parts += [] if facts.cloud_left else facts.cloud
    return ", ".join(parts[:-1]) + f" and {parts[-1]}" if len(parts) > 1 else parts[0]


def format_untouched(facts: DeletionFacts) -> list[str]:
    """Format what is not touched because it is elsewhere."""
    cloud = [f"left in the cloud: {', '.join(facts.cloud)} (--cloud removes that too)"]
    return [*_describe_outside(facts), *(cloud if facts.cloud and facts.cloud_left else [])]


def _describe_outside(facts: DeletionFacts) -> list[str]:
    if not facts.outside:
        return []
    more = len(facts.outside) - MAX_PATHS
    named = ", ".join(facts.outside[:MAX_PATHS]) + (f" and {more:,} more" if more > 0 else "")
    return [f"not touched: {named}"]
