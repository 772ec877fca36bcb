"""Read an e-mail or a mailbox as blocks of text: subject, sender, date and text of each message.

Sources: RFC 5322 and RFC 2045-2049 (messages), RFC 4155 (mbox). Attachments are named and not read; links and pictures
of a message in HTML are not fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32

from kbjobs.content.block_list import BlockList
from kbjobs.content.dates import read_date
from kbjobs.content.document import MAX_AUTHORS, About, Block, Extract, clean_names, clean_title
from kbjobs.content.encoding import NotText, decode_page
from kbjobs.content.html import read_whole_page

HEADER_LIMIT = 2_000
"""The most characters of a header that are read."""

PART_LIMIT = 10_000
"""The most parts of a message: texts, attachments, and what holds them."""

MESSAGE_LIMIT = 100_000
"""The most messages of a mailbox."""

NAMED_ATTACHMENTS = 100
"""The most attachments of a message that are named."""

# The line before a message: a sender, and a date with a time. A blank line precedes it, except at the beginning.
_FIRST_LINE = re.compile(rb"From [^\r\n]{0,500}\d\d:\d\d[^\r\n]{0,100}\r?\n")
_FROM_LINE = re.compile(rb"\n\r?\n" + _FIRST_LINE.pattern)
_QUOTED_FROM = re.compile(rb"\n>(>*From )")
_FIELDS = re.compile(rb"(?:[!-9;-~]{1,100}:[^\n]*\n(?:[ \t][^\n]*\n)*){2}")
_ENCRYPTED = frozenset(["multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"])


def is_mailbox(data: bytes) -> bool:
    """Whether a file begins like an mbox."""
    return _FIRST_LINE.match(data[:1_000]) is not None


def extract_mailbox(data: bytes) -> Extract:
    """Extract all messages of an mbox, each below a heading with its subject.

    Raises ValueError, with a reason for people, if it is not an mbox, hostile or too large.
    """
    if not is_mailbox(data):
        raise ValueError("it is damaged: it does not have the form of a mailbox")
    found = BlockList()
    references: list[str] = []
    authors: list[str] = []
    for number, message in enumerate(_split(data)):
        if number == MESSAGE_LIMIT:
            raise ValueError(f"too many messages: more than {MESSAGE_LIMIT:,}")
        read = _read_message(_parse(message), found)
        references += read.references
        authors += read.about.authors
    about = About(authors=clean_names(authors, MAX_AUTHORS), kind="discussion")
    return Extract("", "", "", found.blocks, references, about)


def extract_message(data: bytes) -> Extract:
    """Extract an e-mail; its subject is the title.

    Raises ValueError, with a reason for people, if it is not an e-mail, encrypted, hostile or too large.
    """
    data = _FIRST_LINE.sub(b"", data[:1_000], count=1) + data[1_000:] if is_mailbox(data) else data.lstrip()
    if _FIELDS.match(data) is None:
        raise ValueError("it is damaged: it does not have the form of an e-mail")
    message = _parse(data)
    if message.get_content_type() in _ENCRYPTED:
        raise ValueError("it is encrypted and needs a key")
    return _read_message(message, BlockList())


def _split(data: bytes) -> Iterator[bytes]:
    """Yield the messages of an mbox without their first lines; quoted lines that begin with "From " get back."""
    begin = data.index(b"\n") + 1
    for found in _FROM_LINE.finditer(data):
        yield _QUOTED_FROM.sub(rb"\n\1", data[begin : found.start() + 1])
        begin = found.end()
    yield _QUOTED_FROM.sub(rb"\n\1", data[begin:])


def _parse(data: bytes) -> Message:
    try:
        # compat32 leaves headers as they are: the newer policies parse them all, for minutes if they are crafted
        return BytesParser(policy=compat32).parsebytes(data)
    except RecursionError:
        raise ValueError("its parts are nested too deep") from None


def _read_message(message: Message, found: BlockList) -> Extract:
    """Add a message to ``found``; returns what it says about itself, with all blocks found so far."""
    texts, pages, attachments = _sort_parts(message)
    subject = clean_title(_decode_words(_find_header(message, "subject")))
    name, address = _read_sender(_find_header(message, "from"))
    date = clean_title(_find_header(message, "date"))
    found.add_heading(1, subject or "(no subject)")
    found.add_text(f"From: {name} <{address}>" if name else f"From: {address}")
    found.add_text(f"Date: {date}" if date else "")
    before = len(found.blocks)
    references: list[str] = []
    for text in texts:
        found.add_paragraphs(text)
    if len(found.blocks) == before:
        for page in pages:
            extract = read_whole_page(page.encode("utf-8", "replace"))
            found.add_read([_below_subject(block) for block in extract.blocks])
            references += extract.references
    for attachment in attachments[:NAMED_ATTACHMENTS]:
        found.add_text(f"Attachment: {attachment}")
    about = About(published=read_date(date), authors=clean_names([name or address], MAX_AUTHORS), kind="text")
    return Extract(subject, "", "", found.blocks, references, about)


def _below_subject(block: Block) -> Block:
    return block._replace(level=min(6, block.level + 1)) if block.kind == "heading" else block


def _sort_parts(message: Message) -> tuple[list[str], list[str], list[str]]:
    """Return the plain texts, the pages in HTML, and the names of the attachments of a message."""
    texts: list[str] = []
    pages: list[str] = []
    attachments: list[str] = []
    waiting = [message]
    for _ in range(PART_LIMIT):
        if not waiting:
            return texts, pages, attachments
        part = waiting.pop()
        kind, parts = part.get_content_type(), part.get_payload()
        name = clean_title(_decode_words(part.get_filename() or ""))
        if part.get_content_disposition() == "attachment" or name:
            attachments.append(name or kind)
        elif kind == "message/rfc822":  # forwarded as a whole
            attachments.append(_name_forwarded(part))
        elif isinstance(parts, list):
            waiting += [inner for inner in reversed(parts) if isinstance(inner, Message)]
        elif kind in ("text/plain", "text/html") or part.get_content_maintype() == "multipart":
            try:
                (pages if kind == "text/html" else texts).append(_read_text(part))
            except NotText:
                attachments.append(kind)
    raise ValueError(f"too many parts: more than {PART_LIMIT:,}")


def _read_text(part: Message) -> str:
    """Decode a part's text. Raises NotText if it is binary."""
    payload = part.get_payload(decode=True)
    return decode_page(payload, part.get_content_charset("")) if isinstance(payload, bytes) else ""


