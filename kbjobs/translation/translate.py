"""Translating a text of any length, through one or two language packs, piece by piece in bounded memory.

Paragraphs, white space, tags and code stay as they are. If a tag breaks a sentence, the parts around it are translated
separately, because a model would lose or move a tag that it does not know.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kbjobs.config.home import Home
from kbjobs.errors import MissingRequirementError, UsageError
from kbjobs.languages.language_names import ENGLISH, name_of
from kbjobs.languages.language_packs import LanguagePack, Pair, find_pack
from kbjobs.translation.engine import BATCH, Translator, check_packages
from kbjobs.translation.markup import split_markup
from kbjobs.translation.sentences import split_sentences, unwrap, wrap_like
from kbjobs.translation.text_blocks import read_blocks

AT_ONCE = 4 * BATCH
"""Sentences gathered before they are computed, so that sentences of similar length are computed together."""


def find_route(home: Home, source: str, target: str) -> list[LanguagePack]:
    """Find the packs that translate from one language to another: one pack, or two through English.

    Args:
        home: the home of the packs.
        source: the code of the language to translate from.
        target: the code of the language to translate to.

    Raises:
        UsageError: both languages are the same.
        MissingRequirementError: a pack is missing; the hint is the command that fetches it.
        DamagedLanguagePackError: a pack cannot be used.
    """
    if source == target:
        raise UsageError(f"the text would be translated from {name_of(source)} to itself", "Name two languages.")
    direct = Pair(source, target)
    pairs = [direct]
    found = find_pack(home, direct)
    if found is not None:
        return [found]
    if ENGLISH not in (source, target):
        pairs = [Pair(source, ENGLISH), Pair(ENGLISH, target)]
    packs = [find_pack(home, pair) for pair in pairs]
    missing = [pair for pair, pack in zip(pairs, packs, strict=True) if pack is None]
    if missing:
        wanted = missing[0] if len(missing) == 1 else direct
        raise MissingRequirementError(
            f"no language pack here translates {direct}"
            if wanted == direct
            else f"no language pack here translates {direct}: that {wanted} is missing",
            wanted.command,
        )
    return [pack for pack in packs if pack is not None]


class TextTranslator:
    """Translates texts with the packs of a route, which it loads. Raises the errors of :class:`Translator`."""

    def __init__(self, route: list[LanguagePack]) -> None:
        check_packages()
        self.route = route
        self._steps = [Translator(pack) for pack in route]

    def translate(self, pieces: Iterable[str]) -> Iterator[str]:
        """Translate a text piece by piece; about :data:`AT_ONCE` sentences are in memory at a time."""
        gathered: list[str | _Open] = []
        count = 0
        for block in read_blocks(pieces):
            if block.is_kept:
                gathered.append(block.text)
            else:
                parts = list(_open_paragraph(block.text))
                gathered += parts
                count += sum(isinstance(part, _Open) for part in parts)
            if count >= AT_ONCE or len(gathered) > 20 * AT_ONCE:
                yield self._close(gathered)
                gathered, count = [], 0
        if gathered:
            yield self._close(gathered)

    def _close(self, gathered: list[str | _Open]) -> str:
        wanted = list(dict.fromkeys(part.sentence for part in gathered if isinstance(part, _Open)))
        texts = wanted
        for step in self._steps:
            texts = step.translate(texts)
        translated = dict(zip(wanted, texts, strict=True))
        return "".join(part if isinstance(part, str) else part.close(translated[part.sentence]) for part in gathered)


@dataclass(frozen=True, slots=True)
class _Open:
    """A sentence that is waiting for its translation."""

    original: str
    has_entities: bool

    @property
    def sentence(self) -> str:
        return unwrap(self.original)

    def close(self, translated: str) -> str:
        text = wrap_like(self.original, translated)
        return html.escape(text, quote=False) if self.has_entities else text


def _open_paragraph(paragraph: str) -> Iterator[str | _Open]:
    for piece in split_markup(paragraph):
        if piece.is_kept:
            yield piece.text
            continue
        for sentence in split_sentences(piece.text):
            if sentence.gap:
                yield sentence.gap
            if any(character.isalpha() for character in sentence.text):
                yield _Open(sentence.text, piece.has_entities)
            elif sentence.text:
                yield html.escape(sentence.text, quote=False) if piece.has_entities else sentence.text
