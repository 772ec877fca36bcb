"""E-mails and mailboxes: subject, sender, date, text, attachments, charsets, and messages that are no good."""

from __future__ import annotations

import mailbox
import time
from email.message import EmailMessage
from pathlib import Path

import pytest

from kbjobs.content.document import Extract, UnreadableDocument
from kbjobs.content.document_reading import extract_page
from tests.content.conftest import Read

HEAD = b"From: Ada Keeper <ada@example.org>\r\nDate: Fri, 17 May 2024 10:00:00 +0200\r\nSubject: The lamp\r\n"
FIRST = [(1, "The lamp"), (0, "From: Ada Keeper <ada@example.org>"), (0, "Date: Fri, 17 May 2024 10:00:00 +0200")]


def extract(data: bytes, suffix: str = ".eml") -> Extract:
    return extract_page(f"a{suffix}", data, suffix)


def outline(data: bytes, suffix: str = ".eml") -> list[tuple[int, str]]:
    return [(block.level, block.text) for block in extract(data, suffix).blocks]


def write_message(subject: str = "The lamp", text: str = "It burns.\n") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ada Keeper <ada@example.org>"
    message["Date"] = "Fri, 17 May 2024 10:00:00 +0200"
    message["Subject"] = subject
    message.set_content(text)
    return message


def test_a_message_is_a_document(read: Read) -> None:
    document = read(HEAD + b"\r\nIt burns\r\nat night.\r\n\r\nAda\r\n", "mail/lamp.eml")
    assert document.title == "The lamp"
    assert (document.about.authors, document.about.published) == (("Ada Keeper",), "2024-05-17")
    assert [(block.level, block.text) for block in document.blocks] == [*FIRST, (0, "It burns at night."), (0, "Ada")]


def test_the_page_is_read_only_if_there_is_no_text() -> None:
    message = write_message()
    message.add_alternative("<h1>Title</h1><p>It <b>shines</b>.</p>", subtype="html")
    assert outline(bytes(message)) == [*FIRST, (0, "It burns.")]
    page = HEAD + b'Content-Type: text/html\r\n\r\n<h1>Title</h1><div class="footer">It <b>shines</b>.</div>'
    assert outline(page) == [*FIRST, (2, "Title"), (0, "It shines.")]


def test_attachments_are_named_and_not_read() -> None:
    message = write_message()
    message.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf", filename="plän.pdf")
    message.add_attachment("secret text", filename="notes.txt")
    message.add_attachment(write_message("The oil", "Forwarded text."))
    last = [(0, f"Attachment: {name}") for name in ("plän.pdf", "notes.txt", "message/rfc822")]
    found = outline(bytes(message))
    assert found[:-1] == [*FIRST, (0, "It burns."), *last[:2]]
    assert found[-1][1] in ("Attachment: message/rfc822", "Attachment: The oil")


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252"])
def test_charsets(charset: str) -> None:
    message = write_message("Öl für Lämpchen")
    message.set_content("Fünf Öfen.", charset=charset)
    extracted = extract(bytes(message))
    assert (extracted.title, extracted.blocks[-1].text) == ("Öl für Lämpchen", "Fünf Öfen.")


