"""Find the language that a person means, by its English name or its code, in any case."""

from __future__ import annotations

import re
from difflib import get_close_matches

from kbjobs.content.language import read_tag
from kbjobs.content.language_codes import NAMES
from kbjobs.errors import NotFoundError, UsageError

ENGLISH = "en"
"""The language that packs lead from and to. If there is no pack between two others, a text goes through it."""

MAX_GIVEN = 60  # characters that are considered

# Argos's own codes, and languages whose code differs from ISO 639-1
# (https://github.com/argosopentech/argospm-index, index.json).
_OWN = {"zt": "Chinese (traditional)", "pb": "Portuguese (Brazil)", "nb": "Norwegian"}
_TAGS = {"zh-hant": "zt", "zh-tw": "zt", "zh-hk": "zt", "zh-mo": "zt", "pt-br": "pb", "no": "nb", "cmn": "zh"}
_OTHER_NAMES = {
    "bangla": "bn", "brazilian portuguese": "pb", "burmese": "my", "castilian": "es", "creole": "ht", "farsi": "fa",
    "filipino": "tl", "haitian creole": "ht", "kiswahili": "sw", "kurmanji": "ku", "kyrgyz": "ky", "mandarin": "zh",
    "pashto": "ps", "punjabi": "pa", "simplified chinese": "zh", "chinese (simplified)": "zh", "slovene": "sl",
    "traditional chinese": "zt", "uyghur": "ug", "valencian": "ca",
}  # fmt: skip
_BY_NAME = {
    **{name.lower(): code for code, name in NAMES.items()},
    **{name.lower(): code for code, name in _OWN.items()},
    **_OTHER_NAMES,
}


def find_code(given: str) -> str:
    """Find the code that language packs use for a language.

    Args:
        given: its English name (``Spanish``, ``haitian creole``) or its code (``es``, ``SPA``, ``zh-Hant``), in any
            case. A region is dropped if packs do not distinguish it: ``fr-CA`` is ``fr``.
    Raises:
        NotFoundError: the language is unknown; the hint names the nearest.
    """
    wanted = " ".join(given[:MAX_GIVEN].lower().replace("_", "-").split())
    if wanted in _OWN:
        return wanted
    if wanted in _BY_NAME:
        return _BY_NAME[wanted]
    tag = read_tag(wanted) if re.fullmatch(r"[a-z]{2,3}(-[a-z0-9]{2,8}){0,3}", wanted) else None
    if tag is not None:
        # "zh-hant-tw" means "zh-hant"; in "fr-ca" only the language counts.
        short = "-".join(tag.split("-")[:2])
        base = tag.partition("-")[0]
        return _TAGS.get(short) or _TAGS.get(base) or base
    near = get_close_matches(wanted, _BY_NAME, 1, 0.6)
    hint = f"Did you mean {_title(near[0])} ({_BY_NAME[near[0]]})? " if near else ""
    raise NotFoundError(
        f"no language {given[:MAX_GIVEN]!r} is known", hint + "Give its English name or its code: Spanish, es."
    )


def name_of(code: str) -> str:
    """Return the English name of a language, or its code if no name is known."""
    return _OWN.get(code) or NAMES.get(code) or code


def check_direction(code: str, source: str | None) -> None:
    """Raise UsageError if no pack can lead from ``source`` to ``code``."""
    if source == code:
        raise UsageError(f"{name_of(code)} is both the source and the target language", "Name two languages.")
    if code == ENGLISH and source is None:
        raise UsageError(
            "language packs translate from and to English",
            "Name the other one: kbjobs run language-download es fetches both, English to Spanish and back.",
        )


def _title(name: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in name.split(" "))
