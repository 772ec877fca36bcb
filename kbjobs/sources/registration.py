"""Registering and editing a source: its paths, its files, and the names of its documents."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kbjobs.config.home import Home
from kbjobs.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from kbjobs.formatting import counted
from kbjobs.store.clocks import now_text
from kbjobs.store.ledger import Ledger
from kbjobs.store.locks import lock_registered, lock_source
from kbjobs.store.source_deletion import SourceFolderDeletion
from kbjobs.store.sources import Source, SourceFolder

if TYPE_CHECKING:
    from kbjobs.content.source_files import FoundFile, SkippedFile

LOCK_SECONDS = 1.0
MANY_FILES = 20_000
# Filesystem Hierarchy Standard 3.0, chapters 3 to 6. They belong to the system, but a folder below may be one source.
SYSTEM_FOLDERS = frozenset(
    {"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt", "/opt", "/proc"}
    | {"/root", "/run", "/sbin", "/srv", "/sys", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/share"}
    | {"/var", "/var/lib", "/var/log"}
)
NO_FILES = ("/dev", "/proc", "/sys")  # folders without pages, even below

Ask = Callable[[str], None]
"""Called with a description of doubtful paths before they are registered; may raise to stop."""


@dataclass(frozen=True, slots=True)
class EditedSource:
    """An edited source, the number of its documents, and how many of them are in dropped paths."""

    source: Source
    documents: int
    dropped_documents: int

    def as_dict(self) -> dict[str, Any]:
        """The source as the JSON that ``--json`` prints."""
        return {**asdict(self.source), "documents": self.documents, "dropped_documents": self.dropped_documents}


@dataclass(frozen=True, slots=True)
class SourceFields:
    """A source's description in addition to its paths; None for values that are not given."""

    name: str | None = None
    license: str | None = None
    base_url: str | None = None
    chain: str | None = None
    language_filter: str | None = None

    def given(self) -> dict[str, Any]:
        """The values that are given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


NOT_DESCRIBED = SourceFields()


def register(
    home: Home,
    source_id: str,
    paths: Sequence[Path],
    described: SourceFields = NOT_DESCRIBED,
    copy: bool = False,
    ask: Ask = lambda doubt: None,
) -> tuple[Source, int]:
    """Register folders or files as a source.

    Args:
        home: the home to register it in.
        source_id: the source's id.
        paths: its folders and files.
        described: its name, license and so on.
        copy: whether to copy the files into the home; otherwise they are read in place.
        ask: called for a system folder and for more than 20,000 files, before anything is done; may raise to stop.

    Returns:
        The source, and the number of its files.
    """
    folder = SourceFolder(home.sources, source_id)
    base_url = described.base_url or ""
    _check_base_url(base_url)
    roots = [_absolute(path) for path in paths]
    files, unreadable = _find_pages(roots, ask)
    if copy and unreadable:
        raise UsageError(
            f"{counted(len(unreadable), 'file or folder', 'files or folders')} cannot be copied, the first is"
            f" {unreadable[0].key}:"
            f" {unreadable[0].reason}",
            "Make them readable, or leave out --copy. Nothing was registered.",
        )
    if base_url:
        _refuse_shared_urls(files)
    _refuse_existing(folder)
    home.prepare()
    if copy:
        with lock_source(folder.lock, source_id, LOCK_SECONDS):
            _refuse_existing(folder)  # another command may have been faster
            roots = _copy_files(folder, files)
    source = replace(Source(source_id, tuple(str(root) for root in roots), created_at=now_text()), **described.given())
    folder.write(source)
    return source, len(files)


def register_site(
    home: Home, source_id: str, scrape: Mapping[str, Any], described: SourceFields = NOT_DESCRIBED
) -> Source:
    """Register a site that is to be scraped: a source that has no page yet.

    Args:
        home: the home to register it in.
        source_id: the source's id.
        scrape: the parameters of its scrapes, among them ``url``.
        described: its name, license and so on; the base URL is by default that of the site.

    Raises:
        ConflictError: there is a source of that id, or its folder holds pages.
    """
    folder = SourceFolder(home.sources, source_id)
    _check_base_url(described.base_url or "")
    _refuse_existing(folder)
    if folder.pages.exists() and any(folder.pages.iterdir()):
        raise ConflictError(
            f"{folder.pages} contains files that were kept from an earlier source",
            f"Move it away, or register it: kbjobs sources add ID {folder.pages}",
        )
    home.prepare()
    parts = urlsplit(str(scrape["url"]))
    site = Source(source_id, (str(folder.pages),), base_url=f"{parts.scheme}://{parts.netloc}/", created_at=now_text())
    source = replace(site, **described.given())
    folder.pages.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.write(source)
    folder.write_scrape(dict(scrape))
    return source


def edit(
    home: Home,
    source_id: str,
    add: Sequence[Path] = (),
    drop: Sequence[Path] = (),
    described: SourceFields = NOT_DESCRIBED,
    ask: Ask = lambda doubt: None,
) -> EditedSource:
    """Add or drop paths of a source, or change its description; everything else stays as it is.

    The documents of a dropped path stay until the next job that reads the source. An edit that would give another
    document a new id is refused.

    Args:
        home: the source's home.
        source_id: the source's id.
        add: folders and files to add.
        drop: folders and files to drop.
        described: its new name, license and so on.
        ask: called for a system folder and for more than 20,000 files, before anything is done; may raise to stop.

    Raises:
        ConflictError: a job is working on the source.
        UsageError: the edit would rename documents.
    """
    folder = SourceFolder(home.sources, source_id)
    folder.read()
    if not (add or drop) and described == NOT_DESCRIBED:
        raise UsageError(
            "there is nothing to change", f"kbjobs sources edit {source_id} --help shows what can be changed."
        )
    _check_base_url(described.base_url or "")
    added = [_absolute(path) for path in add]
    if added:
        _find_pages(added, ask)
    with lock_registered(folder, LOCK_SECONDS):
        source = folder.read()
        dropped = {_find_path(source, path) for path in drop}
        kept = [path for path in source.paths if path not in dropped]
        _refuse_twice(source_id, kept, added)
        paths = [*kept, *map(str, added)]
        if not paths:
            raise UsageError(f"{source_id!r} would have no paths left", "Give the new one too: --add PATH.")
        _refuse_renamed(source, kept, paths)
        changed = replace(source, paths=tuple(paths), **described.given())
        if changed.base_url and len(paths) > 1 and (added or changed.base_url != source.base_url):
            from kbjobs.content.source_files import FoundFile, find_files

            search = find_files([Path(path) for path in paths])
            _refuse_shared_urls(entry for entry in search if isinstance(entry, FoundFile))
        documents, in_dropped = _count_documents(folder, source, dropped)
        folder.write(changed)
    return EditedSource(changed, documents, in_dropped)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 — keeps links as given


def _check_base_url(base_url: str) -> None:
    if base_url and not base_url.startswith(("http://", "https://")):
        raise UsageError(f"{base_url!r} is not a base URL", "It begins with http:// or https://.")


def _find_pages(roots: Sequence[Path], ask: Ask) -> tuple[list[FoundFile], list[SkippedFile]]:
    """Find the files below the roots, and the unreadable ones; raises UsageError if there is no file."""
    from kbjobs.content.source_files import READABLE, FoundFile, find_files

    for root in roots:
        if _is_everybodys(root):
            ask(f"{root} is a folder of the system, or all of yours")
    search = find_files(roots)
    files: list[FoundFile] = []
    unreadable: list[SkippedFile] = []
    for entry in search:
        if isinstance(entry, FoundFile):
            files.append(entry)
            if len(files) == MANY_FILES + 1:
                ask(f"{', '.join(map(str, roots))}: more than {MANY_FILES:,} files")
        elif entry.still_there:
            unreadable.append(entry)
    if not files:
        raise UsageError(
            f"there is no {READABLE} in {', '.join(str(root) for root in roots)}"
            + (f" ({counted(search.ignored, 'file')} of other types)" if search.ignored else ""),
            "Name the folder that holds the pages, or a file.",
        )
    return files, unreadable


def _is_everybodys(root: Path) -> bool:
    real = Path(os.path.realpath(root))
    return str(real) in SYSTEM_FOLDERS or real == Path.home().resolve() or any(map(real.is_relative_to, NO_FILES))


def _refuse_shared_urls(files: Iterable[FoundFile]) -> None:
    """Raise UsageError if two files would have the same URL, since all roots share one base URL."""
    paths: dict[str, Path] = {}
    for file in files:
        other = paths.setdefault(file.relative, file.path)
        if other != file.path:
            raise UsageError(
                f"{other} and {file.path} would have the same URL below the base URL",
                "Register the folders as sources of their own, each with its base URL, or the folder that holds both.",
            )


def _refuse_existing(folder: SourceFolder) -> None:
    if folder.manifest.exists():
        raise ConflictError(
            f"source {folder.id!r} exists already",
            f"See kbjobs sources show {folder.id}, or choose another id.",
        )
    left = SourceFolderDeletion(folder.path.parent, folder.id).hidden
    if left is not None:
        raise ConflictError(
            f"an earlier source {folder.id!r} is not completely deleted: the rest is in {left}",
            f"kbjobs run delete-source {folder.id} finishes that.",
        )


def _find_path(source: Source, wanted: Path) -> str:
    absolute = str(_absolute(wanted))
    for path in source.paths:
        if path == absolute or os.path.realpath(path) == os.path.realpath(absolute):
            return path
    from difflib import get_close_matches

    near = get_close_matches(absolute, source.paths, 1)
    raise NotFoundError(
        f"source {source.id!r} has no path {absolute}",
        f"Did you mean {near[0]}?" if near else f"It has {', '.join(source.paths)}.",
    )


def _refuse_twice(source_id: str, kept: Sequence[str], added: Sequence[Path]) -> None:
    have = [Path(os.path.realpath(path)) for path in kept]
    for path in added:
        real = Path(os.path.realpath(path))
        if any(real.is_relative_to(other) for other in have):
            raise UsageError(f"{path} is part of source {source_id!r} already", "Nothing was changed.")
        have.append(real)


def _name_paths(paths: Sequence[str]) -> dict[str, str]:
    """The names that begin the keys of each path's documents."""
    from kbjobs.content.source_files import name_roots

    reals = {path: os.path.realpath(path) for path in paths}
    unique = list(dict.fromkeys(reals.values()))
    names = dict(zip(unique, name_roots(unique), strict=True))
    return {path: names[real] for path, real in reals.items()}


