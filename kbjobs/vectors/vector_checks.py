"""Checks of the vector servers, for kbjobs doctor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from kbjobs.config.home import Home
from kbjobs.config.secrets import find_secret
from kbjobs.config.settings import Settings
from kbjobs.system.findings import Finding
from kbjobs.vectors.chroma_address import read_address as read_chroma_address


def check_chroma(home: Home) -> Iterator[Finding]:
    """Check whether the Chroma server of the settings answers."""
    address = read_chroma_address(home, Settings(home))
    if address is None:
        return
    from kbjobs.vectors.chroma_server import ChromaServer

    with closing(ChromaServer(address)) as server:
        server.check()
    yield Finding("chroma", "ok", f"{address.url} answers")


def check_pinecone(home: Home) -> Iterator[Finding]:
    """Check whether the Pinecone index of the settings is ready."""
    settings = Settings(home)
    if not settings.text("pinecone.index"):
        return
    from kbjobs.embedding.online_models import TEXT_EMBEDDING_3_SMALL
    from kbjobs.vectors.pinecone_index import PineconeIndex
    from kbjobs.vectors.pinecone_target import PINECONE_KEY, read_target

    target = read_target(settings, "any")
    key = find_secret(home, PINECONE_KEY)
    with closing(
        PineconeIndex(target, key, home.pinecone_hosts, TEXT_EMBEDDING_3_SMALL.dimension, retries=1, timeout=20.0)
    ) as index:
        index.check(index.describe())
    yield Finding("pinecone", "ok", f"the index {target.index} is ready")
