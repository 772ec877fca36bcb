"""Sources: a folder each under ``sources/`` in the home, with a manifest and a ledger."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kbjobs.errors import NotFoundError, UnavailableError, UsageError

SOURCE_ID = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
# Device names of Windows (Microsoft, "Naming Files, Paths, and Namespaces"): a home must be copyable.
RESERVED = frozenset({"con", "prn", "aux", "nul"} | {f"{n}{i}" for n in ("com", "lpt") for i in range(1, 10)})
MAX_MANIFEST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """A registered source: where its files are and how its pages are named.

    ``tags`` are the user's own; ``suggested_tags`` is what suggest_tags has written, None where it never ran.
    """

    id: str
    paths: tuple[str, ...]
    name: str = ""
    license: str = ""
    base_url: str = ""
    created_at: str = ""
    tags: tuple[str, ...] = ()
    suggested_tags: dict[str, Any] | None = None


def is_source_id(name: str) -> bool:
    """Whether a name can be a source's id."""
    return SOURCE_ID.fullmatch(name) is not None and name.split(".")[0] not in RESERVED


def check_source_id(source_id: str) -> str:
    """Return the id, or raise UsageError saying what an id may look like."""
    if not isinstance(source_id, str) or not SOURCE_ID.fullmatch(source_id):
        raise UsageError(
            f"{source_id!r} is not a valid source id",
            "An id has 1–63 of a–z, 0–9, '.', '_' and '-', and begins and ends with a letter or digit.",
        )
    if source_id.split(".")[0] in RESERVED:
        raise UsageError(f"{source_id!r} is a reserved name on some systems", "Choose another id.")
    return source_id


class SourceFolder:
    """The paths of one source in the home."""

    def __init__(self, sources: Path, source_id: str) -> None:
        self.id = check_source_id(source_id)
        self.path = sources / source_id

    @property
    def manifest(self) -> Path:
        """What the user told us of the source (JSON)."""
        return self.path / "manifest.json"

    @property
    def ledger(self) -> Path:
        """Documents, chunks and vectors (SQLite)."""
        return self.path / "source.db"

    @property
    def lock(self) -> Path:
        """Held by whoever changes ledger or vectors."""
        return self.path / ".lock"

    @property
    def vectors(self) -> Path:
        """One Chroma directory per model."""
        return self.path / "vectors"

    @property
    def pages(self) -> Path:
        """Copied files (``sources add --copy``)."""
        return self.path / "pages"

    def read(self) -> Source:
        """The manifest; raises NotFoundError or UnavailableError."""
        values = self._load()
        tags, suggested = values.get("tags"), values.get("suggested_tags")
        try:
            return Source(
                id=self.id,
                paths=tuple(str(path) for path in values["paths"]),
                name=str(values.get("name", "")),
                license=str(values.get("license", "")),
                base_url=str(values.get("base_url", "")),
                created_at=str(values.get("created_at", "")),
                tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else (),
                suggested_tags=suggested if isinstance(suggested, dict) else None,
            )
        except (KeyError, TypeError) as error:
            raise self._damaged(error) from error

    def write(self, source: Source) -> None:
        """Write the manifest whole or not at all. What somebody else has put into it stays."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        values = asdict(source)
        for name in ("tags", "suggested_tags"):
            if not values[name]:
                del values[name]
        self._save({**(self._load() if self.manifest.exists() else {}), **values})

    def write_suggested_tags(self, suggestions: dict[str, Any]) -> None:
        """Set the manifest's ``suggested_tags``; all else stays as it stands there now."""
        self._save({**self._load(), "suggested_tags": suggestions})

    def _load(self) -> dict[str, Any]:
        try:
            with self.manifest.open("rb") as file:
                text = file.read(MAX_MANIFEST_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"there is no source {self.id!r}", _near(self.path.parent, self.id)) from None
        except OSError as error:
            raise UnavailableError(f"cannot read {self.manifest}: {error.strerror}", "Check permissions.") from error
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._damaged(error) from error
        if not isinstance(values, dict):
            raise self._damaged("it is no JSON object")
        return values

    def _damaged(self, reason: object) -> UnavailableError:
        return UnavailableError(f"{self.manifest} is damaged: {reason}", "Correct it by hand, or add the source again.")

    def _save(self, values: dict[str, Any]) -> None:
        unfinished = self.manifest.with_suffix(".part")
        descriptor = os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.manifest)


def list_source_ids(sources: Path) -> list[str]:
    """The ids of all registered sources. A folder without manifest, or with an invalid name, is not one."""
    if not sources.is_dir():
        return []
    names = sorted(entry.name for entry in sources.iterdir())
    return [name for name in names if is_source_id(name) and (sources / name / "manifest.json").is_file()]


def list_sources(sources: Path) -> list[Source]:
    """All registered sources by id."""
    return [SourceFolder(sources, source_id).read() for source_id in list_source_ids(sources)]


def _near(sources: Path, source_id: str) -> str:
    from difflib import get_close_matches

    known = [entry.name for entry in sources.iterdir()] if sources.is_dir() else []
    near = get_close_matches(source_id, known, 1)
    if near:
        return f"Did you mean {near[0]}?"
    return f"Register it with kbjobs sources add {source_id} PATH, or see kbjobs sources list."
