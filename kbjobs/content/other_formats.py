"""Choose the reader of an e-book by its content."""

from __future__ import annotations

from kbjobs.content.document import Extract
from kbjobs.content.epub_reading import CONTAINER, extract_epub
from kbjobs.content.zipped_files import ZIP_MARK, ZippedFiles

_ZIPPED = {".epub": "an EPUB"}


def extract_other(page: bytes, suffix: str) -> Extract | None:
    """Extract an e-book; returns None if the file is none.

    Args:
        page: the file's bytes.
        suffix: its suffix in lower case.

    Raises:
        ValueError: it cannot be read; the message is the reason for people.
    """
    if page.startswith(ZIP_MARK):
        return _extract_zipped(page, suffix)
    if suffix in _ZIPPED:
        raise ValueError(f"it is damaged: it does not have the form of {_ZIPPED[suffix]}")
    return None


def _extract_zipped(page: bytes, suffix: str) -> Extract | None:
    try:
        files = ZippedFiles(page)
    except ValueError:
        if suffix in _ZIPPED:
            raise
        return None  # whatever it is, the file's name promises no zip file
    if CONTAINER in files:
        return extract_epub(files)
    if suffix in _ZIPPED:
        raise ValueError(f"it is damaged: it does not have the form of {_ZIPPED[suffix]}")
    return None
