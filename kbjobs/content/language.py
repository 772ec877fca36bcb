"""Language tags, and detection of a text's language.

Tags are BCP 47 in lower case, with the two-letter code if the language has one (``en``, ``pt-br``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kbjobs.content.language_codes import NAMES, OTHER_CODES
from kbjobs.content.language_model import load_identifier
from kbjobs.errors import UsageError

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

SURE = 0.9
"""Normalised probability from which the text's language counts as known. Measured on 1,048 pages of the Python
documentation: below it were pages of code and of names, above it none was wrong."""

READ_CHARACTERS = 1_500
"""The most characters of a text that are examined; they take about 0.7 milliseconds."""

_cache: list[Path | None] = [None]

MAX_FILTER_LANGUAGES = 50

MAX_LANGUAGES = 50
"""The most languages that a count lists, since a page may claim any."""

# ISO 639-2: codes that are not a language, or none that a reader could ask for.
_NO_LANGUAGE = frozenset({"und", "mul", "zxx", "mis", "root", "x", "i"})
_TAG_LIMIT = 40  # characters
_NORWEGIAN = frozenset({"no", "nb", "nn"})
# Languages that the detector confuses, or that are written alike. From its answers to the Universal Declaration of
# Human Rights in 532 languages and scripts.
_ALIKE = (
    frozenset({"bs", "hr", "sr", "sh"}), _NORWEGIAN | {"da"}, frozenset({"id", "ms"}), frozenset({"zh", "yue", "wuu"}),
    frozenset({"el", "grc"}), frozenset({"ar", "arz", "ary"}), frozenset({"fr", "gcr", "gcf"}),
    frozenset({"he", "hbo"}), frozenset({"az", "tr", "crh"}), frozenset({"tt", "ba", "az", "tk", "kk"}),
    frozenset({"uz", "ug", "uzs"}), frozenset({"pa", "ur"}), frozenset({"oc", "ca", "lij"}),
    frozenset({"es", "ext", "gl", "pt", "an"}), frozenset({"ku", "sdh"}), frozenset({"gn", "gug"}),
    frozenset({"ff", "fuv"}), frozenset({"cs", "sk"}), frozenset({"it", "vec", "lij"}), frozenset({"lv", "ltg"}),
    frozenset({"ki", "kik"}), frozenset({"hi", "mr", "ne", "sa", "gom"}), frozenset({"de", "lb"}),
)  # fmt: skip


class Detection(NamedTuple):
    """The detector's answer for a text: a tag, and its normalised probability."""

    tag: str
    probability: float

    @property
    def is_sure(self) -> bool:
        """Whether it may count as the language of the text."""
        return self.probability >= SURE


@lru_cache(maxsize=10_000)  # a site has few tags, and repeats them on each page
def read_tag(tag: str) -> str | None:
    """Normalise a language tag (``eng`` becomes ``en``, ``pt_BR`` becomes ``pt-br``); None if it names no language.

    All subtags must be in IANA's registry (RFC 5646), as langcodes has it.
    """
    from langcodes import standardize_tag, tag_is_valid

    tag = tag.strip()[:_TAG_LIMIT].lower().replace("_", "-").lstrip("=")
    if not tag.isascii() or tag.partition("-")[0] in _NO_LANGUAGE or not tag_is_valid(tag):
        return None
    tag = standardize_tag(tag).lower()
    return None if tag.partition("-")[0] in _NO_LANGUAGE else tag


def keep_detector_in(folder: Path | None) -> None:
    """Map the detector's model from a folder, where it is unpacked the first time; for the whole process.

    ``folder`` is where prepared models are kept, None to unpack the model in memory.
    """
    _cache[0] = folder


def detect(text: str) -> Detection | None:
    """Detect the language of a text; None if it has no letters. The model is part of py3langid's package."""
    text = text[:READ_CHARACTERS]
    if not any(character.isalpha() for character in text):
        return None
    label, probability = _identifier().classify(text)
    tag = read_tag(label)
    return None if tag is None else Detection(tag, float(probability))


def detect_language(text: str) -> str | None:
    """Detect the language of a text; None if the detector is not sure."""
    found = detect(text)
    return found.tag if found is not None and found.is_sure else None


def without_region(tag: str) -> str:
    """Reduce a tag to its language, with its script if it has one: ``en`` for ``en-us``, ``zh-hans``."""
    language, *others = tag.split("-")
    return "-".join([language, *(one for one in others[:1] if len(one) == 4 and one.isalpha())])


def count_as_one(counts: Mapping[str, int]) -> dict[str, int]:
    """Sum counts by language, the largest first; :data:`MAX_LANGUAGES` at most."""
    together = Counter[str]()
    for tag, count in counts.items():
        together[without_region(tag)] += count
    return dict(sorted(together.items(), key=lambda item: (-item[1], item[0]))[:MAX_LANGUAGES])


def is_detectable(tag: str) -> bool:
    """Whether the detector knows a language, in the tag's script if it names one."""
    subtags = tag.split("-")
    return subtags[0] in _labels() and not any(len(subtag) == 4 for subtag in subtags[1:] if subtag.isalpha())


def are_alike(one: str, other: str) -> bool:
    """Whether two tags are of one language, or of two that the detector confuses."""
    one, other = one.partition("-")[0], other.partition("-")[0]
    return one == other or any(one in group and other in group for group in _ALIKE)


def parse_filter(text: str) -> list[str]:
    """Parse a language filter such as ``en`` or ``en,be`` into unique tags. Raises UsageError for an unknown one."""
    wanted: dict[str, None] = {}
    for part in text.split(","):
        code = part.strip()
        tag = read_tag(code)
        if tag is None or tag.partition("-")[0] not in NAMES.keys() | OTHER_CODES:
            lower = code.lower()
            near = _names().get(lower) or next(map(_names().get, get_close_matches(lower, _names(), 1)), None)
            hint = f"Did you mean {near} ({NAMES[near]})? " if near else ""
            raise UsageError(
                f"{code[:40]!r} in the language filter is not a language code",
                hint + "Give ISO 639 codes, separated by commas: en, or en,be.",
            )
        wanted[tag] = None
    if len(wanted) > MAX_FILTER_LANGUAGES:
        raise UsageError(f"the language filter names {len(wanted)} languages", f"Give {MAX_FILTER_LANGUAGES} at most.")
    return list(wanted)


def is_wanted(tag: str, wanted: list[str]) -> bool:
    """Whether a filter keeps a language: ``en`` keeps ``en-gb``, and ``pt-br`` keeps ``pt``, which may be the same."""
    return any(f"{tag}-".startswith(f"{one}-") or f"{one}-".startswith(f"{tag}-") for one in _widened(wanted))


def _widened(wanted: list[str]) -> Iterator[str]:
    """Add the other codes of Norwegian: it is written as Bokmål or Nynorsk, and most pages only say Norwegian."""
    yield from wanted
    if "no" in wanted:
        yield from ("nb", "nn")
    elif "nb" in wanted or "nn" in wanted:
        yield "no"


@cache
def _names() -> dict[str, str]:
    return {name.lower(): code for code, name in NAMES.items()}


@cache
def _labels() -> frozenset[str]:
    return frozenset(tag for label in _identifier().labels if (tag := read_tag(label)))


@cache
def _identifier() -> LanguageIdentifier:
    return load_identifier(_cache[0])
