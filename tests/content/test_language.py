"""The language of a document: what it says of itself, then its text; unknown where neither is sure."""

from __future__ import annotations

import socket

import pytest

from kbjobs.content.document import Block, Document
from kbjobs.content.language import decide_language, detect_language, is_wanted, parse_filter, read_tag
from kbjobs.errors import UsageError

ENGLISH = "The kettle is on the stove and the water in it will boil within a few minutes, so let us wait for it."
GERMAN = "Der Kessel steht auf dem Herd, und das Wasser darin wird in wenigen Minuten kochen, also warten wir darauf."


def page(
    text: str, language: str | None = None, path: str = "pages/a.html", url: str = "", title: str = "T"
) -> Document:
    blocks = (Block("text", 0, text),)
    return Document("1", path, url or f"file:///{path}", title, language, blocks, "h", len(text.split()), ())


@pytest.mark.parametrize(
    ("tag", "read"),
    [
        ("en", "en"), ("EN_gb", "en-gb"), ("eng", "en"), ("=en", "en"), ("bel", "be"), ("ger", "de"), ("deu", "de"),
        ("zh-Hans-CN", "zh-hans-cn"), ("yue", "yue"), ("", None), ("und", None), ("mul", None), ("x-default", None),
        ("xx", None), ("english", None), ("e", None), ("en'; DROP", None), ("\x00en", None), ("en\n", "en"),
    ],
)  # fmt: skip
def test_tags(tag: str, read: str | None) -> None:
    assert read_tag(tag) == read


@pytest.mark.parametrize(
    ("document", "language"),
    [
        (page(GERMAN, "en-gb"), "en-gb"),  # what the page says wins
        (page(GERMAN, "und"), "de"),
        (page("12", path="pages/pt-br/a.html"), "pt-br"),
        (page(ENGLISH, path="pages/pt-br/a.html"), "pt-br"),
        (page("12", path="pages/fr/a.html"), "fr"),
        (page("12", url="https://e.org/de/a.html"), "de"),
        (page("12", path="pages/de.html"), None),  # a file's name is no folder
        (page(ENGLISH, path="pages/it/cables.html"), "en"),  # a department, not Italian
        (page("12", path="pages/index.uk.html"), "uk"),
        (page("12", path="pages/a.min.html"), None),
        (page("12", title="Installation/pt-br"), "pt-br"),
        (page("12", title="Installation (Español)"), "es"),
        (page("12", title="Mercury (planet)"), None),
        (page(ENGLISH, title="Power and/or"), "en"),
        (page(ENGLISH), "en"),
        (page(GERMAN), "de"),
        (page("Вада кіпіць пры ста градусах, і мы чакаем вячэру каля печы."), "be"),
        (page("水は百度で沸騰します。やかんを火にかけて待ちましょう。"), "ja"),
        (page("kettle"), None),
        (page("12 34 56 — 78"), None),
        (page("x = f(a, b); return [i for i in y]"), None),
    ],
)
def test_documents(document: Document, language: str | None) -> None:
    assert decide_language(document) == language


def test_no_network_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert detect_language(GERMAN) == "de"
    assert detect_language("") is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("en", ["en"]), (" EN , be ", ["en", "be"]), ("eng,en", ["en"]), ("pt_BR", ["pt-br"]), ("yue", ["yue"])],
)
def test_filters(text: str, wanted: list[str]) -> None:
    assert parse_filter(text) == wanted


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("english", "Did you mean en (English)?"), ("Germann", "Did you mean de (German)?"), ("", "ISO 639"),
        ("en,", "ISO 639"), ("en;be", "ISO 639"), ("xx", "ISO 639"), ("qqq", "ISO 639"), ("*", "ISO 639"),
        (",".join(f"en-a{number}" for number in range(60)), "at most"),
    ],
)  # fmt: skip
def test_wrong_filters(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_filter(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("tag", "wanted", "kept"),
    [
        ("en-gb", ["en"], True), ("en", ["en"], True), ("eng", ["en"], False), ("fr", ["en"], False),
        ("fr", ["en", "fr"], True), ("pt", ["pt-br"], True), ("pt-pt", ["pt-br"], False), ("nb", ["no"], True),
        ("no", ["nn"], True), ("nn", ["nb"], False),
    ],
)  # fmt: skip
def test_what_a_filter_keeps(tag: str, wanted: list[str], kept: bool) -> None:
    assert is_wanted(tag, wanted) is kept
