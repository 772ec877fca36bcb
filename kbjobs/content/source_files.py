"""Find the files of a source: every readable page below its roots, in a fixed order.

Nothing is trusted: links are not followed (so loops end and nothing outside is read), devices are never opened, names
may be any bytes. Files that could not be seen are distinguished from deleted ones.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kbjobs.errors import NotFoundError

HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
TEXT_SUFFIXES = frozenset({".txt"})
MARKDOWN_SUFFIXES = frozenset({".md"})
PDF_SUFFIXES = frozenset({".pdf"})
BOOK_SUFFIXES = frozenset({".epub"})
OFFICE_SUFFIXES = frozenset({".docx", ".odt", ".rtf"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
MAIL_SUFFIXES = frozenset({".eml", ".mbox"})
KINDS = {
    "html": HTML_SUFFIXES,
    "text": TEXT_SUFFIXES | MARKDOWN_SUFFIXES,
    "pdf": PDF_SUFFIXES,
    "book": BOOK_SUFFIXES,
    "office": OFFICE_SUFFIXES,
    "table": TABLE_SUFFIXES,
    "mail": MAIL_SUFFIXES,
}
"""The kinds of documents by the suffixes of their files."""
OTHER_SUFFIXES = BOOK_SUFFIXES | OFFICE_SUFFIXES | TABLE_SUFFIXES | MAIL_SUFFIXES
"""The types that :mod:`kbjobs.content.other_formats` reads."""

ARCHIVE_SUFFIXES = frozenset({".zim", ".zimaa"})
SUFFIXES = HTML_SUFFIXES | TEXT_SUFFIXES | MARKDOWN_SUFFIXES | PDF_SUFFIXES | OTHER_SUFFIXES | ARCHIVE_SUFFIXES
READABLE = (
    "web page (.html, .htm, .xhtml), text (.txt, .md, .rtf, .docx, .odt), e-book (.epub), table (.csv, .tsv), "
    "e-mail (.eml, .mbox), PDF or ZIM file"
)
"""What a source's folder may hold, for messages."""

ARCHIVE_MAGIC = b"ZIM\x04"
_PART = re.compile(r"\.zim[a-z]{2}\Z", re.IGNORECASE)

