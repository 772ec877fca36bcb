"""Language packs: listing those in the home and those on offer, and removing them."""

from __future__ import annotations

from typing import Any

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.languages.installation import RemovedPacks, remove_packs
from kbjobs.languages.language_names import find_code
from kbjobs.languages.language_packs import DamagedLanguagePackError, LanguagePack, list_packs

__all__ = ["DamagedLanguagePackError", "LanguagePack", "list_offers", "list_packs", "remove"]

INDEX_SECONDS = 20.0  # how long a person waits for an index that does not answer


def list_offers(home: Home) -> list[dict[str, Any]]:
    """List the offers of the index in the setting ``languages_index``; ``here`` is the version in the home, if any."""
    from kbjobs.downloads.language_index import fetch_index

    here = {pack.pair: pack.record.version for pack in list_packs(home, [])}
    return [
        {**offer.as_dict(), "here": here.get(pair)}
        for pair, offer in sorted(fetch_index(home, Settings(home), give_up_seconds=INDEX_SECONDS).items())
    ]


def remove(home: Home, language: str, source: str | None) -> RemovedPacks:
    """Remove language packs from the home.

    Args:
        home: the home of the packs.
        language: a code or English name; its packs in both directions are removed.
        source: a code or English name, to remove only the pack from this language; None for all.
    """
    return remove_packs(home, find_code(language), None if source is None else find_code(source))
