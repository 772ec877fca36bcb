"""The language packs of a home: where each lies, and what is known of it.

``languages/en_es.2/`` holds a pack from English to Spanish. The number grows with each one that is put there, and the
highest counts: a new one is renamed into place beside the old one, which goes afterwards.
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
"""What kbjobs knows of a pack, in its folder."""
METADATA = "metadata.json"
"""What the pack says of itself."""
MODEL = "model"
"""The folder of the CTranslate2 model."""
WEIGHTS = f"{MODEL}/model.bin"
SENTENCEPIECE, BPE = "sentencepiece.model", "bpe.model"
"""What cuts sentences into the tokens of the model; a pack has one of the two."""

_CODE = "[a-z]{2,3}(?:-[a-z0-9]{2,8}){0,2}"
_FOLDER = re.compile(rf"({_CODE})_({_CODE})\.([1-9][0-9]{{0,8}})")


class DamagedLanguagePackError(KbjobsError):
    """A language pack that is here, or was fetched, cannot be used as it is."""


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """A direction of translation: the codes of two languages."""

    source: str
    target: str

    @property
    def name(self) -> str:
        """As part of names of files."""
        return f"{self.source}_{self.target}"

    @property
    def command(self) -> str:
        """The command that fetches its pack."""
        return f"kbjobs run language-download {self.target} --from {self.source}"

    def as_dict(self) -> dict[str, str]:
        """As ``--json`` prints it: codes and English names."""
        names = {"from_name": name_of(self.source), "to_name": name_of(self.target)}
        return {"from": self.source, "to": self.target, **names}

    def __str__(self) -> str:
        """For people."""
        return f"{name_of(self.source)} to {name_of(self.target)}"


@dataclass(frozen=True, slots=True)
class PackRecord:
    """What is recorded of a pack.

    ``sha256`` and ``size`` (bytes) are of the file that was fetched, ``unpacked`` the bytes it takes here.
    ``url`` is where it came from, ``fetched_at`` when (UTC). ``licence`` and ``target_prefix`` are as the pack says.
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
    """A language pack that is here."""

    pair: Pair
    path: Path
    record: PackRecord

    def as_dict(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {**self.pair.as_dict(), **asdict(self.record), "path": str(self.path)}


def is_code(value: object) -> bool:
    """Whether a value from outside can be the code of a language: it becomes part of names of files."""
    return isinstance(value, str) and re.fullmatch(_CODE, value) is not None


def list_packs(home: Home, damaged: list[DamagedLanguagePackError] | None = None) -> list[LanguagePack]:
    """The packs that can be used, by their languages; the errors of others are added to ``damaged``."""
    found = []
    for pair, path in sorted(_newest(home).items()):
        try:
            found.append(_read(pair, path))
        except DamagedLanguagePackError as error:
            if damaged is not None:
                damaged.append(error)
    return found


def find_pack(home: Home, pair: Pair) -> LanguagePack | None:
    """The pack for a direction, None if it is not here; raises DamagedPackError."""
    path = _newest(home).get(pair)
    return None if path is None else _read(pair, path)


def list_folders(home: Home) -> Iterator[tuple[Pair, int, Path]]:
    """Every folder of a pack: its direction, its number, where it is."""
    if not home.languages.is_dir():
        return
    for path in home.languages.iterdir():
        if found := _FOLDER.fullmatch(path.name):
            yield Pair(found[1], found[2]), int(found[3]), path


def size_of(folder: Path) -> int:
    """The bytes of the files of a pack, without its record."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path != folder / RECORD and not path.is_dir())


def _newest(home: Home) -> dict[Pair, Path]:
    return {pair: path for pair, _, path in sorted(list_folders(home))}


def _read(pair: Pair, path: Path) -> LanguagePack:
    """The pack in a folder; raises DamagedPackError if a file is missing or its record cannot be read."""
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
