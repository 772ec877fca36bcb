"""Translating sentences with one loaded language pack.

Two libraries with native code run on the pack's files alone: CTranslate2
(https://opennmt.net/CTranslate2/python/ctranslate2.Translator.html) and SentencePiece.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from kbjobs.embedding.cores import count_usable_cores
from kbjobs.errors import MissingRequirementError
from kbjobs.languages.language_packs import BPE, MODEL, SENTENCEPIECE, DamagedLanguagePackError, LanguagePack
from kbjobs.translation.byte_pairs import BytePairs

MAX_TOKENS = 150
"""Most tokens of a sentence; a longer one is translated in parts. The models can handle that many, according to Argos
Translate's documentation (https://argos-translate.readthedocs.io, Settings)."""
GROWTH, MORE = 2, 50
"""A translation may have GROWTH times the tokens plus MORE, because a model may repeat itself for ever."""
BATCH = 32
"""Sentences that are computed together."""
# The values with which Argos Translate runs the same packs (argostranslate/translate.py).
BEAM, LENGTH_PENALTY = 4, 0.2

_SPACE = "▁"  # how SentencePiece writes a space
_PLACES = (re.compile(r"[;:；：—–]\s*"), re.compile(r"[,，、،]\s*"), re.compile(r"\s+"))


def check_packages() -> None:
    """Raise MissingRequirementError if the extra ``translate`` is not installed."""
    missing = [name for name in ("ctranslate2", "sentencepiece") if find_spec(name) is None]
    if missing:
        raise MissingRequirementError(
            f"translating needs {' and '.join(missing)}, which is not installed", "pip install 'kbjobs[translate]'"
        )


class Tokenizer(Protocol):
    """Cuts a sentence into the tokens of a model, and joins the tokens that it outputs."""

    def encode(self, sentence: str) -> list[str]:
        """Cut a sentence into tokens."""

    def decode(self, tokens: list[str]) -> str:
        """Join tokens into a sentence."""


class _SentencePieces:
    """The tokenizer of most packs."""

    def __init__(self, file: Path) -> None:
        import sentencepiece

        self._processor = sentencepiece.SentencePieceProcessor(model_file=str(file))

    def encode(self, sentence: str) -> list[str]:
        tokens: list[str] = self._processor.encode(sentence, out_type=str)
        return tokens

    def decode(self, tokens: list[str]) -> str:
        # The processor's own decode would fail on tokens that are not pieces, such as a word unknown to the model.
        return "".join(tokens).replace(_SPACE, " ")


def _load_tokenizer(pack: LanguagePack) -> Tokenizer:
    file = pack.path / SENTENCEPIECE
    return _SentencePieces(file) if file.exists() else BytePairs(pack.path / BPE, pack.pair.source, pack.pair.target)


class Translator:
    """A loaded language pack. Raises DamagedLanguagePackError, MissingRequirementError."""

    def __init__(self, pack: LanguagePack) -> None:
        check_packages()
        import ctranslate2

        self.pack = pack
        try:
            self._tokenizer = _load_tokenizer(pack)
            self._model = ctranslate2.Translator(
                str(pack.path / MODEL), device="cpu", inter_threads=1, intra_threads=count_usable_cores()
            )
        except (RuntimeError, OSError, ValueError, MemoryError) as error:
            raise self._damaged(error) from error

    def translate(self, sentences: Sequence[str]) -> list[str]:
        """Translate sentences; each translation is one line without white space at its ends."""
        parts: list[list[str]] = []
        owners: list[tuple[int, str]] = []  # the number of each part's sentence, and the white space before the part
        for number, sentence in enumerate(sentences):
            for gap, tokens in self._cut(sentence):
                parts.append(tokens)
                owners.append((number, gap))
        translated = [""] * len(sentences)
        for (number, gap), text in zip(owners, self._compute(parts), strict=True):
            translated[number] += gap + text if translated[number] else text
        return translated

    def _cut(self, sentence: str) -> list[tuple[str, list[str]]]:
        """Cut a sentence into parts that fit; returns the white space before each, and its tokens."""
        done: list[tuple[str, list[str]]] = []
        left = [("", sentence)]
        while left:
            gap, text = left.pop()
            tokens = self._tokenizer.encode(text)
            if len(tokens) <= MAX_TOKENS or len(text) < 2:
                done.append((gap, tokens[:MAX_TOKENS]))
                continue
            place = _find_place(text)
            head = text[:place].rstrip()
            behind = text[len(head) :]
            tail = behind.lstrip()
            if not head or not tail:
                done.append((gap, tokens[:MAX_TOKENS]))
                continue
            left += [(" " if len(tail) < len(behind) else "", tail), (gap, head)]
        return done

    def _compute(self, parts: list[list[str]]) -> list[str]:
        prefix = [self.pack.record.target_prefix] if self.pack.record.target_prefix else []
        # An empty sentence has no translation, and is an error to some models.
        given = [tokens for tokens in parts if tokens]
        if not given:
            return [""] * len(parts)
        try:
            results = self._model.translate_batch(
                given,
                target_prefix=[prefix] * len(given) if prefix else None,
                max_batch_size=BATCH,
                beam_size=BEAM,
                length_penalty=LENGTH_PENALTY,
                max_decoding_length=GROWTH * max(map(len, given)) + MORE,
                replace_unknowns=True,
            )
        except (RuntimeError, ValueError, MemoryError) as error:
            raise self._damaged(error) from error
        texts = iter([self._join(result.hypotheses[0], prefix) for result in results])
        return [next(texts) if tokens else "" for tokens in parts]

    def _join(self, tokens: list[str], prefix: list[str]) -> str:
        """Join tokens into a text, without the prefix that was given to the model."""
        written = tokens[len(prefix) :] if tokens[: len(prefix)] == prefix else tokens
        return " ".join(self._tokenizer.decode(written).split())

    def _damaged(self, error: Exception) -> DamagedLanguagePackError:
        return DamagedLanguagePackError(
            f"the language pack {self.pack.pair} in {self.pack.path} cannot be used: {error}",
            f"Fetch it again: {self.pack.pair.command} --force",
        )


def _find_place(text: str) -> int:
    """Where to cut a text: after the punctuation mark nearest its middle, else after a word, else in the middle."""
    middle = len(text) // 2
    for kind in _PLACES:
        ends = [found.end() for found in kind.finditer(text) if len(text) // 5 < found.end() < len(text) * 4 // 5]
        if ends:
            return min(ends, key=lambda end: abs(end - middle))
    return middle
