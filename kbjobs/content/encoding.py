"""Decode bytes to text: find the encoding of a page, whatever it declares."""

from __future__ import annotations

import codecs
import re

from kbjobs.content.legacy_charsets import EAST_ASIAN, guess_charset

_SNIFFED = 4_096  # bytes searched for the pattern of UTF-16
_HEAD = 65_536  # bytes searched for a declaration: the standard says 1,024, but scripts and styles may come first
_BLOCK = 512  # characters judged together
_STRAY_SHARE = 0.01  # fewer NULs, or broken UTF-16, are damage to a text; more mean binary content
_NOISE_SHARE = 0.05  # of control characters; random bytes have twice as many

# Signatures of formats found under a page's name: PDF, PNG, GIF, JPEG, zip and office files, gzip, bzip2,
# xz, 7z, zstd, RAR, ELF, SQLite, WebAssembly, RIFF (WebP, WAV), Ogg, MP4, old office files, ZIM.
_SIGNATURES = (
    (0, b"%PDF-"), (0, b"\x89PNG"), (0, b"GIF87a"), (0, b"GIF89a"), (0, b"\xff\xd8\xff"), (0, b"PK\x03\x04"),
    (0, b"\x1f\x8b\x08"), (0, b"BZh9"), (0, b"\xfd7zXZ"), (0, b"7z\xbc\xaf"), (0, b"\x28\xb5\x2f\xfd"),
    (0, b"Rar!\x1a"), (0, b"\x7fELF"), (0, b"SQLite format 3"), (0, b"\0asm"), (0, b"RIFF"), (0, b"OggS"),
    (4, b"ftyp"), (0, b"\xd0\xcf\x11\xe0"), (0, b"ZIM\x04"), (0, b"%!PS-"),
)  # fmt: skip

_DECLARED = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([a-zA-Z0-9_.:-]{2,40})|"""
    rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([a-zA-Z0-9_.:-]{2,40})""",
    re.IGNORECASE,
)
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)

# The encodings of the WHATWG Encoding Standard, by Python's names. A closed list, so that a page cannot
# name "zlib", "idna" or "unicode_escape". Latin-1 and ASCII mean windows-1252 on the web.
_ENCODINGS = frozenset(
    [
        "utf-8",
        "cp1252",
        "cp866",
        "iso8859-2",
        "iso8859-3",
        "iso8859-4",
        "iso8859-5",
        "iso8859-6",
        "iso8859-7",
        "iso8859-8",
        "iso8859-10",
        "iso8859-13",
        "iso8859-14",
        "iso8859-15",
        "iso8859-16",
        "koi8-r",
        "koi8-u",
        "mac-roman",
        "cp874",
        "cp1250",
        "cp1251",
        "cp1253",
        "cp1254",
        "cp1255",
        "cp1256",
        "cp1257",
        "cp1258",
        "gbk",
        "gb18030",
        "big5",
        "euc_jp",
        "iso2022_jp",
        "shift_jis",
        "euc_kr",
    ]
)
_ON_THE_WEB = {"iso8859-1": "cp1252", "ascii": "cp1252", "iso8859-9": "cp1254", "gb2312": "gb18030"}
_ON_THE_WEB |= {"tis-620": "cp874", "cp949": "euc_kr", "cp932": "shift_jis", "big5hkscs": "big5"}
# Labels of that standard that Python does not know.
_LABELS = {
    "x-sjis": "shift_jis", "windows-31j": "shift_jis", "x-euc-jp": "euc_jp", "x-gbk": "gbk", "gb_2312-80": "gb18030",
    "cn-big5": "big5", "x-x-big5": "big5", "windows-949": "euc_kr", "x-cp1250": "cp1250", "x-cp1251": "cp1251",
    "x-cp1252": "cp1252", "windows-874": "cp874", "dos-874": "cp874", "iso-8859-8-i": "iso8859-8", "koi": "koi8-r",
    "koi8": "koi8-r", "x-mac-roman": "mac-roman", "unicode-1-1-utf-8": "utf-8",
}  # fmt: skip
# Names under which that standard reads more than Python does.
_SUPERSETS = {"shift_jis": "cp932", "euc_kr": "cp949", "gbk": "gb18030", "big5": "big5hkscs"}
_SEVEN_BIT = "iso2022_jp"
_ESCAPE = b"\x1b"  # begins each stretch of Japanese in it
# Bytes that text cannot have: the binary data bytes of the WHATWG MIME Sniffing Standard.
_CONTROLS = bytes([*range(9), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)])


class NotText(ValueError):
    """The bytes are not text in any encoding of a page."""


