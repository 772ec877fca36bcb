"""Sources: each has a folder under ``sources/`` in the home, with a manifest and a ledger.

A manifest stores paths inside the home relative to it, so that a home can be moved, or its backup restored elsewhere.
In the program they are absolute, below the current home.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kbjobs.errors import KbjobsError, NotFoundError, UnavailableError, UsageError
from kbjobs.system.files import write_text

SOURCE_ID = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
# Device names of Windows (Microsoft, "Naming Files, Paths, and Namespaces"): a home must be copyable to it.
RESERVED = frozenset({"con", "prn", "aux", "nul"} | {f"{n}{i}" for n in ("com", "lpt") for i in range(1, 10)})
MAX_MANIFEST_BYTES = 4 * 1024 * 1024

MAX_REMOVED = 0.20
"""The share of a source that a run may remove unasked; a larger share may mean an unmounted disk or a moved site."""


@dataclass(frozen=True, slots=True)
class Source:
    """A registered source: where its files are (absolute paths) and how its pages are named.

    ``tags`` are the user's own; ``suggested_tags`` is the result of suggest_tags, None if it never ran;
    ``rejected_tags`` must not be suggested again. ``chain`` is the name or the file of its own chain, which
    ``kbjobs chain --all-sources`` runs; ``language_filter`` is the filter of jobs that are given none; ``declared_in``
    is the file that declares it ('' for none of them).
    """

    id: str
    paths: tuple[str, ...]
    name: str = ""
    license: str = ""
    base_url: str = ""
    created_at: str = ""
    tags: tuple[str, ...] = ()
    suggested_tags: dict[str, Any] | None = None
    rejected_tags: tuple[str, ...] = ()
    chain: str = ""
    language_filter: str = ""
    declared_in: str = ""


def is_source_id(name: str) -> bool:
    """Whether a name can be a source's id."""
    return SOURCE_ID.fullmatch(name) is not None and name.split(".")[0] not in RESERVED


def check_source_id(source_id: str) -> str:
    """Return the id if it is valid; otherwise raise UsageError with the rules for ids."""
    if not isinstance(source_id, str) or not SOURCE_ID.fullmatch(source_id):
        raise UsageError(
            f"{source_id!r} is not a valid source id",
            "An id has 1–63 characters of a–z, 0–9, '.', '_' and '-', and begins and ends with a letter or digit.",
        )
    if source_id.split(".")[0] in RESERVED:
        raise UsageError(f"{source_id!r} is a reserved name on some systems", "Choose another id.")
    return source_id