def _name_forwarded(part: Message) -> str:
    parts = part.get_payload()
    inner = parts[0] if isinstance(parts, list) and parts else None
    subject = _decode_words(_find_header(inner, "subject")) if isinstance(inner, Message) else ""
    return clean_title(subject) or "message/rfc822"


def _find_header(message: Message, name: str) -> str:
    """Return a header as it is written; '' if there is none. Bytes that are not ASCII are surrogates in it."""
    for key, value in message.raw_items():
        if key.lower() == name:
            return " ".join(str(value)[:HEADER_LIMIT].split())
    return ""


def _read_sender(field: str) -> tuple[str, str]:
    """Return the name, if any, and the address of a sender. Python's own parser calls itself for each parenthesis."""
    name, _, rest = field.rpartition("<")
    address = rest.partition(">")[0]
    return clean_title(_decode_words(name.strip().strip('"'))), clean_title(address)


def _decode_words(text: str) -> str:
    """Decode the encoded words of a header (RFC 2047), and bytes that are not ASCII."""
    try:
        pieces = decode_header(text[:HEADER_LIMIT])
    except HeaderParseError:  # broken base64: as it is written
        pieces = [(text, None)]
    return "".join(_decode_piece(piece, charset or "") for piece, charset in pieces)


def _decode_piece(piece: str | bytes, charset: str) -> str:
    data = piece if isinstance(piece, bytes) else piece.encode("utf-8", "surrogateescape")
    try:
        return decode_page(data, charset)
    except NotText:
        return data.decode("ascii", "replace")
