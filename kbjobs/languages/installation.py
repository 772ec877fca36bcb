"""Install and remove language packs, and remember the hash that was first seen of each version.

``languages/seen/en_es.json`` keeps the hash of each version when it was first fetched, since the index has none. The
file stays when a pack is removed. Code that changes the packs of a direction holds its lock.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kbjobs.config.home import Home
from kbjobs.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from kbjobs.languages.language_names import ENGLISH, name_of
from kbjobs.languages.language_packs import RECORD, DamagedLanguagePackError, PackRecord, Pair, list_folders, size_of
from kbjobs.store.connection import is_disk_full
from kbjobs.store.locks import try_lock
from kbjobs.system.crashpoints import crash_point
from kbjobs.system.files import write_json

UNFINISHED = ".installing-"
_LOOK_EVERY = 0.5  # seconds


@contextmanager
def locked(home: Home, pair: Pair, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a direction.

    Args:
        home: the home of the packs.
        pair: the direction.
        wait: called now and then while another process holds the lock, may raise; None: do not wait.
    Raises:
        ConflictError: another process holds the lock.
    """
    home.languages.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = home.languages / ".locks" / f"{pair.name}.lock"
    while (lock := try_lock(path, _LOOK_EVERY)) is None:
        if wait is None:
            raise ConflictError(
                f"the language pack {pair} is being fetched", "kbjobs status shows the job: wait for it, or cancel it."
            )
        wait()
    try:
        yield
    finally:
        lock.release()


def begin_folder(home: Home, pair: Pair) -> Path:
    """Create an empty folder for building a pack."""
    folder = home.languages / f"{UNFINISHED}{pair.name}"
    _remove(folder)
    folder.mkdir(mode=0o700, parents=True)
    return folder


def publish(home: Home, pair: Pair, built: Path, record: PackRecord) -> Path:
    """Move a newly built pack to its place and remove older ones.

    Args:
        home: the home of the packs.
        pair: the pack's direction.
        built: the folder in which the pack was built.
        record: the pack's version, hash and licence, written into the pack.

    Returns:
        The pack's folder.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    with (built / RECORD).open("w", encoding="utf-8") as file:
        json.dump(asdict(record), file, ensure_ascii=False, indent=2)
    os.sync()  # one sync for all, since a pack has many files
    note_seen(home, pair, record.version, record.sha256)
    numbers = [number for found, number, _ in list_folders(home) if found == pair]
    place = home.languages / f"{pair.name}.{max(numbers, default=0) + 1}"
    crash_point("language.before_rename")
    built.rename(place)
    crash_point("language.renamed")
    remove_older(home, pair)
    return place


def remove_older(home: Home, pair: Pair) -> None:
    """Remove all packs for a direction except the newest, and the remains of an interrupted build."""
    folders = sorted((number, path) for found, number, path in list_folders(home) if found == pair)
    for _, path in folders[:-1]:
        _remove(path)
    _remove(home.languages / f"{UNFINISHED}{pair.name}")


@dataclass(frozen=True, slots=True)
class RemovedPacks:
    """The directions whose packs were removed, and the bytes that became free."""

    pairs: tuple[Pair, ...]
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """The removed packs as ``--json`` prints them."""
        return {"removed": [{"from": pair.source, "to": pair.target} for pair in self.pairs], "bytes": self.bytes}


def remove_packs(home: Home, code: str, source: str | None = None) -> RemovedPacks:
    """Remove the packs from and to a language.

    Args:
        home: the home of the packs.
        code: the language's code.
        source: the language to translate from; if given, only its pack to ``code`` is removed.

    Raises:
        NotFoundError: there is no such pack.
        ConflictError: a pack is being fetched; it is left untouched.
        UsageError: only English is named, and nearly all packs lead from or to it.
    """
    if code == ENGLISH and source is None:
        raise UsageError(
            "nearly all language packs translate from or to English", "Name the other language, or give --from."
        )
    there = sorted({pair for pair, _, _ in list_folders(home)})
    wanted = [
        pair for pair in there if (code in (pair.source, pair.target) if source is None else pair == Pair(source, code))
    ]
    if not wanted:
        raise NotFoundError(
            f"there is no language pack {Pair(source, code) if source else f'for {name_of(code)} ({code})'}",
            "kbjobs languages list shows what is here.",
        )
    freed = 0
    for pair in wanted:
        with locked(home, pair):
            for found, _, path in list(list_folders(home)):
                if found == pair:
                    freed += size_of(path)
                    _remove(path)
            _remove(home.languages / f"{UNFINISHED}{pair.name}")
    return RemovedPacks(tuple(wanted), freed)


def first_seen(home: Home, pair: Pair, version: str) -> str | None:
    """Return the sha256 that a version had when it was first fetched; None if it never was.

    Args:
        home: the home of the packs.
        pair: the pack's direction.
        version: the pack's version, such as ``1.9``.
    """
    found = _read_seen(home, pair).get(version)
    return found if isinstance(found, str) else None


def note_seen(home: Home, pair: Pair, version: str, sha256: str) -> None:
    """Remember the hash of a version.

    Args:
        home: the home of the packs.
        pair: the pack's direction.
        version: the pack's version, such as ``1.9``.
        sha256: its hash in hexadecimal.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    path = _seen_file(home, pair)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(path, {**_read_seen(home, pair), version: sha256}, unfinished=path.with_suffix(".new"))


def _seen_file(home: Home, pair: Pair) -> Path:
    return home.languages / "seen" / f"{pair.name}.json"


def _read_seen(home: Home, pair: Pair) -> dict[str, Any]:
    path = _seen_file(home, pair)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        found = error
    if not isinstance(found, dict):
        raise DamagedLanguagePackError(
            f"{path}, which keeps the hashes of language packs, cannot be read",
            "Remove it; the next download then trusts what it fetches.",
        )
    return found


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        what = "the disk is full" if is_disk_full(error) else error.strerror
        raise UnavailableError(f"cannot remove {path}: {what}", "Delete it by hand; nothing needs it.") from error
