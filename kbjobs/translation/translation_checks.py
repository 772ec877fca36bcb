"""A check of the language packs, for kbjobs doctor."""

from __future__ import annotations

from collections.abc import Iterator

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.formatting import counted
from kbjobs.system.findings import Finding


def check_languages(home: Home) -> Iterator[Finding]:
    """Check whether the language packs are usable."""
    from kbjobs.languages.language_packs import DamagedLanguagePackError, list_packs
    from kbjobs.translation.engine import check_packages

    damaged: list[DamagedLanguagePackError] = []
    packs = list_packs(home, damaged)
    for error in damaged:
        yield Finding("languages", "problem", error.message, error.hint)
    if not packs:
        return
    try:
        check_packages()
    except KbjobsError as error:
        yield Finding("languages", "problem", f"language packs are here, but {error.message}", error.hint)
    else:
        yield Finding("languages", "ok", f"{counted(len(packs), 'language pack')} can be used")
