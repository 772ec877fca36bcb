"""Read the files within a zip file of unknown origin, in memory: EPUB, DOCX and ODT are zip files.

Nothing is ever unpacked to a disk. The form is that of PKWARE's APPNOTE.TXT.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

ZIP_MARK = b"PK\x03\x04"
"""The first bytes of a zip file."""

FILE_LIMIT = 20_000
"""The most files within a zip file. A book of pictures has some thousand."""

UNPACKED_LIMIT = 64 * 2**20
"""Largest file within a zip file that is read, in unpacked bytes."""

TOTAL_LIMIT = 256 * 2**20
"""The most unpacked bytes that are read from a zip file."""

_LISTED = b"PK\x01\x02"  # begins each line of a zip file's table of contents
_IS_ENCRYPTED = 1  # of the flags
# Office programs and e-books use no others. LZMA would let a file ask for gigabytes of memory.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class DamagedFile(ValueError):
    """A file within a zip file is missing or cannot be unpacked; the others may be readable."""


class ZippedFiles:
    """The files within a zip file.

    Args:
        data: the zip file's bytes.

    Raises:
        ValueError: it is damaged, holds too many files, or names files outside of itself.
    """

    def __init__(self, data: bytes) -> None:
        # zipfile takes a kilobyte for each line of the table of contents, and reads it completely
        if (count := data.count(_LISTED)) > FILE_LIMIT:
            raise ValueError(f"too many files in it: {count:,}, the limit is {FILE_LIMIT:,}")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, struct.error, NotImplementedError, EOFError, OSError, ValueError) as error:
            raise ValueError("it is damaged or incomplete: it cannot be opened as a zip file") from error
        self.names = frozenset(self._zip.namelist())
        """The paths of the files, separated by slashes."""
        if any(name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") for name in self.names):
            raise ValueError("it is not trustworthy: it names files outside of itself")
        self._left = TOTAL_LIMIT

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def read(self, name: str, max_bytes: int = UNPACKED_LIMIT) -> bytes:
        """Return the bytes of a file of at most ``max_bytes``.

        Raises DamagedFile if the file is missing or damaged, and ValueError if it is encrypted or unpacks to too much.
        """
        if name not in self.names:
            raise DamagedFile(f"it is damaged: {name[:100]} is missing")
        info = self._zip.getinfo(name)
        if info.flag_bits & _IS_ENCRYPTED:
            raise ValueError("it is encrypted and needs a password")
        if info.compress_type not in _METHODS:
            raise DamagedFile(f"it is damaged: {name[:100]} is packed in an unknown way")
        limit = min(max_bytes, self._left)
        try:
            with self._zip.open(info) as file:
                data = file.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError) as error:
            raise DamagedFile(f"it is damaged: {name[:100]} cannot be unpacked") from error
        self._left -= len(data)
        if len(data) > limit:
            raise ValueError("too large: it unpacks to more than can be read")
        return data