def decode_page(page: bytes, charset: str = "") -> str:
    """Decode a page by its byte order mark, its content and its declaration, in this order.

    ``charset`` is from the server (``Content-Type: text/html; charset=…``), and takes precedence over the page's
    declaration. UTF-8 with some damage is read as UTF-8 whatever a declaration says, since other encodings practically
    never look like it. Undecodable bytes become U+FFFD; a few stray NUL bytes are dropped, as in browsers. Raises
    NotText for binary content.
    """
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, since its mark begins like UTF-16's
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if page.startswith(mark):
            return _drop_nul(page[len(mark) :].decode(encoding, "replace"))
    for offset, signature in _SIGNATURES:
        if page.startswith(signature, offset):
            raise NotText("binary content under a page's name")
    if b"\0" in page:
        encoding = _find_utf16(page)
        if encoding:
            return _decode_utf16(page, encoding)
        page = _drop_stray_nul(page)
    if _ESCAPE in page and page.isascii() and (_name(charset) or _find_declared(page)) == _SEVEN_BIT:
        return page.decode(_SEVEN_BIT, "replace")
    try:
        return page.decode()
    except UnicodeDecodeError:
        return _decode_broken(page, _name(charset) or _find_declared(page))


def _drop_nul(text: str) -> str:
    if text.count("\0") >= max(1, len(text) * _STRAY_SHARE):
        raise NotText("binary content (NUL bytes)")
    return text.replace("\0", "")


def _drop_stray_nul(page: bytes) -> bytes:
    controls = len(page) - len(page.translate(None, _CONTROLS))
    if page.count(0) >= len(page) * _STRAY_SHARE or controls >= len(page) * _NOISE_SHARE:
        raise NotText("binary content (NUL bytes)")
    return page.replace(b"\0", b"")


def _find_utf16(page: bytes) -> str:
    """Recognise UTF-16 without a mark: markup in ASCII has a zero at every other byte."""
    sample = page[:_SNIFFED]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) * 4 >= len(sample) // 2 and min(even, odd) * 20 <= max(even, odd):
        return "utf-16-le" if odd > even else "utf-16-be"
    return ""


def _decode_utf16(page: bytes, encoding: str) -> str:
    text = page[: len(page) // 2 * 2].decode(encoding, "replace")
    # UTF-16 is a guess here: 16-bit sound samples have such zeros too
    if "\0" in text or text.count("\ufffd") >= max(2, len(text) * _STRAY_SHARE):
        raise NotText("binary content (NUL bytes)")
    return text


def _find_declared(page: bytes) -> str:
    """Return Python's name of the encoding that the page declares, or an empty string."""
    found = _DECLARED.search(_COMMENT.sub(b"", page[:_HEAD]))
    return _name((found[1] or found[2]).decode("ascii")) if found is not None else ""


def _name(label: str) -> str:
    """Return Python's name of an allowed encoding, or an empty string."""
    label = label.strip().strip("\"'").lower()
    try:
        name = codecs.lookup(_LABELS.get(label, label)).name
    except (LookupError, ValueError):
        return ""
    name = _ON_THE_WEB.get(name, name)
    return name if name in _ENCODINGS else ""


def _decode_broken(page: bytes, declared: str) -> str:
    """Decode bytes that are not valid UTF-8: damaged UTF-8, or a legacy charset."""
    if declared not in ("", "utf-8"):
        is_utf8 = _looks_like_utf8(page, 4 if declared in EAST_ASIAN else 1)
        return page.decode("utf-8" if is_utf8 else _SUPERSETS.get(declared, declared), "replace")
    if _looks_like_utf8(page, 4):
        return page.decode("utf-8", "replace")
    guessed = guess_charset(page, may_be_utf8=_looks_like_utf8(page, 1))
    return page.decode(_SUPERSETS.get(guessed, guessed), "replace")


def _looks_like_utf8(page: bytes, ratio: int) -> bool:
    """Whether most blocks with non-ASCII text have ``ratio`` times as many valid multi-byte sequences as broken ones.

    Damage is in one place, a wrong charset is everywhere, so blocks are counted. Blocks in ASCII say nothing.
    """
    # a character that an earlier program replaced is not damage of this page
    text = page.replace("\ufffd".encode(), "é".encode()).decode("utf-8", "replace")
    valid = broken = 0
    for start in range(0, len(text), _BLOCK):
        block = text[start : start + _BLOCK]
        if not block.isascii():
            foreign = len(block) - len(block.encode("ascii", "ignore"))
            if foreign >= block.count("\ufffd") * (ratio + 1):
                valid += 1
            else:
                broken += 1
    return valid >= broken * ratio
