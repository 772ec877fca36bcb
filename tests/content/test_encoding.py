"""Bytes to text: damaged pages stay readable, and legacy charsets are told from UTF-8 and from each other."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kbjobs.content.encoding import NotText, decode_page

DECLARED = ["", "utf-8", "iso-8859-1", "windows-1251"]
PAGE = "<p>Hyvää yötä, sanoi mies ja sulki oven. Über die Größe der Bäume läßt sich streiten.</p>"
TEXTS = {
    "windows-1251": "Кипятите воду не менее одной минуты, а выше двух тысяч метров не менее трёх минут.",
    "koi8-r": "Кипятите воду не менее одной минуты, а выше двух тысяч метров не менее трёх минут.",
    "windows-1253": "Βράστε το νερό για τουλάχιστον ένα λεπτό πριν από κάθε χρήση.",
    "windows-1255": "יש להרתיח את המים במשך דקה אחת לפחות לפני השתייה.",
    "windows-1256": "يجب غلي الماء لمدة دقيقة واحدة على الأقل قبل الشرب.",
    "shift_jis": "水は沸騰させてから飲みましょう。ろ過だけでは足りません。",
    "euc_jp": "水は沸騰させてから飲みましょう。ろ過だけでは足りません。",
    "gb18030": "饮用水应当煮沸一分钟以上，然后放在干净的容器里。",
    "big5": "飲用水應當煮沸一分鐘以上，然後放在乾淨的容器裡。",
    "euc_kr": "물은 마시기 전에 적어도 일 분 동안 끓여야 합니다.",
}


def declare(charset: str) -> bytes:
    return f"<meta charset={charset}>".encode() if charset else b""


def insert_nul(page: bytes, generator: random.Random) -> bytes:
    at = generator.randrange(len(page))
    return page[:at] + b"\0" + page[at:]


def spoil_byte(page: bytes, generator: random.Random) -> bytes:
    at = generator.randrange(len(page))
    return page[:at] + generator.choice([b"\xff", b"\xe9", b"\x92", b"\xc3"]) + page[at + 1 :]


def cut_sequence(page: bytes, generator: random.Random) -> bytes:
    """Drop the last byte of a character of several bytes."""
    found = generator.choice(list(re.finditer(rb"[\xc2-\xf4][\x80-\xbf]+", page)))
    return page[: found.end() - 1] + page[found.end() :]


def spoil_block(page: bytes, generator: random.Random) -> bytes:
    at = generator.randrange(len(page))
    size = generator.randint(64, 400)
    return page[:at] + generator.randbytes(size) + page[at + size :]


def foreign(text: str) -> list[str]:
    return re.findall(r"[^\x00-\x7f\ufffd]", text)


@pytest.mark.parametrize("charset", DECLARED)
@pytest.mark.parametrize("damage", [insert_nul, spoil_byte, cut_sequence])
def test_a_little_damage_does_not_spoil_a_page_in_utf8(
    damage: Callable[[bytes, random.Random], bytes], charset: str, python_docs: Path
) -> None:
    generator = random.Random(f"{damage.__name__} {charset}")
    for path in generator.sample(sorted(python_docs.rglob("*.html")), 25):
        page = re.sub(rb"<meta[^>]*charset[^>]*>", b"", path.read_bytes())
        text = decode_page(declare(charset) + damage(page, generator))
        assert len(text) > len(page.decode()) - 3, path
        assert abs(len(foreign(text)) - len(foreign(page.decode()))) <= 1, path


@pytest.mark.parametrize("charset", ["", "utf-8"])
def test_a_block_of_noise_does_not_spoil_the_rest(charset: str, python_docs: Path) -> None:
    generator = random.Random(5)
    for path in generator.sample(sorted((python_docs / "library").glob("*.html")), 40):
        page = declare(charset) + re.sub(rb"<meta[^>]*charset[^>]*>", b"", path.read_bytes())
        text = decode_page(spoil_block(page, generator))
        assert text.count("¶") + 10 > page.decode().count("¶"), path
        assert "Â¶" not in text and "â€" not in text, path


@pytest.mark.parametrize("charset", [*DECLARED, "shift_jis"])
def test_damage_of_a_short_page_in_utf8(charset: str) -> None:
    page = declare(charset) + PAGE.encode()
    assert decode_page(page.replace(b"mies", b"mi\xffes")).endswith(PAGE.replace("mies", "mi\ufffdes"))
    assert decode_page(page * 2 + b"\0").endswith(PAGE)


def test_characters_that_were_lost_before_are_no_damage() -> None:
    text = "\ufffd\ufffd\ufffd, \ufffd and a naïve café\ufffd\ufffd"
    assert decode_page(text.encode() + b" \xff") == text + " \ufffd"


@pytest.mark.parametrize(("nul", "is_text"), [(9, True), (10, False)])
def test_nul_bytes_are_dropped_below_one_in_a_hundred(nul: int, is_text: bool) -> None:
    page = b"\0" * nul + b"a" * (1000 - nul)
    if is_text:
        assert decode_page(page) == "a" * 991
    else:
        with pytest.raises(NotText, match="NUL"):
            decode_page(page)


def test_a_marked_page_may_be_short_and_broken() -> None:
    assert decode_page(b"\xef\xbb\xbfa\xff\xffb") == "a\ufffd\ufffdb"


def test_sixteen_bit_samples_are_no_utf16() -> None:
    generator = random.Random(2)
    samples = b"".join(generator.randrange(-300, 300).to_bytes(2, "little", signed=True) for _ in range(4000))
    quiet = bytes(byte for _ in range(4000) for byte in (7, 0)) + generator.randbytes(8000)
    for content in (samples, quiet):
        with pytest.raises(NotText):
            decode_page(content)


def test_noise_with_few_nul_bytes_is_refused() -> None:
    noise = b"\0" + bytes(random.Random(1).choices(range(1, 256), k=5000))
    with pytest.raises(NotText):
        decode_page(noise)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_damaged_utf16_without_a_mark(encoding: str) -> None:
    page = (PAGE * 20).encode(encoding)
    assert decode_page(page) == decode_page(page + b"x") == PAGE * 20
    spoilt = page[:400] + "\ud800".encode(encoding, "surrogatepass") + page[402:]
    assert decode_page(spoilt).count("\ufffd") == 1


@pytest.mark.parametrize("charset", ["", "utf-8", "no-such-thing"])
@pytest.mark.parametrize(
    "text",
    ["Hääyöaie", "Größe", "naïve café", "þýðing", "œuvre", "“Don’t” – it’s", "CAFÉ À LA CRÈME", "l’été", "às", "Århus",
     "çãõ", "a\xa0\xa0\xa0\xa0b", "© 1999 Müller & Söhne", PAGE],
)  # fmt: skip
def test_windows_1252_is_the_rule_for_latin_letters(text: str, charset: str) -> None:
    assert decode_page(declare(charset) + text.encode("cp1252")).endswith(text)


@pytest.mark.parametrize("declared", ["", "utf-8", "its own"])
@pytest.mark.parametrize("charset", TEXTS)
def test_other_legacy_charsets_are_found(charset: str, declared: str) -> None:
    text = TEXTS[charset]
    page = declare(charset if declared == "its own" else declared) + f"<p>{text}</p>".encode(charset)
    assert decode_page(page).endswith(f"<p>{text}</p>")


@pytest.mark.parametrize("text", ["下一页", "首页", "中国人民"])
def test_a_declared_charset_holds_for_a_few_characters_that_look_like_utf8(text: str) -> None:
    assert decode_page(declare("gbk") + text.encode("gbk")).endswith(text)


def test_what_the_server_says_counts_before_what_the_page_says() -> None:
    text = TEXTS["windows-1251"]
    page = declare("iso-8859-1") + text.encode("windows-1251")
    assert decode_page(page, "Windows-1251").endswith(text)
    assert decode_page(page, "no-such-thing") == decode_page(page)
    assert decode_page(declare("windows-1251") + text.encode("windows-1251"), "").endswith(text)


@pytest.mark.parametrize("charset", ["", "iso-8859-1", "shift_jis"])
@pytest.mark.parametrize("declared", ["", "windows-1251", "utf-16"])
def test_a_mark_and_utf8_count_before_all_that_is_said(charset: str, declared: str) -> None:
    text = "Größe und Bäume läßt"
    assert decode_page(declare(declared) + text.encode(), charset).endswith(text)
    assert decode_page(b"\xff\xfe" + text.encode("utf-16-le"), charset) == text
    assert decode_page(b"\xef\xbb\xbf" + declare(declared) + text.encode(), charset).endswith(text)


@pytest.mark.parametrize("distance", [900, 1_100, 5_000, 60_000])
def test_a_declaration_is_found_behind_scripts(distance: int) -> None:
    text = "Größe"  # too short to tell by itself that it is not windows-1252
    page = b"<script>" + b"x" * distance + b"</script>" + declare("iso-8859-5") + "дом".encode("iso-8859-5")
    assert decode_page(page).endswith("дом")
    assert decode_page(page.replace(b"iso-8859-5", b"no-charset") + text.encode("cp1252")).endswith(text)


def test_a_declaration_in_a_comment_does_not_count() -> None:
    page = b"<!-- " + declare("iso-8859-5") + b" -->" + declare("iso-8859-7") + "νερό".encode("iso-8859-7")
    assert decode_page(page).endswith("νερό")
    assert decode_page(b"<!-- " + declare("iso-8859-5") + "Größe".encode("cp1252")).endswith("Größe")


@pytest.mark.parametrize(
    ("label", "charset"),
    [("x-sjis", "shift_jis"), ("windows-31j", "shift_jis"), ("x-euc-jp", "euc_jp"), ("windows-949", "euc_kr"),
     ("KS_C_5601-1987", "euc_kr"), ("x-gbk", "gbk"), ("big5-hkscs", "big5"), ("x-cp1251", "windows-1251"),
     ("koi8", "koi8-r"), ("iso-8859-8-i", "iso-8859-8"), ("tis-620", "cp874")],
)  # fmt: skip
def test_labels_of_the_web_are_known(label: str, charset: str) -> None:
    text = {"iso-8859-8": "יש להרתיח", "cp874": "น้ำ"}.get(charset) or TEXTS.get(charset, "人民")
    assert decode_page(declare(label) + text.encode(charset)).endswith(text)


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("shift_jis", "cp932", "①髙"),
        ("euc-kr", "cp949", "똠방각하"),
        ("gbk", "gb18030", "㐂€"),
        ("big5", "big5hkscs", "嘅咗"),
    ],
)
def test_an_east_asian_name_means_what_browsers_read_under_it(label: str, codec: str, text: str) -> None:
    assert decode_page(declare(label) + text.encode(codec)).endswith(text)


def test_japanese_in_seven_bits_is_decoded_where_it_is_declared() -> None:
    page = TEXTS["shift_jis"].encode("iso2022_jp")
    assert decode_page(declare("iso-2022-jp") + page).endswith(TEXTS["shift_jis"])
    assert decode_page(page, "ISO-2022-JP") == TEXTS["shift_jis"]
    assert decode_page(declare("iso-2022-jp") + b"only ASCII").endswith("only ASCII")


@pytest.mark.parametrize("piece", [b"\xff", b"\xe3\x81", b"\xe9\n", b"\xc3", "水は沸騰".encode("shift_jis")])
def test_the_largest_page_of_wide_bytes_is_decoded_soon(piece: bytes) -> None:
    page = piece * (8 * 2**20 // len(piece))
    start = time.process_time()
    decode_page(page)
    assert time.process_time() - start < 3  # it takes 0.2 s
