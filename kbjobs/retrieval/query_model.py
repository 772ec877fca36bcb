"""The model that embeds a query: the one that the sources were indexed with, local or online."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kbjobs.config.home import Home
from kbjobs.config.secrets import find_secret
from kbjobs.config.settings import Settings

if TYPE_CHECKING:
    from kbjobs.embedding.embedder import Embedder

RETRIES, TIMEOUT_SECONDS = 2, 30  # a person waits for the answer, so there are fewer retries than in a job


@dataclass(frozen=True, slots=True)
class QueryModel:
    """A model's name, its key in a ledger, its loader, and the command that indexes with it."""

    name: str
    key: str
    is_online: bool
    load: Callable[[], Embedder]
    index_command: str

    @classmethod
    def find(cls, name: str, home: Home, settings: Settings) -> QueryModel:
        """Find the model that embeds queries, local or online, without loading it.

        Args:
            name: a local model or one of the API.
            home: where local models and secrets are.
            settings: the settings in force, which name the engine.

        Raises:
            NotFoundError, MissingRequirementError: there is no such model here, or it is damaged.
        """
        from kbjobs.embedding.online_models import OPENAI_KEY, find_online

        if online := find_online(name):

            def connect() -> Embedder:
                from kbjobs.embedding.openai_embedder import OpenAIEmbedder

                return OpenAIEmbedder(online, find_secret(home, OPENAI_KEY), retries=RETRIES, timeout=TIMEOUT_SECONDS)

            return cls(online.name, online.key, True, connect, index_command(online.name))
        from kbjobs.embedding.choose import load_embedder
        from kbjobs.embedding.identity import model_key, weights_hash
        from kbjobs.embedding.model_catalogue import find_model

        found = find_model(name, home.models)
        key = model_key(found, weights_hash(found, home.engines))

        def load() -> Embedder:
            return load_embedder(name, home.models, home.engines, settings.text("engine"))

        return cls(found.name, key, False, load, index_command(found.name))


def index_command(model: str | None) -> str:
    """The job that indexes with a model, with {} for the source; for None, with the model of the settings."""
    from kbjobs.embedding.online_models import find_online

    if model is None:
        return "index-offline {}"
    return "index-online {}" if find_online(model) else f"index-offline {{}} --model {model}"


def candidates(indexed: Mapping[str, Mapping[str, str]], preferred: str) -> list[str]:
    """Order the models that sources are indexed with by preference.

    Models that all sources have come first, then the preferred one, then local ones before online ones, then those that
    more sources have.

    Args:
        indexed: for each source, the names of the models that it has an index of, by key.
        preferred: the model of the settings.
    """
    from kbjobs.embedding.online_models import find_online

    counts = Counter(name for models in indexed.values() for name in set(models.values()))
    has_any = [models for models in indexed.values() if models]

    def place(name: str) -> tuple[bool, bool, bool, int, str]:
        return (
            counts[name] < len(has_any),
            name != preferred,
            find_online(name) is not None,
            -counts[name],
            name,
        )

    return sorted(counts, key=place)


def names_of(indexed: Iterable[Mapping[str, str]]) -> list[str]:
    """List the names of all models, in order."""
    return sorted({name for models in indexed for name in models.values()})
