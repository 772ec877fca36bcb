"""Which language a person means."""

from __future__ import annotations

import pytest

from kbjobs.errors import NotFoundError, UsageError
from kbjobs.languages.language_names import check_direction, find_code, name_of


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("es", "es"),
        ("ES", "es"),
        ("spa", "es"),
        ("Spanish", "es"),
        ("  spanISH ", "es"),
        ("Chinese", "zh"),
        ("zh", "zh"),
        ("zh_Hant", "zt"),
        ("zh-TW", "zt"),
        ("zt", "zt"),
        ("Traditional  Chinese", "zt"),
        ("Chinese (traditional)", "zt"),
        ("French", "fr"),
        ("fr-CA", "fr"),
        ("Arabic", "ar"),
        ("Portuguese", "pt"),
        ("pt-BR", "pb"),
        ("Hindi", "hi"),
        ("Swahili", "sw"),
        ("Kiswahili", "sw"),
        ("Haitian", "ht"),
        ("haitian creole", "ht"),
        ("Norwegian", "nb"),
        ("no", "nb"),
        ("Farsi", "fa"),
        ("fas", "fa"),
    ],
)
def test_a_name_or_a_code(given: str, code: str) -> None:
    assert find_code(given) == code


@pytest.mark.parametrize(
    ("given", "near"),
    [("Spansh", "Spanish (es)"), ("frnech", "French (fr)"), ("Portugese", "Portuguese (pt)"), ("swahilli", "Swahili")],
)
def test_a_typo_is_answered_with_the_nearest(given: str, near: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_code(given)
    assert f"Did you mean {near}" in caught.value.hint


@pytest.mark.parametrize("given", ["", " ", "xx", "q", "..", "../../etc", "e\ns", "\0", "x" * 10_000, "es/../en", "水"])
def test_what_is_no_language_is_refused(given: str) -> None:
    with pytest.raises(NotFoundError, match="is known"):
        find_code(given)


def test_every_code_has_a_name() -> None:
    assert [name_of(code) for code in ("es", "zt", "pb", "nb", "ceb")] == [
        "Spanish", "Chinese (traditional)", "Portuguese (Brazil)", "Norwegian", "ceb",
    ]  # fmt: skip


@pytest.mark.parametrize(("code", "source"), [("en", None), ("es", "es")])
def test_a_wish_that_leads_nowhere_is_refused(code: str, source: str | None) -> None:
    with pytest.raises(UsageError):
        check_direction(code, source)


def test_english_from_another_is_a_wish() -> None:
    check_direction("en", "es")
