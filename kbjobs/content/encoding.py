"""Bytes to text: which encoding a page is in, whatever it says."""

from __future__ import annotations

import codecs
import re

_SNIFFED = 4_096  # bytes looked at for a declaration and for the pattern of UTF-16
_GUESSED = 65_536  # bytes given to charset-normalizer, whose time grows fast

# Signatures of formats that turn up under a page's name: PDF, PNG, GIF, JPEG, zip and office files, gzip, bzip2,
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

# The encodings of the WHATWG Encoding Standard, by Python's names. A closed list: a page must not be able
# to name "zlib", "idna" or "unicode_escape". Latin-1 and ASCII mean windows-1252 on the web.
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
_SEVEN_BIT = "iso2022_jp"
# Guessing among the Latin ones is a coin toss on a short page; there the web's default holds, windows-1252.
_GUESSABLE = ["cp1251", "cp1253", "cp1255", "cp1256", "koi8_r", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"]
_WIDE_PAIR = re.compile(rb"[\x80-\xff]{2,}")


class NotText(ValueError):
    """The bytes are not text in any encoding a page may be in."""


def decode_page(page: bytes) -> str:
    """Return ``page`` as text, by its byte order mark, its content and its declaration, in this order.

    Valid UTF-8 is taken for UTF-8 whatever a declaration says: other encodings practically never are.
    What cannot be decoded becomes U+FFFD. Raises NotText for binary content.
    """
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is its beginning
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if page.startswith(mark):
            return _refuse_nul(page[len(mark) :].decode(encoding, "replace"))
    for offset, signature in _SIGNATURES:
        if page.startswith(signature, offset):
            raise NotText("binary content under a page's name")
    if b"\0" in page:
        return _refuse_nul(_decode_utf16(page))
    declared = _find_declared(page)
    if declared == _SEVEN_BIT:
        return page.decode(declared, "replace")
    try:
        return page.decode()
    except UnicodeDecodeError:
        pass
    if declared and declared != "utf-8":
        return page.decode(declared, "replace")
    return _decode_undeclared(page)


def _refuse_nul(text: str) -> str:
    if "\0" in text:
        raise NotText("binary content (NUL bytes)")
    return text


def _decode_utf16(page: bytes) -> str:
    """Decode UTF-16 without a mark: the markup's ASCII puts the zeros at every other byte."""
    sample = page[:_SNIFFED]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) * 4 >= len(sample) // 2 and min(even, odd) * 20 <= max(even, odd):
        try:
            return page[: len(page) // 2 * 2].decode("utf-16-le" if odd > even else "utf-16-be")
        except UnicodeDecodeError:
            pass
    raise NotText("binary content (NUL bytes)")


def _find_declared(page: bytes) -> str:
    """Return Python's name of the declared encoding, or an empty string."""
    found = _DECLARED.search(page[:_SNIFFED])
    if found is None:
        return ""
    label = (found[1] or found[2]).decode("ascii").lower()
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return ""
    name = _ON_THE_WEB.get(name, name)
    return name if name in _ENCODINGS else ""


def _decode_undeclared(page: bytes) -> str:
    text = page.decode("utf-8", "replace")
    wide = sum(byte > 0x7F for byte in page[:_GUESSED])
    if text[:_GUESSED].count("\ufffd") * 20 <= wide:
        return text  # UTF-8 with a few broken bytes
    # accented letters stand alone among plain ones, letters of other scripts stand together
    paired = sum(len(run) for run in _WIDE_PAIR.findall(page[:_GUESSED]))
    if paired * 2 < wide:
        return page.decode("cp1252", "replace")
    from charset_normalizer import from_bytes

    # the stretch around the first wide byte says more than a beginning in ASCII
    first = next((index for index, byte in enumerate(page) if byte > 0x7F), 0)
    start = max(0, first - _SNIFFED)
    guess = from_bytes(page[start : start + _GUESSED], cp_isolation=_GUESSABLE).best()
    return page.decode(guess.encoding if guess is not None else "cp1252", "replace")
