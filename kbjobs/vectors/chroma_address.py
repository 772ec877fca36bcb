"""The address of a Chroma server, and the token for a proxy in front of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from kbjobs.config.home import Home
from kbjobs.config.secrets import find_secret
from kbjobs.config.settings import Settings
from kbjobs.errors import UsageError
from kbjobs.net.addresses import is_loopback

CHROMA_TOKEN = "CHROMA_TOKEN"  # noqa: S105 — the name of a secret
BEARER = "authorization"  # the header whose value is written "Bearer TOKEN"


@dataclass(frozen=True, slots=True)
class ChromaAddress:
    """A server's address, the headers sent with each request, and the prefix of its collections' names."""

    url: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    prefix: str = "kbjobs"


def check_url(url: str) -> str:
    """Check a server's address; returns it without a trailing slash. Raises UsageError if it is invalid."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"vectors.chroma = {url!r} is not the address of a server", "Give one like http://HOST:8000.")
    if parts.username or parts.password:
        raise UsageError(
            f"vectors.chroma contains a name or password before {parts.hostname}",
            f"Remove it, and store the token with kbjobs config set-secret {CHROMA_TOKEN}.",
        )
    return url.rstrip("/")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def read_address(home: Home, settings: Settings) -> ChromaAddress | None:
    """The server of the settings; None if collections are kept in directories. Raises UsageError."""
    url = settings.text("vectors.chroma")
    return address_of(home, settings, url, settings.text("vectors.chroma_prefix")) if url else None


def address_of(home: Home, settings: Settings, url: str, prefix: str) -> ChromaAddress:
    """Describe a server by its address.

    Args:
        home: the home whose secrets hold the token. Only the server in the settings gets it.
        settings: the settings, which name that server and the token's header.
        url: the address.
        prefix: the prefix of the collections' names.
    """
    url, configured = check_url(url), settings.text("vectors.chroma")
    token = find_secret(home, CHROMA_TOKEN) if configured and url == check_url(configured) else None
    headers = {}
    if token:
        if not url.startswith("https:") and not is_loopback(urlsplit(url).hostname or ""):
            raise UsageError(
                f"{CHROMA_TOKEN} is set and {url} is not encrypted: others could read the token on its way",
                "Give vectors.chroma an address that begins with https:.",
            )
        name = settings.text("vectors.chroma_header")
        headers[name] = f"Bearer {token}" if name.lower() == BEARER else token
    return ChromaAddress(url, headers, prefix)