class SourceFolder:
    """The paths of one source in the folder ``sources`` of a home."""

    def __init__(self, sources: Path, source_id: str) -> None:
        self.id = check_source_id(source_id)
        self.path = sources / source_id
        self._home = sources.parent

    def under(self, path: Path) -> SourceFolder:
        """The same source in a folder with another name; for reading only."""
        moved = SourceFolder(self.path.parent, self.id)
        moved.path = path
        return moved

    @property
    def manifest(self) -> Path:
        """The source's settings (JSON)."""
        return self.path / "manifest.json"

    @property
    def ledger(self) -> Path:
        """Documents, chunks and vectors (SQLite)."""
        return self.path / "source.db"

    @property
    def lock(self) -> Path:
        """The lock that a process holds while it changes ledger or vectors."""
        return self.path / ".lock"

    @property
    def vectors(self) -> Path:
        """One Chroma directory per model."""
        return self.path / "vectors"

    @property
    def batches(self) -> Path:
        """The files of open batches: those sent to an API, and its results."""
        return self.path / "batches"

    @property
    def words(self) -> Path:
        """The words for searching the source until it has an index (SQLite)."""
        return self.path / "words.db"

    @property
    def frontier(self) -> Path:
        """The addresses of a scraped site (SQLite)."""
        return self.path / "scrape.db"

    @property
    def pages(self) -> Path:
        """Copied files (``sources add --copy``)."""
        return self.path / "pages"

    @property
    def assets(self) -> Path:
        """The pictures and styles of the copied files."""
        return self.path / "assets"

    def read(self) -> Source:
        """Read the manifest; raises NotFoundError, or UnavailableError if it is damaged."""
        values = self._load()
        suggested = values.get("suggested_tags")
        return Source(
            id=self.id,
            paths=tuple(self._paths(values)),
            name=self._text(values, "name"),
            license=self._text(values, "license"),
            base_url=self._text(values, "base_url"),
            created_at=self._text(values, "created_at"),
            tags=_read_tags(values.get("tags")),
            suggested_tags=suggested if isinstance(suggested, dict) else None,
            rejected_tags=_read_tags(values.get("rejected_tags")),
            chain=self._text(values, "chain"),
            language_filter=self._text(values, "language_filter"),
            declared_in=self._text(values, "declared_in"),
        )

    def write(self, source: Source) -> None:
        """Write the manifest, completely or not at all. Unknown keys in it are kept."""
        is_new = not self.path.exists()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        values = {**asdict(source), "paths": list(source.paths)}
        former = self._load() if self.manifest.exists() else {}
        for name in ("tags", "suggested_tags", "rejected_tags"):
            if not values[name]:
                del values[name]
        for name in ("chain", "language_filter", "declared_in"):
            if not values[name]:
                del values[name]
                former.pop(name, None)
        try:
            self._save({**former, **values})
        except OSError:
            if is_new:
                with contextlib.suppress(OSError):
                    self.path.rmdir()
            raise

    def fill(self, values: dict[str, str]) -> None:
        """Set values that the manifest does not have yet; all others stay."""
        present = self._load()
        missing = {name: value for name, value in values.items() if value and not present.get(name)}
        if missing:
            self._save({**present, **missing})

    def read_scrape(self) -> dict[str, Any]:
        """The parameters of the source's last scrape; empty if it was never scraped."""
        options = self._load().get("scrape") if self.manifest.exists() else None
        return options if isinstance(options, dict) else {}

    def write_scrape(self, options: dict[str, Any]) -> None:
        """Set the scrape parameters in the manifest; all other values stay."""
        self._save({**self._load(), "scrape": options})

    def read_pack(self) -> dict[str, Any]:
        """The pack that the source was installed from; empty if there is none."""
        pack = self._load().get("pack")
        return pack if isinstance(pack, dict) else {}

    def find_missing(self) -> list[str]:
        """The source's paths that do not exist, except for those that its pack left out.

        Raises NotFoundError, UnavailableError as :meth:`read`.
        """
        has_pack = bool(self.read_pack())
        return [
            root
            for root in self.read().paths
            if not Path(root).exists() and not (has_pack and self.path in Path(root).parents)
        ]

    def write_pack(self, pack: dict[str, Any]) -> None:
        """Set the source's pack in the manifest; all other values stay."""
        self._save({**self._load(), "pack": pack})

    def write_suggested_tags(self, suggestions: dict[str, Any]) -> None:
        """Set ``suggested_tags`` in the manifest; all other values stay."""
        self._save({**self._load(), "suggested_tags": suggestions})

    def write_decided_tags(self, source: Source) -> None:
        """Set the user's own tags, the rejected ones and the remaining suggestions in one write."""
        values = self._load()
        values |= {"tags": list(source.tags), "rejected_tags": list(source.rejected_tags)}
        if source.suggested_tags is not None:
            values["suggested_tags"] = source.suggested_tags
        self._save({name: value for name, value in values.items() if value or name not in ("tags", "rejected_tags")})

    def update_manifest(self) -> None:
        """Rewrite the manifest of an older version with portable paths; an up-to-date one is not written.

        The caller holds the source's lock.
        """
        values = self._load()
        if values.get("paths") != self._portable_paths(values):
            self._save(values)

    def _load(self) -> dict[str, Any]:
        try:
            if not self.manifest.is_file() and os.path.lexists(self.manifest):
                raise self._damaged("it is not a regular file")  # a pipe would never end
            with self.manifest.open("rb") as file:
                text = file.read(MAX_MANIFEST_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"there is no source {self.id!r}", _near(self.path.parent, self.id)) from None
        except OSError as error:
            raise UnavailableError(
                f"cannot read {self.manifest}: {error.strerror}", "Check its permissions."
            ) from error
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._damaged(error) from error
        if not isinstance(values, dict):
            raise self._damaged("it is no JSON object")
        return values

    def _text(self, values: dict[str, Any], name: str) -> str:
        value = values.get(name, "")
        if not isinstance(value, str):
            raise self._damaged(f"its {name} is not a text")
        return value

    def _paths(self, values: dict[str, Any]) -> list[str]:
        """The manifest's paths as absolute paths in the current home."""
        paths = values.get("paths")
        if not isinstance(paths, list) or not paths:
            raise self._damaged("it has no list of paths")
        for path in paths:
            if not _is_safe_path(path):
                raise self._damaged(f"{path!r} cannot be a path of a source")
        return [self._locate(path) for path in paths]

    def _locate(self, path: str) -> str:
        if not path.startswith("/"):
            return str(self._home / path)
        if self._portable(path) != path:
            return path
        # Version 0.1.0 wrote absolute paths: after a move of the home, paths of copied pages name the old place.
        _, marker, below = f"{path}/".rpartition(f"/sources/{self.id}/pages/")
        here = str(self.pages / below)
        return here if marker and os.access(here, os.F_OK) else path

    def _portable(self, path: str) -> str:
        """The path relative to the home if it is inside, otherwise unchanged."""
        for home in (self._home, self._home.resolve()):
            if Path(path).is_relative_to(home):
                return str(Path(path).relative_to(home))
        return path

    def _portable_paths(self, values: dict[str, Any]) -> list[str]:
        return [self._portable(path) for path in self._paths(values)]

    def _damaged(self, reason: object) -> UnavailableError:
        return UnavailableError(
            f"{self.manifest} is damaged: {reason}", "Correct it by hand, or put it back from a backup."
        )

    def _save(self, values: dict[str, Any]) -> None:
        values = {**values, "paths": self._portable_paths(values)}
        try:
            write_text(
                self.manifest, json.dumps(values, indent=2) + "\n", unfinished=self.manifest.with_suffix(".part")
            )
        except OSError as error:  # such as a full disk: the error of a write does not name the file
            raise OSError(error.errno, error.strerror, str(self.manifest)) from error


