"""The language of a document: what it says of itself, then its text; unknown where neither is sure."""

from __future__ import annotations

import pytest

from kbjobs.content.document import Block, Document
from kbjobs.content.language_rules import decide_language, weigh
from tests.content.test_language import ENGLISH, GERMAN

LONG_ENGLISH = ENGLISH * 30
NAVAJO = "Bilaʼashdlaʼii tʼáá ałtsoń yiníkʼehgo bidizhchį́, ádóó ałtso aheełtʼéego ílíįgo bił nídazhchį́. " * 3


def page(
    text: str, language: str | None = None, path: str = "pages/a.html", url: str = "", title: str = "T", **said: str
) -> Document:
    blocks = (Block("text", 0, text),)
    languages = tuple((rule, tag) for rule, tag in (("page", language), *said.items()) if tag)
    words = len(text.split())
    return Document(
        "1", path, url or f"file:///{path}", title, language, blocks, "h", words, (), said_languages=languages
    )


@pytest.mark.parametrize(
    ("document", "language"),
    [
        (page(ENGLISH, "en-gb"), "en-gb"),
        (page(GERMAN, "en-gb"), "de"),  # a template says en on every page
        (page("Der Kessel.", "en-gb"), "en-gb"),  # too little text to contradict
        (page(NAVAJO, "nv"), "nv"),  # the detector cannot know
        (page(GERMAN, "de-1996"), "de-1996"),
        (page(GERMAN, "und"), "de"),
        (page("12", path="pages/pt-br/a.html"), "pt-br"),
        (page("12", path="pages/zh-hans/a.html"), "zh-hans"),
        (page(ENGLISH, path="pages/pt-br/a.html"), "en"),
        (page(ENGLISH, "pt", path="pages/pt-br/a.html"), "pt"),  # two say so: a page not translated yet
        (page("12", path="pages/fr/a.html"), "fr"),
        (page("12", url="https://e.org/de/a.html"), "de"),
        (page("12", path="pages/de.html"), None),  # a file's name is no folder
        (page(ENGLISH, path="pages/it/cables.html"), "en"),  # a department, not Italian
        (page("12", path="pages/index.uk.html"), "uk"),
        (page("12", path="pages/a.min.html"), None),
        (page("12", path="manual/function.is-bool.html"), None),
        (page("12", path="manual/function.mt-rand.html"), None),
        (page("12", path="manual/function.gd-info.html"), None),
        (page(LONG_ENGLISH, path="manual/function.pi.html"), "en"),
        (page("12", title="Installation/pt-br"), "pt-br"),
        (page("12", title="Installation (Español)"), "es"),
        (page("12", title="Mercury (planet)"), None),
        (page(ENGLISH, title="Power and/or"), "en"),
        (page("12", archive="be"), "be"),
        (page(ENGLISH, archive="de"), "en"),
        (page("12", alternate="pt-br"), "pt-br"),
        (page("12", path="pages/fr/a.html", archive="be"), "fr"),
        (page("12", archive="be", alternate="fr"), "be"),
        (page(ENGLISH), "en"),
        (page(GERMAN), "de"),
        (page("Вада кіпіць пры ста градусах, і мы чакаем вячэру каля печы."), "be"),
        (page("水は百度で沸騰します。やかんを火にかけて待ちましょう。"), "ja"),
        (page("kettle"), None),
        (page("12 34 56 — 78"), None),
        (page("x = f(a, b); return [i for i in y]"), None),
        (page("x = f(a, b); return [i for i in y]" * 20, "en"), "en"),
    ],
)
def test_documents(document: Document, language: str | None) -> None:
    assert decide_language(weigh(document)) == language


def test_a_glance_is_enough_where_all_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    from kbjobs.content import language_rules
    from kbjobs.content.language import detect

    looked_at: list[int] = []

    def watch(text: str) -> object:
        looked_at.append(len(text))
        return detect(text)

    monkeypatch.setattr(language_rules, "detect", watch)
    weigh(page(LONG_ENGLISH, "en"))
    assert looked_at == [language_rules.GLANCE]
    weigh(page(LONG_ENGLISH, "fr"))
    assert len(looked_at) == 3 and looked_at[-1] == language_rules.SECOND_LOOK
