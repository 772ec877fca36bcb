"""Installing a pack as a source: ledger, collections and files are built aside and put into place in one step.

A kill leaves either the old source or the complete new one. Nothing is embedded: the vectors come from the pack.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote_to_bytes

from kbjobs.content.source_files import name_roots, quote_key
from kbjobs.errors import ConflictError, UsageError
from kbjobs.packs.backup_unpacking import restore_backup
from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.pack_reading import Pack
from kbjobs.packs.records import DocumentRecord
from kbjobs.store.clocks import now_text
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_merge import Merged, carry_facts, merge_ledger
from kbjobs.store.pack_import import LedgerFiller, MissingDocument, open_new
from kbjobs.store.source_deletion import SourceFolderDeletion
from kbjobs.store.source_swap import SourceSwap, link_files
from kbjobs.store.sources import Source, SourceFolder
from kbjobs.system.crashpoints import crash_point
from kbjobs.vectors.indexed import Indexed
from kbjobs.vectors.sync import recover_and_publish

Mode = Literal["update", "replace"]
CARRIED = ("kbjobs_owner", "on a server ", "bought ", "pinecone", "uploaded to")
"""Prefixes of facts that a ledger's successor needs: the names of its copies on servers, its API usage, its stores."""


@dataclass(frozen=True, slots=True)
class Installed:
    """Counts of an installed source; ``kept_…`` count what the old source had and the pack does not have."""

    source: str
    version: str
    documents: int
    passages: int
    vectors: int
    files: int
    kept_documents: int
    kept_vectors: int


def install_pack(
    pack: Pack,
    sources: Path,
    include_backup: bool = False,
    mode: Mode | None = None,
    max_matrix: int = 1 << 32,
    check: Callable[[], None] = lambda: None,
) -> Installed:
    """Install a pack as a source. The caller holds the source's lock.

    Args:
        pack: the pack.
        sources: the folder of the sources in the home.
        include_backup: whether to install the source's files too, if the pack has them.
        mode: what to keep of an existing source. "update" keeps its own files, its tags, vectors of other models, and
            documents that the pack lacks; "replace" keeps nothing. None: "update" if the source came from a pack.
        max_matrix: see :class:`kbjobs.vectors.indexed.Indexed`.
        check: called often; may raise to stop.

    Returns:
        Counts of what was installed and kept.

    Raises:
        ConflictError: a source with that id exists and did not come from a pack, or its deletion is unfinished.
        UsageError: the pack's files are requested, and the source has files of its own.
        DamagedPackError: the pack is damaged; the existing source is unchanged.
        UnavailableError: there is no room, or the pack cannot be read completely.
    """
    live = SourceFolder(sources, pack.manifest.source.id)
    is_there = os.path.lexists(live.manifest)
    merges = is_there and mode != "replace"
    is_own = merges and not live.read_pack()
    _check_place(live, is_own, include_backup, mode)
    replacement = SourceSwap(live)
    folder = replacement.begin()
    try:
        restored = restore_backup(pack, folder.path, check) if include_backup else []
        roots, paths = _place_files(live, folder, restored, merges)
        with closing((filler := open_new(folder.ledger)).ledger):
            _fill(pack, filler, _Addresses(live, roots, paths), check)
            crash_point("install.filled")
            merged = _take_over(filler.ledger, live, merges) if is_there and live.ledger.exists() else Merged(0, 0)
            for row in filler.ledger.models():
                indexed = Indexed(filler.ledger, row.id, row.profile, folder.vectors / row.key, max_matrix)
                recover_and_publish(indexed, needs_fresh=True, on_progress=lambda done, total: check())
            filler.finish()
        written = _make_manifest(pack, live, paths)
        folder.write(_merge_manifest(folder, live, written, is_own) if merges else written)
        folder.write_pack({"version": pack.version})
        crash_point("install.built")
        replacement.publish()
    except BaseException:
        replacement.recover()
        raise
    return _count(pack, merged, include_backup)


def _check_place(live: SourceFolder, is_own: bool, include_backup: bool, mode: Mode | None) -> None:
    """Refuse to change a source against its mode; ``is_own``: the pack would join a source not from a pack."""
    if is_own and mode is None:
        raise ConflictError(
            f"there is a source {live.id!r} already, which was not installed from a pack",
            "--mode update adds the pack to it, --mode replace replaces it and deletes its files.",
        )
    if is_own and include_backup:
        raise UsageError(
            f"source {live.id!r} has files of its own, those of the pack cannot lie beside them",
            "Leave out --include-backup, or give --mode replace.",
        )
    left = SourceFolderDeletion(live.path.parent, live.id).hidden
    if left is not None:
        raise ConflictError(
            f"an earlier source {live.id!r} is not completely deleted: the rest is in {left}",
            f"kbjobs run delete-source {live.id} finishes that.",
        )


