"""What comes back of a request."""

from __future__ import annotations

from dataclasses import dataclass

MAX_ASIDE = 64 * 1024
"""Bytes that are read of a body that is not the page: of a redirect or an error."""


@dataclass(frozen=True)
class Reply:
    """What a server has answered, after its redirects."""

    url: str
    """Where it was found."""
    status: int
    headers: dict[str, str]
    """By names in lower case; several of one name are joined by a comma."""
    body: bytes
    """Unpacked. Of an error (a status of 300 or more) only the first :data:`MAX_ASIDE` bytes."""
    media_type: str = ""
    """In lower case, without parameters; empty where there is none."""
    charset: str = ""
    """Of the Content-Type, as it is written there; empty where there is none."""
    moved_from: tuple[str, ...] = ()
    """The URLs that led here by a redirect, the one that was asked for first."""
    named: str = ""
    """A URL after which its file is named, where that of the page tells less."""
