"""From a file to a document: refusals, encodings, addresses, identities."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kbjobs.content.document import Document, UnreadableDocument, document_id
from kbjobs.content.document_reading import SIZE_LIMIT, check_web_url, read_document, read_language
from tests.content.conftest import Read, find_page


def text_of(document: Document) -> str:
    return "\n".join(block.text for block in document.blocks)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("page.html", b"", "0 bytes"),
        ("page.html", b"<p>a\0b</p>" * 50, "binary"),
        ("page.html", b"%PDF-1.7 text", "damaged: it does not have the form of a PDF"),
        ("page.html", b"\x89PNG\r\n\x1a\n", "binary"),
        ("page.txt", b"PK\x03\x04 text", "binary"),
        ("page.html", os.urandom(5000) + b"\0" * 20, "binary"),
        ("page.html", b"<title>Only a title</title><nav>Home</nav><script>var x</script>", "no text"),
        ("page.html", b"<p> &nbsp; <br></p>", "no text"),
        ("page.txt", b" \n\t \n", "no text"),
        ("page.md", b"---\ntitle: x\n---\n", "no text"),
        ("page.html", b"<div>" * 200_000 + b"x", "nested too deep"),
    ],
)
def test_refuses_with_a_reason(read: Read, name: str, content: bytes | str, reason: str) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(content, name)
    assert reason in caught.value.reason
    assert caught.value.key == f"docs/{name}"


def test_refuses_60_megabytes_without_reading_them(tmp_path: Path) -> None:
    page = tmp_path / "big.html"
    with page.open("wb") as file:
        file.truncate(60 * 2**20)
    found = find_page(tmp_path)
    started = time.monotonic()
    with pytest.raises(UnreadableDocument, match="too large: 60 MiB, the limit is 32 MiB"):
        read_document(found, "s")
    assert time.monotonic() - started < 0.5


def test_refuses_a_file_that_grew_since_it_was_found(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text("<p>x")
    found = find_page(tmp_path)
    with page.open("r+b") as file:
        file.truncate(SIZE_LIMIT + 1)
    with pytest.raises(UnreadableDocument, match="too large"):
        read_document(found, "s")


@pytest.mark.parametrize("replacement", ["gone", "link", "pipe", "folder"])
def test_the_file_may_be_something_else_by_now(tmp_path: Path, replacement: str) -> None:
    page = tmp_path / "a.html"
    page.write_text("<p>x")
    found = find_page(tmp_path)
    page.unlink()
    if replacement == "link":
        page.symlink_to("/etc/passwd")
    elif replacement == "pipe":
        os.mkfifo(page)
    elif replacement == "folder":
        page.mkdir()
    with pytest.raises(UnreadableDocument):
        read_document(found, "s")


CAFE = "<title>Café</title><p>Le café est servi à la crème brûlée, déjà payé, et l’été fut très doux.</p>"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (CAFE.encode(), "UTF-8"),
        (b"\xef\xbb\xbf" + CAFE.encode(), "UTF-8 with a mark"),
        (CAFE.encode("utf-16"), "UTF-16 with a mark"),
        (b"\xfe\xff" + CAFE.encode("utf-16-be"), "UTF-16 BE with a mark"),
        (CAFE.encode("utf-16-le"), "UTF-16 LE without a mark"),
        (CAFE.encode("utf-16-be"), "UTF-16 BE without a mark"),
        (CAFE.replace("’", "'").encode("latin-1"), "Latin-1, undeclared"),
        (CAFE.encode("cp1252"), "windows-1252, undeclared"),
        (b"<meta charset=iso-8859-1>" + CAFE.encode("cp1252"), "windows-1252 declared as Latin-1"),
        (b"<meta charset=iso-8859-1>" + CAFE.encode(), "UTF-8 declared as Latin-1"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=mac-roman">' + CAFE.encode("mac-roman"), "Mac"),
        (b"<meta charset=no-such-thing>" + CAFE.encode("cp1252"), "unknown declaration"),
        (b"<meta charset=zlib>" + CAFE.encode("cp1252"), "a codec that is no encoding"),
        (b"<meta charset=unicode_escape>" + CAFE.encode("cp1252"), "a codec that is no encoding of the web"),
    ],
)
def test_encodings(read: Read, content: bytes | str, what: str) -> None:
    document = read(content)
    assert document.title == "Café", what
    assert "crème brûlée, déjà payé, et l" in text_of(document), what


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("shift_jis", "水は沸騰させてから飲みましょう。ろ過だけでは足りません。"),
        ("koi8-r", "Кипятите воду не менее одной минуты, выше двух тысяч метров три минуты."),
        ("gb2312", "饮用水应当煮沸一分钟以上。"),
    ],
)
def test_declared_encodings_of_other_scripts(read: Read, encoding: str, text: str) -> None:
    assert text in text_of(read(f"<meta charset={encoding}><p>{text}</p>".encode(encoding)))


def test_one_broken_byte_does_not_spoil_a_page_in_utf8(read: Read) -> None:
    document = read(("<p>" + "é" * 500).encode() + b"\xff" + " naïve</p>".encode())
    assert "naïve" in text_of(document)
    assert "Ã" not in text_of(document)


def test_text_holds_nothing_that_a_database_or_terminal_chokes_on(read: Read) -> None:
    document = read("<title>a\x1b[31m&#1;b\x7f</title><p>x&#2;y&#xD800;z&#x202E;w\x0bv\x85u\ufdd0t</p><pre>1\x00</pre>"
                    .replace("\x00", "&#0;"))  # fmt: skip
    for text in (document.title, text_of(document)):
        text.encode()
        assert not any(ord(letter) < 32 and letter != "\n" for letter in text)
        assert not set(text) & set("\x7f\x85\u202e\ufdd0")


def test_text_is_in_nfc(read: Read) -> None:
    assert "café" in text_of(read("<p>cafe\u0301</p>"))


def test_title_falls_back_to_heading_then_name_and_is_short(read: Read) -> None:
    assert read("<title> </title><h1>Head</h1><p>x").title == "Head"
    assert read("<p>x", "on water.html").title == "on water"
    assert len(read(f"<title>{'long ' * 1000}</title><p>x").title) <= 300
    assert read("<p>a</p><svg><title>icon</title></svg>", "b.html").title == "b"


def test_language(read: Read) -> None:
    assert read("<html lang='PT_br'><p>x").language == "pt-br"
    assert read('<html xml:lang="de"><p>x').language == "de"
    assert read("<p>x").language is None
    assert read_language("'; DROP TABLE") is None
    assert read_language("english language") is None


def test_address(read: Read) -> None:
    page = '<link rel="canonical" href="{}"><p>x'
    assert read(page.format("https://e.org/a?b=1#c")).url == "https://e.org/a?b=1"
    assert read("<p>x").url.startswith("file:///")
    assert read("<p>x", "a b/ü%.html", "https://e.org/kb").url == "https://e.org/kb/a%20b/%C3%BC%25.html"
    # the page's claim of another host is not believed when the source's own is known
    assert read(page.format("https://evil.example/"), base_url="https://e.org/").url == "https://e.org/page.html"
    assert read(page.format("https://e.org/pretty"), base_url="https://e.org/").url == "https://e.org/pretty"


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//e.org/x", "/x", "https://", "https://a b/",
     "https://e.org/\x01", "https://user:pw@e.org/", "https://e.org/" + "x" * 3000, "https://[::1", "https://e.org:99999/",
     "https://e.org/\u202e", ""],
)  # fmt: skip
def test_a_canonical_link_that_is_not_a_plain_web_address_is_ignored(read: Read, url: str) -> None:
    assert check_web_url(url) is None
    assert read(f'<link rel=canonical href="{url}"><p>x').url.startswith("file:///")


def test_links_stay_on_the_site(read: Read) -> None:
    document = read(
        "<a href='/out'>nav</a><main><p>" + "text " * 100 + ""
        "<a href='b.html#x'>b</a><a href='b.html'>b</a><a href='../c'>c</a>"
        "<a href='https://e.org/d'>d</a><a href='HTTPS://E.org/e'>e</a>"
        "<a href='https://other.org/'>o</a><a href='mailto:a@b'>m</a>"
        "<a href='javascript:x'>j</a><a href='#top'>t</a><a href='https://[bad'>bad</a><a href='ü x'>u</a></main>",
        "sub/page.html",
        "https://e.org/kb/",
    )
    assert document.links == (
        "https://e.org/kb/sub/b.html", "https://e.org/kb/c", "https://e.org/d", "https://E.org/e",
        "https://e.org/kb/sub/%C3%BC%20x",
    )  # fmt: skip


def test_links_of_files_are_files_and_the_number_is_capped(read: Read) -> None:
    document = read(
        "<p>x" + "".join(f"<a href='{n}.html'>{n}</a>" for n in range(5000)) + "<a href='http://e.org'>e</a>"
    )
    assert len(document.links) == 1000
    assert document.links[0].startswith("file:///")
    assert document.links[0].endswith("/docs/0.html")


def test_hash_depends_on_what_is_said_and_not_on_how(read: Read) -> None:
    first = read("<title>T</title><p>one  two</p>")
    assert (
        read(
            "<html><head><title>T</title></head><body>\n<div><p class=a>one\ntwo</p></div><footer>2024</footer>"
        ).content_hash
        == first.content_hash
    )
    assert read("<title>T</title><p>one three</p>").content_hash != first.content_hash
    assert read("<title>U</title><p>one two</p>").content_hash != first.content_hash
    assert first.word_count == 2
    assert first.doc_id == document_id("source-1", "docs/page.html")
    assert first.doc_id != document_id("source-2", "docs/page.html")
    assert len(first.doc_id) == 32
