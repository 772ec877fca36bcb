"""The index of language packs that can be fetched.

Its format is Argos Translate's (https://github.com/argosopentech/argospm-index, index.json): a JSON list of objects, of
which ``from_code``, ``to_code``, ``package_version`` and ``links`` are read. It holds no sizes and no hashes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.downloads.file_download import WantedFile, fetch_file
from kbjobs.errors import DownloadError, NotFoundError
from kbjobs.languages.language_names import ENGLISH, name_of
from kbjobs.languages.language_packs import Pair, is_code
from kbjobs.net.requesting import RefusedError

MAX_BYTES = 8 * 1024 * 1024
"""Of an index; in 2026 the public one has 32 KB."""
MAX_ENTRIES = 20_000
MAX_LINKS = 10
MAX_URL = 2_048  # characters
SETTING = "languages_index"
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,39}")


@dataclass(frozen=True, slots=True)
class Offer:
    """A pack that an index offers: its direction, its version, and its addresses, the best one first."""

    pair: Pair
    version: str
    links: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The offer as ``--json`` prints it."""
        return {**self.pair.as_dict(), "version": self.version}


def fetch_index(
    home: Home, settings: Settings, check: Callable[[], None] = lambda: None, give_up_seconds: float = 60.0
) -> dict[Pair, Offer]:
    """Fetch the index that the setting ``languages_index`` names: the newest pack of each direction.

    Args:
        home: where the index is kept in the meantime.
        settings: the settings in force.
        check: called several times a second; may raise.
        give_up_seconds: seconds after which a server that does not answer is given up.
    Raises:
        KbjobsError: it cannot be fetched, or is not an index.
    """
    url = settings.text(SETTING)
    file = home.downloads / "languages-index.json"
    try:
        fetch_file(WantedFile(url, most=MAX_BYTES), file, check=check, give_up_seconds=give_up_seconds)
    except RefusedError as error:
        raise error.explain() from error
    return read_index(file.read_bytes(), url)


def read_index(content: bytes, url: str) -> dict[Pair, Offer]:
    """Read the newest pack of each direction from an index.

    Entries that are no translation packs, or cannot be fetched from here, are skipped, since an index may hold more
    than this program knows. If the index came by https, only https links count, since a pack could be changed on its
    way otherwise.

    Raises:
        DownloadError: it is not an index.
    """
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _no_index(url, "it is not JSON") from error
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
        raise _no_index(url, f"it is not a list of at most {MAX_ENTRIES:,} packs")
    schemes = ("https",) if urlsplit(url).scheme == "https" else ("http", "https")
    newest: dict[Pair, Offer] = {}
    for entry in entries:
        offer = _read_entry(entry, schemes)
        if offer is not None and (
            offer.pair not in newest or order_of(offer.version) > order_of(newest[offer.pair].version)
        ):
            newest[offer.pair] = offer
    if not newest:
        raise _no_index(url, "it offers no language pack that can be fetched")
    return newest


def order_of(version: str) -> tuple[tuple[int, int | str], ...]:
    """The key that versions are compared by: 1.10 comes after 1.9."""
    return tuple(
        (1, int(part)) if part.isdecimal() else (0, part) for part in re.findall(r"[0-9]{1,18}|[a-z]+", version.lower())
    )


def choose(offers: dict[Pair, Offer], code: str, source: str | None) -> list[Offer]:
    """Choose the packs to fetch for a language.

    Args:
        offers: the index.
        code: the language's code.
        source: the language to translate from. None chooses the packs from English to ``code`` and back, as far as they
            exist.

    Returns:
        With a ``source``, the direct pack; if there is none, one to English and one from English.

    Raises:
        NotFoundError: no pack leads there.
    """
    if source is None:
        found = [offers[pair] for pair in (Pair(ENGLISH, code), Pair(code, ENGLISH)) if pair in offers]
        if found:
            return found
        raise NotFoundError(f"the index has no language pack for {name_of(code)} ({code})", _tell_others(offers, code))
    steps = [Pair(source, code)]
    if steps[0] not in offers and ENGLISH not in (source, code):
        steps = [Pair(source, ENGLISH), Pair(ENGLISH, code)]
    missing = [pair for pair in steps if pair not in offers]
    if missing:
        unknown = next((one for one in (code, source) if not any(one in (p.source, p.target) for p in offers)), code)
        told = " and ".join(f"from {pair}" for pair in missing)
        raise NotFoundError(f"the index has no language pack {told}", _tell_others(offers, unknown))
    return [offers[pair] for pair in steps]


def _tell_others(offers: Iterable[Pair], code: str) -> str:
    names = sorted({name_of(one) for pair in offers for one in (pair.source, pair.target)})
    near = get_close_matches(name_of(code), names, 1, 0.65)
    hint = f"Did you mean {near[0]}? " if near else ""
    return f"{hint}It has packs for {len(names)} languages: kbjobs languages list --available"


def _read_entry(entry: Any, schemes: tuple[str, ...]) -> Offer | None:
    """Read an entry; None if it is not a usable offer."""
    if not isinstance(entry, dict) or entry.get("type", "translate") != "translate":
        return None
    source, target = entry.get("from_code"), entry.get("to_code")
    version, links = entry.get("package_version"), entry.get("links")
    if not (is_code(source) and is_code(target) and source != target):
        return None
    if not isinstance(version, str) or not _VERSION.fullmatch(version) or not isinstance(links, list):
        return None
    usable = tuple(link for link in links[:MAX_LINKS] if isinstance(link, str) and _is_usable(link, schemes))
    return Offer(Pair(str(source), str(target)), version, usable) if usable else None


def _is_usable(link: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    return len(link) <= MAX_URL and link.isprintable() and parts.scheme in schemes and bool(parts.hostname)


def _no_index(url: str, reason: str) -> DownloadError:
    return DownloadError(
        f"{url} is not an index of language packs: {reason}", f"Check the setting '{SETTING}': kbjobs config show"
    )
