"""Read an RTF file as blocks of text: headings, paragraphs, table rows and footnotes.

Source: Microsoft's Rich Text Format Specification, version 1.9.1. Pictures, objects, headers, footers, annotations and
hidden or deleted text are not read.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace

from kbjobs.content.dates import read_date
from kbjobs.content.document import MAX_AUTHORS, MAX_CATEGORIES, About, Extract, clean_description, clean_names
from kbjobs.content.office_text import OfficeText
from kbjobs.content.titles import is_given_title

RTF_MARK = b"{\\rtf"
"""The first bytes of an RTF file."""

DEPTH_LIMIT = 2_000
"""The most groups that are open at a time; programs write a dozen."""

# A control word with its number, a byte in hexadecimal, another symbol, a brace, text, line breaks, a last backslash.
_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|([^\\{}\r\n]+)|[\r\n]+|\\",
    re.DOTALL,
)
_NOWHERE = b"-"  # the destination of what is not read
_ASIDES = frozenset([b"footnote", b"shptxt"])  # whose text follows the paragraph
_TABLES = frozenset([b"fonttbl", b"stylesheet", b"info"])
_PROPERTIES = frozenset(b"title author subject keywords doccomm creatim revtim".split())
_NOT_READ = frozenset(
    b"colortbl pict object header headerl headerr headerf footer footerl footerr footerf ftnsep ftnsepc aftnsep "
    b"aftnsepc annotation atnid atnauthor tc xe rxe private nonshppict shprslt sp pntext listtext do fldinst".split()
)
_READ_THOUGH_MARKED = _ASIDES | {b"shpinst"}  # other destinations marked with \* are not text
_SYMBOLS = {
    b"tab": " ", b"line": " ", b"lquote": "‘", b"rquote": "’", b"ldblquote": "“", b"rdblquote": "”", b"bullet": "•",
    b"endash": "–", b"emdash": "—", b"emspace": " ", b"enspace": " ", b"qmspace": " ", b"nestcell": " ",
}  # fmt: skip
_PUNCTUATION = {b"~": " ", b"_": "-", b"\\": "\\", b"{": "{", b"}": "}"}
_ENDS_OF_PARAGRAPH = frozenset([b"par", b"sect", b"page"])
# Windows' character sets of fonts (lfCharSet of LOGFONT), and the code pages of their letters.
_CODE_PAGES = {
    0: 1252, 77: 10000, 128: 932, 129: 949, 134: 936, 136: 950, 161: 1253, 162: 1254, 163: 1258, 177: 1255, 178: 1256,
    186: 1257, 204: 1251, 222: 874, 238: 1250,
}  # fmt: skip
_OTHER_NAMES = {10000: "mac-roman", 65001: "utf-8"}
_HEADING_NAME = re.compile(r"heading ([1-9])", re.IGNORECASE)
_BODY_LEVEL = 9  # the outline level of text


def extract_rtf(data: bytes) -> Extract:
    """Extract the text and the metadata of an RTF file.

    Raises ValueError, with a reason for people, if it is incomplete, nested too deep or too large.
    """
    reader = _RtfReader()
    position = 0
    while position < len(data) and not reader.is_ended:
        token = _TOKEN.match(data, position)
        assert token is not None  # noqa: S101 — every byte begins a token
        position = token.end() + reader.read(token)
    if not reader.is_ended:
        raise ValueError("it is damaged or incomplete: it ends in the middle of the text")
    stated = reader.property_text(b"title")
    title = stated if is_given_title(stated) else reader.text.title
    about = About(
        description=clean_description(reader.property_text(b"subject") or reader.property_text(b"doccomm")),
        published=reader.property_date(b"creatim"),
        authors=clean_names(reader.property_text(b"author").split(";"), MAX_AUTHORS),
        categories=clean_names(reader.property_text(b"keywords").replace(";", ",").split(","), MAX_CATEGORIES),
        kind="text",
        modified=reader.property_date(b"revtim"),
    )
    return Extract(title, "", "", reader.text.found.blocks, [], about)


@dataclass(slots=True)
class _Group:
    """What holds within a group of braces, and is as before after it.

    ``target`` is the destination of its text, b"" for the document; ``replaced`` the number of characters that stand
    for each Unicode character in old programs; ``level`` that of a heading, 0 for text.
    """

    target: bytes = b""
    code_page: str = "cp1252"
    replaced: int = 1
    level: int = 0
    is_hidden: bool = False
    is_in_table: bool = False


class _RtfReader:
    """Reads one token after the other."""

    def __init__(self) -> None:
        self.text = OfficeText()
        self.is_ended = False
        self._group = _Group()
        self._outer: list[_Group] = []
        self._pieces: list[str] = []  # the text of the current paragraph
        self._paragraphs: list[list[str]] = []  # those in which the current footnotes are
        self._cells: list[str] = []
        self._bytes = bytearray()  # text that is not decoded yet
        self._left_out = 0  # characters that stand for a Unicode character before them
        self._is_marked = False
        self._code_page = "cp1252"
        self._fonts: dict[int, str] = {}
        self._font = 0
        self._styles: dict[int, int] = {}
        self._style: int | None = None
        self._style_level = 0
        self._properties: dict[bytes, list[str]] = {}
        self._dates: dict[bytes, dict[bytes, int]] = {}

    def property_text(self, name: bytes) -> str:
        """Return what the file says about itself, such as its title; '' if it says nothing."""
        return " ".join("".join(self._properties.get(name, [])).split())

    def property_date(self, name: bytes) -> str:
        """Return a date that the file states about itself, '' if there is none."""
        parts = self._dates.get(name, {})
        return read_date("-".join(f"{parts.get(unit, 0):02d}" for unit in (b"yr", b"mo", b"dy")))

    def read(self, token: re.Match[bytes]) -> int:
        """Read a token; returns how many bytes after it are binary, and to be passed over."""
        word, number, code, symbol, brace, text = token.groups()
        if text:
            self._add_bytes(text)
        elif code:
            self._add_bytes(bytes([int(code, 16)]))
        elif word == b"bin":
            return max(0, int(number or 0))
        elif word:
            self._decode()
            self._read_word(word, None if number is None else int(number))
        elif brace:
            self._decode()
            self._left_out = 0
            (self._open if brace == b"{" else self._close)()
        elif symbol == b"*":
            self._is_marked = True
        elif symbol:
            self._decode()
            self._read_symbol(symbol)
        return 0

    def _add_bytes(self, data: bytes) -> None:
        left_out = min(self._left_out, len(data))
        self._left_out -= left_out
        if self._group.target != _NOWHERE:
            self._bytes += data[left_out:]

    def _decode(self) -> None:
        if self._bytes:
            self._add_text(self._bytes.decode(self._group.code_page, "replace"))
            self._bytes.clear()

    def _add_text(self, text: str) -> None:
        target = self._group.target
        if target == b"" or target in _ASIDES:
            if not self._group.is_hidden:
                self._pieces.append(text)
        elif target == b"stylesheet" or target in _PROPERTIES:
            self._properties.setdefault(target, []).append(text)

    def _open(self) -> None:
        if len(self._outer) >= DEPTH_LIMIT:
            raise ValueError(f"it is nested too deep: more than {DEPTH_LIMIT:,} levels")
        self._outer.append(self._group)
        self._group = replace(self._group)
        self._is_marked = False

    def _close(self) -> None:
        ended, self._group = self._group, self._outer.pop() if self._outer else _Group()
        if ended.target == b"stylesheet":
            self._end_style()
        elif ended.target in _ASIDES and self._group.target != ended.target:
            self.text.add_note(_join(self._pieces))
            self._pieces = self._paragraphs.pop()
        if not self._outer:
            self._end_paragraph(self._group)
            self.text.add_row(self._cells)
            self.is_ended = True

    def _end_style(self) -> None:
        name = "".join(self._properties.pop(b"stylesheet", [])).strip().rstrip(";").strip()
        if self._style is not None:
            named = _HEADING_NAME.fullmatch(name)
            self._styles[self._style] = int(named[1]) if named else int(name.lower() == "title") or self._style_level
        self._style, self._style_level = None, 0

    def _read_symbol(self, symbol: bytes) -> None:
        if self._left_out:
            self._left_out -= 1
        elif symbol in b"\r\n":
            self._read_word(b"par", None)
        elif symbol in _PUNCTUATION:
            self._add_text(_PUNCTUATION[symbol])

    def _read_word(self, word: bytes, number: int | None) -> None:
        is_marked, self._is_marked = self._is_marked, False
        if self._group.target == _NOWHERE:
            return
        if word in _NOT_READ or (is_marked and word not in _READ_THOUGH_MARKED):
            self._group.target = _NOWHERE
        elif word in _SYMBOLS:
            self._add_text(_SYMBOLS[word])
        elif word == b"u" and number is not None:
            self._add_text(chr(number % 0x10000))
            self._left_out = self._group.replaced
        elif word in _TABLES:
            self._group.target = word
        elif word in _ASIDES:
            if self._group.target != word:
                self._paragraphs.append(self._pieces)
                self._pieces = []
            self._group.target = word
        elif self._group.target in _TABLES or self._group.target in _PROPERTIES:
            self._read_table(word, number)
        else:
            self._read_layout(word, number)

    def _read_table(self, word: bytes, number: int | None) -> None:
        """Read a word of the tables before the text: fonts, styles, properties."""
        target, value = self._group.target, number or 0
        if target == b"info" and word in _PROPERTIES:
            self._group.target = word
        elif target == b"fonttbl" and word == b"f":
            self._font = value
        elif target == b"fonttbl" and word == b"fcharset":
            self._fonts[self._font] = _name_code_page(_CODE_PAGES.get(value, 0), self._code_page)
        elif target == b"stylesheet" and word == b"s":
            self._style = value
        elif target == b"stylesheet" and word == b"outlinelevel":
            self._style_level = value + 1 if value < _BODY_LEVEL else 0
        elif word in (b"yr", b"mo", b"dy"):
            self._dates.setdefault(target, {})[word] = value

    def _read_layout(self, word: bytes, number: int | None) -> None:
        """Read a word of the text: ends of paragraphs, cells and rows, and what text is."""
        if word in _ENDS_OF_PARAGRAPH:
            self._end_paragraph(self._group)
        elif word == b"cell":
            self._cells.append(_join(self._pieces))
            self._pieces.clear()
        elif word == b"row":
            self.text.add_row(self._cells)
            self._cells = []
        elif word == b"pard":
            self._group.level, self._group.is_in_table = 0, False
        elif word == b"intbl":
            self._group.is_in_table = True
        elif word in (b"s", b"outlinelevel"):
            value = number or 0
            level = value + 1 if value < _BODY_LEVEL else 0
            self._group.level = self._styles.get(value, 0) if word == b"s" else level
        else:
            self._read_letters(word, number)

    def _read_letters(self, word: bytes, number: int | None) -> None:
        """Read a word that says how letters are written."""
        if word == b"f":
            self._group.code_page = self._fonts.get(number or 0, self._code_page)
        elif word == b"uc":
            self._group.replaced = max(0, number or 0)
        elif word in (b"v", b"deleted"):
            self._group.is_hidden = number != 0
        elif word == b"plain":
            self._group.is_hidden = False
        elif word == b"ansicpg":
            self._code_page = self._group.code_page = _name_code_page(number or 0, self._code_page)

    def _end_paragraph(self, group: _Group) -> None:
        if group.is_in_table or self._paragraphs:  # it goes on in its cell or footnote
            self._pieces.append(" ")
            return
        self.text.add_paragraph(_join(self._pieces), group.level)
        self._pieces.clear()


def _join(pieces: list[str]) -> str:
    """Join text; characters beyond the first 65,536 are written as two."""
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _name_code_page(number: int, otherwise: str) -> str:
    name = _OTHER_NAMES.get(number, f"cp{number}")
    try:
        return codecs.lookup(name).name
    except LookupError:
        return otherwise
