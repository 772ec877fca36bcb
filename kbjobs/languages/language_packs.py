"""The language packs of a home: where each one is, and what is recorded about it.

``languages/en_es.2/`` holds a pack from English to Spanish. The number grows with each installation, and the highest
one counts: a new pack is renamed into place next to the old one, which is removed afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.languages.language_names import name_of

RECORD = "pack.json"
"""kbjobs' own record of a pack, in its folder."""
METADATA = "metadata.json"
"""The pack's own metadata."""
MODEL = "model"
"""The folder of the CTranslate2 model."""
WEIGHTS = f"{MODEL}/model.bin"
SENTENCEPIECE, BPE = "sentencepiece.model", "bpe.model"
"""Splits sentences into the model's tokens; a pack has one of the two."""

_CODE = "[a-z]{2,3}(?:-[a-z0-9]{2,8}){0,2}"
_FOLDER = re.compile(rf"({_CODE})_({_CODE})\.([1-9][0-9]{{0,8}})")


class DamagedLanguagePackError(KbjobsError):
    """A language pack, installed or fetched, that cannot be used as it is."""


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """A direction of translation: the codes of two languages."""

    source: str
    target: str

    @property
    def name(self) -> str:
        """The direction as part of file names."""
        return f"{self.source}_{self.target}"

    @property
    def command(self) -> str:
        """The command that fetches its pack."""
        return f"kbjobs run language-download {self.target} --from {self.source}"

    def as_dict(self) -> dict[str, str]:
        """The direction as ``--json`` prints it: codes and English names."""
        names = {"from_name": name_of(self.source), "to_name": name_of(self.target)}
        return {"from": self.source, "to": self.target, **names}

    def __str__(self) -> str:
        """The direction for people."""
        return f"{name_of(self.source)} to {name_of(self.target)}"


@dataclass(frozen=True, slots=True)
class PackRecord:
    """The record of a pack.

    ``sha256`` and ``size`` (bytes) are of the fetched file, ``unpacked`` the bytes on disk. ``url`` is the address it
    came from, ``fetched_at`` the time (UTC). ``licence`` and ``target_prefix`` are as the pack says.
    """

    version: str
    sha256: str
    size: int
    unpacked: int
    url: str
    fetched_at: str
    licence: str = ""
    target_prefix: str = ""


@dataclass(frozen=True, slots=True)
class LanguagePack:
    """An installed language pack."""

    pair: Pair
    path: Path
    record: PackRecord

    def as_dict(self) -> dict[str, Any]:
        """The pack as ``--json`` prints it."""
        return {**self.pair.as_dict(), **asdict(self.record), "path": str(self.path)}


def is_code(value: object) -> bool:
    """Whether an external value can be a language code; it becomes part of file names."""
    return isinstance(value, str) and re.fullmatch(_CODE, value) is not None


def list_packs(home: Home, damaged: list[DamagedLanguagePackError] | None = None) -> list[LanguagePack]:
    """List the usable packs by their languages; errors of the others are added to ``damaged``."""
    found = []
    for pair, path in sorted(_newest(home).items()):
        try:
            found.append(_read(pair, path))
        except DamagedLanguagePackError as error:
            if damaged is not None:
                damaged.append(error)
    return found


def find_pack(home: Home, pair: Pair) -> LanguagePack | None:
    """Find the pack for a direction; None if it is missing. Raises DamagedLanguagePackError."""
    path = _newest(home).get(pair)
    return None if path is None else _read(pair, path)


def list_folders(home: Home) -> Iterator[tuple[Pair, int, Path]]:
    """List every pack's folder: direction, number, path."""
    if not home.languages.is_dir():
        return
    for path in home.languages.iterdir():
        if found := _FOLDER.fullmatch(path.name):
            yield Pair(found[1], found[2]), int(found[3]), path


def size_of(folder: Path) -> int:
    """Sum the bytes of a pack's files, without its record."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path != folder / RECORD and not path.is_dir())


def _newest(home: Home) -> dict[Pair, Path]:
    return {pair: path for pair, _, path in sorted(list_folders(home))}


def _read(pair: Pair, path: Path) -> LanguagePack:
    """Read the pack in a folder. Raises DamagedLanguagePackError if a file is missing, changed or unreadable."""
    remedy = f"Fetch it again: {pair.command} --force"
    try:
        content = json.loads((path / RECORD).read_text(encoding="utf-8"))
        record = PackRecord(**{field.name: content[field.name] for field in fields(PackRecord)})
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedLanguagePackError(
            f"the language pack {pair} in {path} has no record that can be read", remedy
        ) from error
    if not (path / WEIGHTS).is_file():
        raise DamagedLanguagePackError(f"the language pack {pair} in {path} has lost its file {WEIGHTS}", remedy)
    if not any((path / name).is_file() for name in (SENTENCEPIECE, BPE)):
        raise DamagedLanguagePackError(f"the language pack {pair} in {path} has lost its file {SENTENCEPIECE}", remedy)
    if size_of(path) != record.unpacked:
        raise DamagedLanguagePackError(f"the files of the language pack {pair} in {path} were changed", remedy)
    return LanguagePack(pair, path, record)
