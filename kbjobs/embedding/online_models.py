"""The models behind a network API. Cheap to import, since a submit and a search look here first."""

from __future__ import annotations

from dataclasses import dataclass

from kbjobs.errors import MissingRequirementError, UsageError

OPENAI_KEY = "OPENAI_API_KEY"
"""The name of the secret with the OpenAI API key."""

SET_KEY = f"Store a key with kbjobs config set-secret {OPENAI_KEY} (it is read from stdin)."


@dataclass(frozen=True)
class OnlineModel:
    """A model of an API; ``price`` is the name of the setting with its price."""

    name: str
    dimension: int
    price: str

    @property
    def key(self) -> str:
        """Identity of its vectors in the ledger: it has no weights to hash."""
        return f"{self.name}-{self.dimension}"


TEXT_EMBEDDING_3_SMALL = OnlineModel("text-embedding-3-small", 1536, "online_price")
ONLINE_MODELS = (TEXT_EMBEDDING_3_SMALL,)


def find_online(name: str) -> OnlineModel | None:
    """Find the online model of that name; None if there is none."""
    return next((model for model in ONLINE_MODELS if model.name == name.strip().casefold()), None)


def check_key(key: str | None) -> str:
    """Return the key, fit for an HTTP header. Raises MissingRequirementError; no message contains the key."""
    key = (key or "").strip()
    if not key:
        raise MissingRequirementError(f"{OPENAI_KEY} is not set", SET_KEY)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise MissingRequirementError(
            f"{OPENAI_KEY} is not a key: it contains characters that keys do not have", SET_KEY
        )
    return key


def check_base_url(url: str | None) -> str | None:
    """Return the API's address, None for the default one. Raises UsageError if it is not a URL."""
    if not url or not url.strip():
        return None
    if not url.startswith(("https://", "http://")):
        raise UsageError("OPENAI_BASE_URL is not a URL", "It begins with https:// and mostly ends with /v1.")
    return url
