"""The Pinecone index and namespace that a source goes to, by the settings. Light to import, since a submit needs it.

Names have the form that the service accepts (its pages on limits): an index has at most 45 of a–z, 0–9 and '-', a
namespace at most 512 ASCII characters.
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
"""The name of the secret with Pinecone's API key."""
CONTROLLER = "PINECONE_CONTROLLER_HOST"
"""The environment variable, also of Pinecone's library, that names another address for looking up indexes."""
DEFAULT_CONTROLLER = "https://api.pinecone.io"
SET_KEY = f"Store a key with kbjobs config set-secret {PINECONE_KEY} (it is read from stdin)."
METRIC = "cosine"
API_VERSION = "2026-07"
"""The version of the service's API that the package pinecone requests."""
REACH_SECONDS = 5.0
"""Time limit of a connection during a submit, which must not wait for an unavailable service."""

_INDEX = re.compile(r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?")
_MAX_NAMESPACE = 512


@dataclass(frozen=True, slots=True)
class PineconeTarget:
    """An index and a namespace in it; ``cloud`` and ``region`` say where a missing index is created."""

    index: str
    namespace: str
    cloud: str
    region: str

    def __str__(self) -> str:
        return f"{self.index}/{self.namespace}"


def read_target(settings: Settings, source_id: str, namespace: str | None = None) -> PineconeTarget:
    """Find the index and namespace that a source goes to.

    Args:
        settings: name the index, and may name a namespace.
        source_id: the source's id, which is the default namespace.
        namespace: a namespace that takes precedence over the settings.

    Raises:
        MissingRequirementError: no index is set.
        UsageError: a name is invalid.
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
    """Check that the key fits into an HTTP header, and return it. Raises MissingRequirementError without the key."""
    key = (key or "").strip()
    if not key:
        raise MissingRequirementError(f"{PINECONE_KEY} is not set", SET_KEY)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise MissingRequirementError(
            f"{PINECONE_KEY} is not a key: it contains characters that keys do not have", SET_KEY
        )
    return key


def refuse_missing_index(key: str, index: str) -> None:
    """Raise NotFoundError if the service reports that there is no such index; do nothing if it cannot be reached.

    Path and headers are from its API reference, "Describe an index".
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
        return  # the job itself and doctor will report the problem


def controller_url() -> str:
    """The address for looking up indexes. Raises UsageError if others could read the key on its way there."""
    url = os.environ.get(CONTROLLER, "").strip() or DEFAULT_CONTROLLER
    return check_host(url, CONTROLLER)


def check_host(host: str, named_by: str) -> str:
    """Check that the key may be sent to an address, which must be encrypted or local; returns it. Raises UsageError.

    Args:
        host: the address, with or without ``https://``.
        named_by: the setting, variable or file that names it, for the message.
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