def list_sources(sources: Path, on_damaged: Callable[[str, KbjobsError], None] | None = None) -> list[Source]:
    """All registered sources by id. A folder without a manifest, or with an invalid name, is not a source.

    A source with an unusable manifest is left out, and ``on_damaged`` is called with its id and the error; without
    ``on_damaged``, UnavailableError is raised.
    """
    found = []
    for source_id in list_source_ids(sources):
        try:
            found.append(SourceFolder(sources, source_id).read())
        except NotFoundError:  # removed since
            continue
        except UnavailableError as error:
            if on_damaged is None:
                raise
            on_damaged(source_id, error)
    return found


def list_source_ids(sources: Path) -> list[str]:
    """The ids of all registered sources, including those with a damaged manifest."""
    if not sources.is_dir():
        return []
    return sorted(
        entry.name
        for entry in sources.iterdir()
        if is_source_id(entry.name) and os.path.lexists(entry / "manifest.json")
    )


def _read_tags(value: object) -> tuple[str, ...]:
    return tuple(str(tag) for tag in value) if isinstance(value, list) else ()


def _is_safe_path(path: object) -> bool:
    if not isinstance(path, str) or not path or "\0" in path:
        return False
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # a lone surrogate, which no file name can hold
        return False
    return path.startswith("/") or ".." not in Path(path).parts


def _near(sources: Path, source_id: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(source_id, list_source_ids(sources), 1)
    if near:
        return f"Did you mean {near[0]}?"
    return f"Register it with kbjobs sources add {source_id} PATH, or see kbjobs sources list."
