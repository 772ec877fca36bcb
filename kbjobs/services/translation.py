"""Translating a text with the language packs of the home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.errors import UsageError
from kbjobs.languages.language_names import find_code
from kbjobs.object_storage.folder import writing
from kbjobs.system.files import atomic_write
from kbjobs.translation.text_input import open_text
from kbjobs.translation.translate import TextTranslator, find_route

__all__ = ["open_text", "translator", "writing_text"]


def translator(home: Home, source: str, target: str) -> TextTranslator:
    """Find the language packs that translate between two languages, directly or through English.

    Args:
        home: the home of the packs.
        source: the language to translate from, a code or English name.
        target: the language to translate into.

    Raises:
        NotFoundError: a name is not a known language.
        UsageError: both languages are the same.
        MissingRequirementError: a pack is missing; the hint is the command that fetches it.
        DamagedLanguagePackError: a pack is damaged.
    """
    return TextTranslator(find_route(home, find_code(source), find_code(target)))


@contextmanager
def writing_text(path: Path) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes to a text file, which is renamed into place when complete.

    Raises UnavailableError, or UsageError if the path is a folder.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "Name a file.")
    with writing(path), atomic_write(path) as file:
        yield lambda text: file.write(text.encode())