def _refuse_renamed(source: Source, kept: Sequence[str], paths: Sequence[str]) -> None:
    """Raise UsageError if the documents of a kept path would get other ids."""
    before, after = _name_paths(source.paths), _name_paths(paths)
    for path in kept:
        if before[path] != after[path]:
            raise UsageError(
                f"the documents of {path} would get new ids: {before[path]!r} would be called {after[path]!r}",
                f"If you are sure, add --drop {path} --add {path}. Nothing is embedded again.",
            )


def _count_documents(folder: SourceFolder, source: Source, dropped: set[str]) -> tuple[int, int]:
    """Count the source's documents, and those in dropped paths."""
    if not folder.ledger.exists():
        return 0, 0
    from kbjobs.content.source_files import quote_key

    names = {quote_key(name) for path, name in _name_paths(source.paths).items() if path in dropped}
    with Ledger(folder.ledger) as ledger:
        keys = [key for _, key in ledger.document_paths()]
    return len(keys), sum(key.partition("/")[0] in names for key in keys)


def _copy_files(folder: SourceFolder, files: Sequence[FoundFile]) -> list[Path]:
    """Copy the files into the source's folder, all or none; returns the roots there.

    Each root gets a numbered folder of its own, so that files keep their names, and documents their ids.
    """
    from kbjobs.content.source_files import parts_of

    if folder.pages.exists():
        raise ConflictError(
            f"{folder.pages} holds copied pages already",
            f"Move it away, or register it: kbjobs sources add ID {folder.pages}",
        )
    unfinished = folder.pages.with_suffix(".part")
    roots: dict[str, Path] = {}
    try:
        if unfinished.exists():
            shutil.rmtree(unfinished)  # left by a killed command
        for file in files:
            is_root = "/" not in file.key
            top = file.path if is_root else file.path.parents[len(Path(file.relative).parts) - 1]
            place = Path(str(len(roots) + 1), top.name or "root")
            root = roots.setdefault(str(top), place)
            target = unfinished / root if is_root else unfinished / root / file.relative
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for part in parts_of(file.path) if file.is_archive else [file.path]:
                copied = target.with_name(part.name)
                shutil.copyfile(part, copied)
                modified = part.stat().st_mtime_ns
                os.utime(copied, ns=(modified, modified))
        unfinished.rename(folder.pages)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.lock.unlink(missing_ok=True)
            folder.path.rmdir()
        if isinstance(error, OSError):
            raise UnavailableError(
                f"the files cannot be copied: {error.filename}: {error.strerror}",
                f"Nothing was registered. Is the disk of {folder.path.parent} full?",
            ) from error
        raise
    return [folder.pages / root for root in roots.values()]