def _place_files(
    live: SourceFolder, folder: SourceFolder, restored: list[Path], merges: bool
) -> tuple[list[Path], list[Path]]:
    """The roots of the source's files now, and its paths once it is in place; merging keeps the old source's files.

    A source without files gets the path where its files would be: a job that reads it finds nothing and stops.
    """
    if merges and not restored:
        link_files(live, folder)
        paths = [Path(path) for path in live.read().paths]
        return [path for path in paths if path.exists()], paths
    return restored, [live.path / root.relative_to(folder.path) for root in restored] or [live.pages]


def _count(pack: Pack, merged: Merged, has_files: bool) -> Installed:
    manifest = pack.manifest
    return Installed(
        manifest.source.id,
        pack.version,
        manifest.documents.records,
        sum(profile.passages.records for profile in manifest.profiles),
        sum(model.vectors for model in manifest.models),
        manifest.backup.files.records if manifest.backup is not None and has_files else 0,
        merged.documents,
        merged.vectors,
    )


def _take_over(ledger: Ledger, live: SourceFolder, merges: bool) -> Merged:
    """Take over from the old source's ledger what the pack lacks or, without merging, only :data:`CARRIED` facts."""
    if not merges:
        carry_facts(ledger, live.ledger, CARRIED)
        return Merged(0, 0)
    Ledger(live.ledger).close()  # migrates it to the current format, and empties its log into the file
    return merge_ledger(ledger, live.ledger, CARRIED)


def _make_manifest(pack: Pack, live: SourceFolder, paths: Sequence[Path]) -> Source:
    """The manifest of the pack's source, without anything of an old source."""
    packed = pack.manifest.source
    return Source(
        live.id,
        tuple(map(str, paths)),
        packed.name,
        packed.license,
        packed.base_url or "",
        now_text(),
        tuple(packed.tags),
    )


def _merge_manifest(folder: SourceFolder, live: SourceFolder, written: Source, is_own: bool) -> Source:
    """The manifest of an existing source that a pack is added to: the user's own settings stay."""
    shutil.copyfile(live.manifest, folder.manifest)
    old = live.read()
    tags = tuple(dict.fromkeys([*old.tags, *written.tags]))
    if not is_own:
        return replace(
            written,
            tags=tags,
            suggested_tags=old.suggested_tags,
            rejected_tags=old.rejected_tags,
            chain=old.chain,
            language_filter=old.language_filter,
            declared_in=old.declared_in,
        )
    return replace(
        old,
        name=old.name or written.name,
        license=old.license or written.license,
        base_url=old.base_url or written.base_url,
        tags=tags,
    )


class _Addresses:
    """Gives documents without a web address the address of their file, or a name if they have no file.

    The names of ``roots`` begin the documents' paths; ``paths`` are where the roots will be.
    """

    def __init__(self, live: SourceFolder, roots: list[Path], paths: list[Path]) -> None:
        self._id = live.id
        names = name_roots([os.fspath(root) for root in roots])
        self._paths = {quote_key(name): os.fsencode(path) for name, path in zip(names, paths, strict=False)}

    def of(self, document: DocumentRecord) -> str:
        """The URL of a document."""
        if document.url is not None:
            return document.url
        top, _, below = document.path.partition("/")
        path = self._paths.get(top)
        if path is None:
            return f"kbjobs:{self._id}/{quote(document.path)}"
        return "file://" + quote(path + (b"/" + unquote_to_bytes(below) if below else b""))


def _fill(pack: Pack, filler: LedgerFiller, addresses: _Addresses, check: Callable[[], None]) -> None:
    """Fill a ledger from a pack."""
    filler.put_facts(pack.manifest.facts)
    filler.put_documents(
        {
            **document.model_dump(exclude={"words", "reader"}),
            "url": addresses.of(document),
            "word_count": document.words,
            # As for a file read here: the reader's version, and the base URL that addresses depend on.
            "pipeline": f"{document.reader} {pack.manifest.source.base_url or ''}".rstrip(),
        }
        for document in _checked(pack.documents(), check)
    )
    try:
        filler.put_metadata(
            {**record.model_dump(exclude={"kind"}), "doc_type": record.kind}
            for record in _checked(pack.metadata(), check)
        )
        filler.put_links(record.model_dump() for record in _checked(pack.links(), check))
        profiles = [
            filler.put_passages(
                profile.name, (record.model_dump() for record in _checked(pack.passages(profile), check))
            )
            for profile in pack.manifest.profiles
        ]
    except MissingDocument as error:
        raise DamagedPackError(pack.place.label, "a table", str(error)) from error
    for model in pack.manifest.models:
        number = filler.ledger.model(model.key, model.name, model.dimension, profiles[model.profile])
        for block in pack.vectors(model):
            check()
            rows = (row.tobytes() for row in block.rows)
            filler.ledger.put_vectors(number, zip(block.text_hashes, rows, strict=True))


def _checked(records: Iterable[Any], check: Callable[[], None]) -> Iterator[Any]:
    for number, record in enumerate(records):
        if number % 1_000 == 0:
            check()
        yield record
