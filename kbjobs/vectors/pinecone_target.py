"""Which index and namespace of Pinecone a source goes to, by its settings. Light: a submit looks here.

Names as the service takes them (its pages on limits): an index has at most 45 of a–z, 0–9 and '-', a namespace at most
512 ASCII characters.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from kbjobs.config.settings import Settings
from kbjobs.errors import KbjobsError, MissingRequirementError, NotFoundError, UsageError
from kbjobs.net.addresses import is_loopback
from kbjobs.net.backoff import AwayError
from kbjobs.net.requesting import RefusedError, get

PINECONE_KEY = "PINECONE_API_KEY"
"""The secret with which Pinecone is asked."""
CONTROLLER = "PINECONE_CONTROLLER_HOST"
"""The variable that names another address than Pinecone's own for looking indexes up; its library reads it."""
DEFAULT_CONTROLLER = "https://api.pinecone.io"
SET_KEY = f"Store a key with kbjobs config set-secret {PINECONE_KEY} (it is read from stdin)."
METRIC = "cosine"
API_VERSION = "2026-07"
"""Of the service, as the package pinecone asks for it."""
REACH_SECONDS = 5.0
"""For a connection, at a submit: it is not to wait for a service that is away."""

_INDEX = re.compile(r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?")
_MAX_NAMESPACE = 512


@dataclass(frozen=True, slots=True)
class PineconeTarget:
    """An index and a namespace in it; ``cloud`` and ``region`` say where it is made if it is not there."""

    index: str
    namespace: str
    cloud: str
    region: str

    def __str__(self) -> str:
        return f"{self.index}/{self.namespace}"


def read_target(settings: Settings, source_id: str, namespace: str | None = None) -> PineconeTarget:
    """Where a source goes: the index of the settings, and the namespace given, else of the settings, else its own.

    Raises:
        MissingRequirementError: no index is set.
        UsageError: a name is none.
    """
    index = settings.text("pinecone.index")
    if not index:
        raise MissingRequirementError(
            "no Pinecone index is set", 'Set pinecone.index in config.toml: [pinecone] index = "my-index".'
        )
    if not _INDEX.fullmatch(index):
        raise UsageError(
            f"pinecone.index = {index!r} is not the name of an index",
            "A name has at most 45 characters of a-z, 0-9 and '-', and does not start or end with '-'.",
        )
    chosen = namespace or settings.text("pinecone.namespace") or source_id
    if len(chosen) > _MAX_NAMESPACE or not chosen.isascii() or not chosen.isprintable():
        raise UsageError(
            f"{chosen!r} is not the name of a namespace", f"It has at most {_MAX_NAMESPACE} ASCII characters."
        )
    return PineconeTarget(index, chosen, settings.text("pinecone.cloud"), settings.text("pinecone.region"))


def check_pinecone_key(key: str | None) -> str:
    """The key, fit for an HTTP header. Raises MissingRequirementError; the key is in no message."""
    key = (key or "").strip()
    if not key:
        raise MissingRequirementError(f"{PINECONE_KEY} is not set", SET_KEY)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise MissingRequirementError(
            f"{PINECONE_KEY} is not a key: it contains characters that keys do not have", SET_KEY
        )
    return key


def refuse_missing_index(key: str, index: str) -> None:
    """Raise NotFoundError where the service says that there is no such index; nothing where it says nothing.

    The path and the headers are those of its API reference, "Describe an index".
    """
    headers = {"Api-Key": check_pinecone_key(key), "X-Pinecone-API-Version": API_VERSION}
    try:
        with get(f"{controller_url()}/indexes/{index}", own_headers=headers, connect_seconds=REACH_SECONDS):
            return
    except RefusedError as error:
        if error.status == 404:
            raise NotFoundError(
                f"there is no Pinecone index {index!r}", "Create it with --create-index, or correct pinecone.index."
            ) from error
    except (AwayError, KbjobsError):
        return  # whoever goes on is told by the job itself, and by doctor


def controller_url() -> str:
    """The address where indexes are looked up. Raises UsageError where the key could be read on its way there."""
    url = os.environ.get(CONTROLLER, "").strip() or DEFAULT_CONTROLLER
    return check_host(url, CONTROLLER)


def check_host(host: str, named_by: str) -> str:
    """An address to which the key may be sent: encrypted, or this machine's own. Raises UsageError.

    Args:
        host: with or without ``https://``.
        named_by: what has named it, for the message.
    """
    url = (host if "://" in host else f"https://{host}").rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.username or parts.password:
        raise UsageError(f"{named_by} names an address with a name or password in it", "Take them out.")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"{named_by} names {host!r}, which is no address of a server", "It begins with https://.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise UsageError(
            f"{named_by} names {url}, which is not encrypted: others could read {PINECONE_KEY} on its way",
            "Its address must begin with https://.",
        )
    return url