# The percent sign itself is quoted so that quoting can be undone. A fixed list instead of str.isprintable,
# whose answer changes with Python's Unicode tables: a key must never change.
_QUOTED_IN_KEY = re.compile("[%\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to read. ``size`` is in bytes; ``relative`` is its path below its root, as the system names it.

    ``signature`` changes whenever the file may have changed (size, times, inode), so that an unchanged file need not be
    read again. An archive (``is_archive``) holds many documents, whose keys begin with its own and a slash.
    """

    path: Path
    key: str
    relative: str
    size: int
    mtime_ns: int
    signature: str
    is_archive: bool = False


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file or folder that was skipped, and why.

    ``still_there``: it exists but cannot be read now, so what is known about it must be kept.
    """

    key: str
    reason: str
    still_there: bool = False


class FileSearch(Iterator[FoundFile | SkippedFile]):
    """A walk over a source's roots; ask ``complete`` once it has ended.

    ``complete`` is True only if everything below every root was seen, so that a document whose file did not turn up is
    really gone. ``ignored`` counts the files of other types.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.ignored = 0
        self._ended = False
        self._all_seen = True
        self._walk = self._walk_roots(_name_roots(roots))

    @property
    def complete(self) -> bool:
        """Whether the walk has ended and saw everything."""
        return self._ended and self._all_seen

    def __next__(self) -> FoundFile | SkippedFile:
        return next(self._walk)

    def _walk_roots(self, roots: list[tuple[str, str]]) -> Iterator[FoundFile | SkippedFile]:
        seen: set[str] | None = set() if len(roots) > 1 else None
        for root, name in roots:
            for entry in self._walk_root(root, name):
                if seen is not None and isinstance(entry, FoundFile):
                    path = os.fspath(entry.path)
                    if path in seen:
                        continue
                    seen.add(path)
                yield entry
        self._ended = True

    def _walk_root(self, root: str, name: str) -> Iterator[FoundFile | SkippedFile]:
        folder_of_root = root if Path(root).is_dir() else ""
        waiting = [root]
        while waiting:
            path = waiting.pop()
            relative = path[len(root) :].lstrip("/") if folder_of_root else Path(root).name
            key = quote_key(f"{name}/{relative}" if folder_of_root and relative else name)
            try:
                status = os.lstat(path)
                if stat.S_ISDIR(status.st_mode):
                    waiting.extend(self._list_folder(path))
                    continue
                entry = self._judge_file(path, relative, key, status, root)
            except OSError as error:
                self._all_seen = False
                yield SkippedFile(key, _explain(error), still_there=not isinstance(error, FileNotFoundError))
                continue
            if entry is not None:
                yield entry

    def _list_folder(self, path: str) -> list[str]:
        """Return the visible entries of a folder in reverse order, because the walk takes from the end."""
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
        names.sort(key=os.fsencode, reverse=True)
        prefix = path if path.endswith("/") else path + "/"
        return [prefix + name for name in names]

    def _judge_file(
        self, path: str, relative: str, key: str, status: os.stat_result, root: str
    ) -> FoundFile | SkippedFile | None:
        suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 (Path costs 4 µs a file)
        if stat.S_ISLNK(status.st_mode):
            return self._judge_link(path, suffix, key, root)
        is_named = path == root  # named by the user: examined whatever its name
        if suffix not in SUFFIXES and not is_named:
            self.ignored += 1
            return None
        if not stat.S_ISREG(status.st_mode):
            return SkippedFile(key, "not a regular file (a device, a pipe or a socket)")
        if not os.access(path, os.R_OK):
            return SkippedFile(key, "permission denied", still_there=True)
        is_archive = suffix in ARCHIVE_SUFFIXES or (is_named and _is_archive(path))
        return FoundFile(
            path=Path(path),
            key=key,
            relative=relative,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            signature=_sign_parts(path, status) if is_archive else sign_status(status),
            is_archive=is_archive,
        )

    def _judge_link(self, path: str, suffix: str, key: str, root: str) -> SkippedFile | None:
        try:
            target = os.path.realpath(path, strict=True)
            is_folder = Path(target).is_dir()
        except FileNotFoundError:
            return SkippedFile(key, "a link to a file that does not exist")
        except OSError as error:  # a loop of links, or a folder on the way that may not be entered
            return SkippedFile(key, f"a link that cannot be followed: {_explain(error)}")
        if not is_folder and suffix not in SUFFIXES:
            self.ignored += 1
            return None
        if target != root and not target.startswith(root.rstrip("/") + "/"):
            return SkippedFile(key, "a link that leads out of its folder")
        return SkippedFile(key, "a link within its folder: the target is read under its own name")


def find_files(roots: Sequence[Path]) -> FileSearch:
    """Walk over ``roots`` (folders or files) and yield each page once, and each skipped entry with its reason.

    Hidden names (a leading dot) are left out silently; files of other types are counted. Names are sorted by their
    bytes. Raises NotFoundError if a root does not exist or cannot be reached.
    """
    return FileSearch(roots)


def quote_key(path: str) -> str:
    """Return ``path`` as printable UTF-8: controls, bytes that are not UTF-8 and ``%`` become ``%XX``."""
    if _QUOTED_IN_KEY.search(path) is None:
        return path
    return _QUOTED_IN_KEY.sub(lambda found: "".join(f"%{byte:02X}" for byte in os.fsencode(found.group())), path)


def sign_status(status: os.stat_result) -> str:
    """Return the signature of a file, which stays equal as long as size, both times and inode do."""
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


def _is_archive(path: str) -> bool:
    if _PART.search(path):
        return True
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(len(ARCHIVE_MAGIC)) == ARCHIVE_MAGIC


def _sign_parts(path: str, status: os.stat_result) -> str:
    """Return the signature of an archive: its file's, or one of all its parts together."""
    if not _PART.search(path):
        return sign_status(status)
    signatures = [sign_status(part.stat()) for part in parts_of(Path(path))]
    return hashlib.sha256("\n".join(signatures).encode()).hexdigest()[:32]


def parts_of(archive: Path) -> list[Path]:
    """List the files of an archive in order: itself, or if it is split, all its parts; any part may be given."""
    if not _PART.search(archive.name):
        return [archive]
    return sorted(
        path for path in archive.parent.iterdir() if path.name[:-2] == archive.name[:-2] and _PART.search(path.name)
    )


def name_roots(roots: Sequence[str]) -> list[str]:
    """Return the name that starts the keys of each root, from their real paths; a repeated name gets ``~2``."""
    names: list[str] = []
    for root in roots:
        name = os.path.basename(root) or "root"  # noqa: PTH119
        number = 1
        unique = name
        while unique in names:
            number += 1
            unique = f"{name}~{number}"
        names.append(unique)
    return names


def _name_roots(roots: Sequence[Path]) -> list[tuple[str, str]]:
    """Return each root's real path with its name. Raises NotFoundError if one cannot be reached."""
    found: dict[str, None] = {}
    for root in roots:
        try:
            real = os.path.realpath(root, strict=True)
            os.stat(real)  # noqa: PTH116
        except OSError as error:
            raise NotFoundError(
                f"the folder or file {quote_key(str(root))} cannot be reached: {_explain(error)}",
                "Mount or restore it, or name another one. Nothing was changed.",
            ) from error
        found[real] = None
    return list(zip(found, name_roots(list(found)), strict=True))


def _explain(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def kind_of(path: str) -> str:
    """The kind of the document at a path, one of :data:`KINDS`; entries of archives without a known suffix are HTML."""
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 (Path costs 4 µs a file)
    return next((kind for kind, suffixes in KINDS.items() if suffix in suffixes), "html")
