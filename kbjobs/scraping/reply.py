"""The reply to a request."""

from __future__ import annotations

from dataclasses import dataclass

MAX_ASIDE = 64 * 1024
"""Most bytes read of a body that is not a page, such as a redirect's or an error's."""


@dataclass(frozen=True)
class Reply:
    """A server's reply, after redirects."""

    url: str
    """The address that gave the reply."""
    status: int
    headers: dict[str, str]
    """By name in lower case; several headers of one name are joined by commas."""
    body: bytes
    """Unpacked. With a status of 300 or more, only the first :data:`MAX_ASIDE` bytes."""
    media_type: str = ""
    """In lower case, without parameters; empty if there is none."""
    charset: str = ""
    """From the Content-Type, as written there; empty if there is none."""
    moved_from: tuple[str, ...] = ()
    """The URLs that redirected here, beginning with the requested one."""
    named: str = ""
    """A URL to name its file after, if it is more telling than ``url``."""
    led_to: tuple[str, ...] = ()
    """Addresses that the scripts of a rendered page lead to in addition to its links. A hash route has its fragment."""
