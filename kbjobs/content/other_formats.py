"""Choose the reader of an e-book, office document, table or e-mail, by its content if that tells."""

from __future__ import annotations

from kbjobs.content.csv_reading import extract_csv
from kbjobs.content.document import Extract
from kbjobs.content.docx_reading import extract_docx, find_main_part
from kbjobs.content.encoding import decode_page
from kbjobs.content.epub_reading import CONTAINER, extract_epub
from kbjobs.content.mail_reading import extract_mailbox, extract_message, is_mailbox
from kbjobs.content.odt_reading import extract_odt, is_odt
from kbjobs.content.rtf_reading import RTF_MARK, extract_rtf
from kbjobs.content.source_files import TABLE_SUFFIXES
from kbjobs.content.zipped_files import ZIP_MARK, ZippedFiles

_FORMS = {".epub": "an EPUB", ".docx": "a Word document", ".odt": "an OpenDocument text", ".rtf": "an RTF file"}
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"  # a compound file, which an encrypted DOCX is too (MS-OFFCRYPTO, 2.1.4)
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


def extract_other(page: bytes, suffix: str) -> Extract | None:
    """Extract an e-book, office document, table or e-mail; returns None if the file is none.

    Args:
        page: the file's bytes.
        suffix: its suffix in lower case.

    Raises:
        ValueError: it cannot be read; the message is the reason for people.
    """
    extract = _extract(page, suffix)
    if extract is not None and not extract.blocks:
        raise ValueError("no text: it has no words")
    return extract


def _extract(page: bytes, suffix: str) -> Extract | None:
    if page.startswith(ZIP_MARK):
        return _extract_zipped(page, suffix)
    if page.startswith(RTF_MARK):
        return extract_rtf(page)
    if suffix in TABLE_SUFFIXES:
        return extract_csv(decode_page(page))
    if suffix == ".eml":
        return extract_message(page)
    if suffix == ".mbox" or (not suffix and is_mailbox(page)):  # mail programs name mailboxes "Inbox"
        return extract_mailbox(page)
    if suffix in _FORMS:
        if page.startswith(_OLD_OFFICE):
            raise ValueError(
                "it is encrypted and needs a password"
                if _ENCRYPTED in page
                else "it has the form of an old Office file"
            )
        raise ValueError(f"it is damaged: it does not have the form of {_FORMS[suffix]}")
    return None


def _extract_zipped(page: bytes, suffix: str) -> Extract | None:
    try:
        files = ZippedFiles(page)
    except ValueError:
        if suffix in _FORMS:
            raise
        return None  # whatever it is, the file's name promises no zip file
    if CONTAINER in files:
        return extract_epub(files)
    if find_main_part(files) is not None:
        return extract_docx(files)
    if is_odt(files):
        return extract_odt(files)
    if suffix in _FORMS:
        raise ValueError(f"it is damaged: it does not have the form of {_FORMS[suffix]}")
    return None