@pytest.mark.parametrize(
    ("subject", "title"),
    [
        ("=?utf-8?b?w5ZsIGbDvHI=?= =?utf-8?q?_L=C3=A4mpchen?=", "Öl für Lämpchen"),
        ("Öl", "Öl"),
        ("=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
        ("=?no-such-charset?q?oil?=", "oil"),
        ("=?utf-8?b?abcde?= x", "=?utf-8?b?abcde?= x"),
        ("%PDF-1.7", "%PDF-1.7"),
        ("a\r\n b", "a b"),
        ("x" * 100_000, "x" * 300),
    ],
)
def test_subjects(subject: str, title: str) -> None:
    assert extract(f"From: a@b.c\r\nSubject: {subject}\r\n\r\nText.".encode()).title == title


def test_an_encoded_name_may_hold_a_comma() -> None:
    data = b"From: =?utf-8?q?Keeper=2C_Ada?= <ada@example.org>\r\nSubject: x\r\n\r\nText."
    assert extract(data).about.authors == ("Keeper, Ada",)


def make_mailbox(path: Path, *messages: EmailMessage) -> bytes:
    box = mailbox.mbox(path)
    for message in messages:
        box.add(message)
    box.close()
    return path.read_bytes()


@pytest.mark.parametrize("name", ["box.mbox", "Inbox"])
def test_a_mailbox_is_a_document_with_a_heading_for_each_message(tmp_path: Path, name: str) -> None:
    text = "It burns.\n\nFrom the tower one sees it at 10:00 o'clock.\n"
    data = make_mailbox(tmp_path / "m", write_message(text=text), write_message("The oil", "Buy some."))
    found = extract(data, Path(name).suffix)
    assert [block.text for block in found.blocks if block.kind == "heading"] == ["The lamp", "The oil"]
    texts = [block.text for block in found.blocks]
    assert "From the tower one sees it at 10:00 o'clock." in texts and "Buy some." in texts
    assert (found.title, found.about.kind, found.about.authors) == ("", "discussion", ("Ada Keeper",))


def test_a_mailbox_with_windows_line_ends() -> None:
    one = b"From a@b Fri May 17 10:00:00 2024\r\nSubject: One\r\n\r\nText.\r\n\r\n"
    two = b"From a@b Fri May 17 10:00:00 2024\r\nSubject: Two\r\n\r\nFrom here.\r\n"
    headings = [text for level, text in outline(one + two, ".mbox") if level]
    assert headings == ["One", "Two"]


@pytest.mark.parametrize(
    ("data", "suffix", "reason"),
    [
        (b"Dear Ada, no headers.", ".eml", "not have the form of an e-mail"),
        (b"\0\1\2" * 100, ".eml", "not have the form of an e-mail"),
        (b"no mailbox", ".mbox", "not have the form of a mailbox"),
        (HEAD + b"Content-Type: multipart/encrypted; boundary=x\r\n\r\n--x\r\n\r\n--x--", ".eml", "encrypted"),
        (HEAD + b"Content-Type: application/pkcs7-mime\r\n\r\nMII", ".eml", "encrypted"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes, suffix: str, reason: str) -> None:
    with pytest.raises(UnreadableDocument, match=reason):
        extract(data, suffix)


def nested(levels: int) -> bytes:
    head = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(levels))
    return HEAD.replace(b"\r", b"") + head + b"Content-Type: text/plain\n\nDeep.\n"


def test_deep_parts_are_refused() -> None:
    assert outline(nested(20))[-1] == (0, "Deep.")
    with pytest.raises(UnreadableDocument, match="nested too deep"):
        extract(nested(5_000))


def test_many_parts_are_refused() -> None:
    data = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 20_000
    with pytest.raises(UnreadableDocument, match="too many parts: more than 10,000"):
        extract(data)


@pytest.mark.parametrize(
    "field",
    [
        b"From: " + b"a <b@c>, " * 100_000,
        b"From: " + b"(" * 100_000,
        b"Subject: " + b"=?utf-8?q?x?= " * 100_000,
        b"To: " + b'"' * 100_000,
        b"Content-Type: text/plain; " + b"; ".join(b"name*%d=x" % n for n in range(20_000)),
        b"Content-Type: text/plain; charset=" + b"x" * 100_000,
    ],
)
def test_a_crafted_header_takes_no_time(field: bytes) -> None:
    started = time.process_time()
    assert extract(field + b"\r\n" + HEAD + b"\r\nText.").blocks
    assert time.process_time() - started < 5


def test_a_binary_text_is_an_attachment() -> None:
    data = HEAD + b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo="
    assert outline(data)[-1] == (0, "Attachment: text/plain")
