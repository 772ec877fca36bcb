"""What no answer may contain: secrets, and the places of files on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from kbjobs.assistant.foreign_text import remove_hidden
from kbjobs.config.home import Home
from kbjobs.config.secrets import names_in_environment, stored_secrets
from kbjobs.errors import KbjobsError
from kbjobs.store.sources import SourceFolder, list_source_ids

HIDDEN = "…"
LEAST_SECRET = 6  # characters: a shorter value, such as "1", is part of too many texts
_FILE_URL = re.compile(r"file:/*([^\s'\"<>]+)")
# A slash that begins a word begins a path; one after a colon, a letter or a bracket is within an address.
_ABSOLUTE = re.compile(r"(?<![\w/:.~\])-])/(?:[^\s/'\"<>]+/)*([^\s/'\"<>]+)")


class Redaction:
    """Removes from texts what an assistant need not know.

    Args:
        home: the home whose secrets and folders are hidden.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def hide_secrets(self, value: Any) -> Any:
        """Replace the secrets in all texts of a JSON value, and remove hidden characters."""
        hidden = self._secrets()

        def clean(text: str) -> str:
            for secret in hidden:
                text = text.replace(secret, HIDDEN)
            return remove_hidden(text)

        return _map_texts(value, clean)

    def hide_paths(self, value: Any) -> Any:
        """Shorten absolute paths in all texts of a JSON value: below a known folder to the rest, others to the name."""
        known = self._folders()

        def clean(text: str) -> str:
            for folder in known:
                text = text.replace(f"{folder}/", "").replace(folder, Path(folder).name)
            text = _FILE_URL.sub(lambda found: Path(unquote(found[1])).name, text)
            return _ABSOLUTE.sub(r"\1", text)

        return _map_texts(value, clean)

    def _secrets(self) -> list[str]:
        values = [os.environ[name] for name in names_in_environment()]
        try:
            values += stored_secrets(self._home).values()
        except KbjobsError:
            # A file that this process cannot read is in no answer either; whoever needs it reports the error.
            return _longest_first(values, LEAST_SECRET)
        return _longest_first(values, LEAST_SECRET)

    def _folders(self) -> list[str]:
        found = [self._home.path, Path.home()]
        for source_id in list_source_ids(self._home.sources):
            try:
                found += map(Path, SourceFolder(self._home.sources, source_id).read().paths)
            except KbjobsError:  # damaged, or deleted since: its folders are unknown
                continue
        paths = [os.fspath(path) for path in found] + [os.path.realpath(path) for path in found]
        return _longest_first(paths, len("/a"))


def public_address(url: str, path: str) -> str:
    """What names a document for the assistant: its address on the web without credentials, else its path.

    Args:
        url: the document's URL, which may be that of a file.
        path: its path within the source.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return path
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _map_texts(one, change) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map_texts(one, change) for one in value]
    return value


def _longest_first(texts: list[str], least: int) -> list[str]:
    return sorted({text for text in texts if len(text) >= least}, key=lambda text: (-len(text), text))
