"""What others wrote comes onto the page in one line, bounded, and without tricks."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.maps.foreign_texts import clean, safe_url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  two\nlines\tand\r\nmore ", "two lines and more"),
        ("nul\0byte", "nul byte"),
        ("\u202egnp.exe\u202c \u2066x\u2069", "gnp.exe x"),
        ("half \ud800 a character", "half a character"),
        ("</script><img src=x onerror=alert(1)>", "</script><img src=x onerror=alert(1)>"),
        ("e\u0301te\u0301", "e\u0301te\u0301"),
        ("z" + "\u0335" * 50, "z" + "\u0335" * 4),
        ("日本語 العربية", "日本語 العربية"),
        ("\ufeff\u200b", ""),
    ],
)
def test_a_text_is_shown_as_text(text: str, shown: str) -> None:
    assert clean(text, 80) == shown


def test_a_text_is_cut_quickly() -> None:
    started = time.perf_counter()
    assert clean("word " * 200_000, 20) == "word word word word…"
    assert clean("\u0335" * 1_000_000, 20) == "\u0335" * 4
    assert time.perf_counter() - started < 0.5


@given(st.text(alphabet=st.characters(), max_size=300), st.integers(1, 100))
def test_nothing_is_left_that_breaks_a_line_or_turns_it(text: str, max_length: int) -> None:
    shown = clean(text, max_length)
    assert len(shown) <= max_length and shown == shown.strip()
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    shown.encode()


@pytest.mark.parametrize(
    "url",
    ["https://example.org/a?b=1#c", "http://[::1]:8000/", "file:///srv/pages/a%20b.html", "https://example.org/é"],
)
def test_an_address_that_leads_somewhere_stays(url: str) -> None:
    assert safe_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)", "data:,x",
        "vbscript:x", "//example.org/", "/etc/passwd", "page.html", "", "https:", "https:///x", "http://[::1", "file:x",
        "https://example.org/\u202ex", "https://example.org/\0", 'https://example.org/"><script>', "blob:https://a/b",
    ],
)  # fmt: skip
def test_any_other_address_is_none(url: str) -> None:
    assert safe_url(url) == ""
