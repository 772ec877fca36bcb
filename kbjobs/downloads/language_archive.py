"""Unpack a fetched language pack: only the files that are needed, and only into its folder.

A pack (``.argosmodel``) is a zip file of one folder: ``metadata.json``, ``model/`` (CTranslate2),
``sentencepiece.model`` or ``bpe.model``, ``README.md``, and ``stanza/``, which is skipped
(https://github.com/argosopentech/argos-translate, argostranslate/package.py). Nothing in it is executed.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from kbjobs.errors import UnavailableError
from kbjobs.languages.language_packs import BPE, METADATA, MODEL, SENTENCEPIECE, WEIGHTS, DamagedLanguagePackError, Pair
from kbjobs.store.connection import is_disk_full

MAX_FILES = 10_000
MAX_DIRECTORY = 4 * 1024 * 1024
"""Bytes of the list of files at the end of a zip file; zipfile reads the whole list."""
MAX_METADATA = 1024 * 1024
MAX_TEXT = 200
"""Characters that are kept of each text in a pack's metadata."""
SPARE_BYTES = 16 * 1024 * 1024
_PIECE = 1024 * 1024
_END, _LARGE = b"PK\5\6", b"PK\6\7"  # signatures: of the last record, and of the one before it in large files
_NEEDED = re.compile(rf"{MODEL}/.+|{re.escape(METADATA)}|{re.escape(SENTENCEPIECE)}|{re.escape(BPE)}")
_TEXTS = re.compile(r"(README|LICEN[CS]E|COPYING|NOTICE)[^/]*", re.IGNORECASE)
_LICENCE_LINE = re.compile(r"^[\s#*_-]*licen[cs]e\b[\s:*_#-]*(\w.*)$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Said:
    """What a pack's metadata says about it."""

    version: str
    licence: str
    target_prefix: str


def unpack(file: Path, folder: Path, pair: Pair, most: int, check: Callable[[], None] = lambda: None) -> Said:
    """Unpack a pack.

    Args:
        file: the zip file.
        folder: an empty folder; what was written before an error stays in it.
        pair: the direction that the pack must be for.
        most: bytes that its unpacked files may have.
        check: called with each piece; may raise.
    Raises:
        DamagedLanguagePackError: it is not a pack, or not for this direction, or a file would land outside the folder.
        UnavailableError: the disk has too little room.
    """
    try:
        with file.open("rb") as stream:
            _check_directory(stream)
            with zipfile.ZipFile(stream) as archive:
                members = _check_members(archive, most)
                said = _read_metadata(archive, members, pair)
                free = shutil.disk_usage(folder).free
                needed = sum(member.file_size for member in members.values()) + SPARE_BYTES
                if free < needed:
                    raise UnavailableError(
                        f"{free / 1e6:,.0f} MB are free on the disk of {folder.parent}, the language pack {pair} needs"
                        f" {needed / 1e6:,.0f} MB",
                        "Free some space, or move the home to a larger disk.",
                    )
                for name, member in members.items():
                    _write(archive, member, folder / name, check)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _refuse(f"it is not a readable zip file ({error})") from error
    except OSError as error:
        if is_disk_full(error):
            raise UnavailableError(f"the disk of {folder.parent} is full", "Free some space and try again.") from error
        raise UnavailableError(
            f"cannot unpack into {folder}: {error.strerror}", "Check that it is writable for you."
        ) from error
    licence = said.licence or _find_licence(folder)
    return Said(said.version, licence, said.target_prefix)


def _check_directory(stream: IO[bytes]) -> None:
    """Raise DamagedLanguagePackError if the list of files is too long to read.

    A record of 22 bytes at the end, before a comment of at most 65,535 bytes, holds the list's size (PKWARE's
    APPNOTE.TXT, 4.3.16); zipfile searches in the same order. Zip files of the kind for more than 4 GB keep it
    elsewhere.
    """
    size = stream.seek(0, 2)
    stream.seek(max(0, size - 22 - 65_535))
    tail = stream.read()
    start = len(tail) - 22 if tail[-22:-18] == _END and tail[-2:] == b"\0\0" else tail.rfind(_END)
    if start < 0:
        raise _refuse("it is not a zip file")
    if tail[max(0, start - 20) :][:4] == _LARGE:
        raise _refuse("it is a zip file of the kind for more than 4 GB")
    if int.from_bytes(tail[start + 12 : start + 16], "little") > MAX_DIRECTORY:
        raise _refuse(f"its list of files has more than {MAX_DIRECTORY:,} bytes")
    stream.seek(0)


def _check_members(archive: zipfile.ZipFile, most: int) -> dict[str, zipfile.ZipInfo]:
    """Find the files to unpack, by their names below the single top folder; all other files are checked too."""
    infos = archive.infolist()
    if len(infos) > MAX_FILES:
        raise _refuse(f"it has {len(infos):,} files, more than {MAX_FILES:,}")
    if sum(info.file_size for info in infos) > most:
        raise _refuse(
            f"its files have more than {most / 1e6:,.0f} MB (setting 'languages_max_mb')",
        )
    tops, seen, files = set(), set(), set()
    found = {}
    for info in infos:
        parts = _check_name(info)
        tops.add(parts[0])
        name = "/".join(parts)
        if name.casefold() in seen:
            raise _refuse(f"{name!r} is in it twice")
        seen.add(name.casefold())
        if not info.is_dir():
            files.add(name.casefold())
        below = "/".join(parts[1:])
        if not info.is_dir() and (_NEEDED.fullmatch(below) or _TEXTS.fullmatch(below)):
            found[below] = info
    folders = {parent.as_posix() for name in seen for parent in PurePosixPath(name).parents}
    if both := files & folders:
        raise _refuse(f"{min(both)!r} is a file and a folder in it")
    if len(tops) != 1:
        raise _refuse(f"it has {len(tops)} top folders, not one")
    if not {METADATA, WEIGHTS} <= found.keys() or not {SENTENCEPIECE, BPE} & found.keys():
        raise _refuse(f"it lacks {METADATA}, {WEIGHTS} or {SENTENCEPIECE}")
    return found


def _check_name(info: zipfile.ZipInfo) -> list[str]:
    """Split a member's name. Raises DamagedLanguagePackError if it leads elsewhere or is not a file."""
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refuse(f"{name!r} is a link or a device")
    if any(part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > 255 for part in parts):
        raise _refuse(f"the name {name!r} leads elsewhere")
    if "\\" in name or not name.isprintable() or re.match(r"[A-Za-z]:", name):
        raise _refuse(f"the name {name!r} leads elsewhere")
    if info.flag_bits & 1:
        raise _refuse(f"{name!r} is encrypted")
    return parts


def _read_metadata(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], pair: Pair) -> Said:
    info = members[METADATA]
    if info.file_size > MAX_METADATA:
        raise _refuse(f"its {METADATA} has more than {MAX_METADATA:,} bytes")
    try:
        content = json.loads(archive.read(info))
    except (ValueError, RecursionError) as error:
        raise _refuse(f"its {METADATA} is not JSON") from error
    if not isinstance(content, dict):
        raise _refuse(f"its {METADATA} is no object")
    source, target = content.get("from_code"), content.get("to_code")
    if (source, target) != (pair.source, pair.target):
        raise _refuse(f"it says that it is from {source!r} to {target!r}, the index says from {pair}")
    licence = _text(content, "license") or _text(content, "licence")
    return Said(_text(content, "package_version"), licence, _text(content, "target_prefix"))


def _text(content: dict[str, Any], name: str) -> str:
    value = content.get(name)
    return value[:MAX_TEXT] if isinstance(value, str) and value.isprintable() else ""


def _find_licence(folder: Path) -> str:
    """Find the licence that the README names on a line of its own; '' if there is none."""
    for path in sorted(folder.glob("README*")):
        found = _LICENCE_LINE.search(path.read_bytes()[:MAX_METADATA].decode("utf-8", "replace"))
        if found and (told := " ".join(found[1].split())).isprintable():
            return told[:MAX_TEXT]
    return ""


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, check: Callable[[], None]) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = 0
    with archive.open(info) as source, target.open("xb") as file:
        while piece := source.read(_PIECE):
            check()
            written += len(piece)
            if written > info.file_size:
                raise _refuse(f"{info.filename!r} has more bytes than it says")
            file.write(piece)
    if written != info.file_size:
        raise _refuse(f"{info.filename!r} has {written:,} bytes, it says {info.file_size:,}")


def _refuse(reason: str) -> DamagedLanguagePackError:
    return DamagedLanguagePackError(
        f"the language pack cannot be used: {reason}",
        "Nothing was kept. Report it to the publisher of the index.",
    )
