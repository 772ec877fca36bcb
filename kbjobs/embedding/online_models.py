"""The models that are asked over the network. Light: a submit and a search look here first."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from kbjobs.errors import MissingRequirementError, UsageError

OPENAI_KEY = "OPENAI_API_KEY"
"""The secret with which the OpenAI API is asked."""

SET_KEY = f"Store a key with kbjobs config set-secret {OPENAI_KEY} (it is read from stdin)."


@dataclass(frozen=True)
class OnlineModel:
    """A model of an API.

    ``list_price`` is in US dollars per million tokens, as the provider listed it in ``priced_in``; what an account
    really pays may differ.
    """

    name: str
    dimension: int
    list_price: float
    priced_in: str

    @property
    def key(self) -> str:
        """Identity under which the ledger keeps its vectors: it has no weights that could be hashed."""
        return f"{self.name}-{self.dimension}"

    def price(self, tokens: int) -> float:
        """The list price of so many tokens, in US dollars."""
        return tokens * self.list_price / 1e6

    def describe_price(self, tokens: int) -> str:
        """For a person: the price and what it rests on."""
        return (
            f"{format_dollars(self.price(tokens))} USD at the list price of {self.priced_in}"
            f" ({self.list_price:g} USD per million tokens)"
        )


# Price: the model's page in OpenAI's developer documentation, standard tier.
TEXT_EMBEDDING_3_SMALL = OnlineModel("text-embedding-3-small", 1536, 0.02, "July 2026")
ONLINE_MODELS = (TEXT_EMBEDDING_3_SMALL,)


def find_online(name: str) -> OnlineModel | None:
    """The online model of that name."""
    return next((model for model in ONLINE_MODELS if model.name == name.strip().casefold()), None)


def format_dollars(amount: float) -> str:
    """An amount, to the cent, or below a dollar with two digits that say something: 12.30, 0.014, 0.0000042."""
    return f"{amount:.2f}" if amount >= 1 or amount == 0 else format(Decimal(f"{amount:.2g}"), "f")


def check_key(key: str | None) -> str:
    """The key, fit for an HTTP header. Raises MissingRequirementError; the key is in no message."""
    key = (key or "").strip()
    if not key:
        raise MissingRequirementError(f"{OPENAI_KEY} is not set", SET_KEY)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise MissingRequirementError(f"{OPENAI_KEY} is not a key: it has characters that no key has", SET_KEY)
    return key


def check_base_url(url: str | None) -> str | None:
    """The address of the API, None for its usual one."""
    if not url or not url.strip():
        return None
    if not url.startswith(("https://", "http://")):
        raise UsageError("OPENAI_BASE_URL is not a URL", "It begins with https:// and mostly ends with /v1.")
    return url
