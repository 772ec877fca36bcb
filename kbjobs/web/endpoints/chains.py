"""Chain files: list, show, save, delete."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from kbjobs.services import chain_files
from kbjobs.web.endpoint import Body, Call, Endpoint
from kbjobs.web.endpoints.builder import ChainText


class Saved(Body):
    """A chain file, and the version of what it takes the place of; null where nothing is there."""

    toml: ChainText
    version: Annotated[str, Field(max_length=64)] | None = None


def list_chains(asked: Call) -> Any:
    """List every chain that can be run by its name."""
    return {"chains": chain_files.list_chains(asked.home)}


def show_chain(asked: Call) -> Any:
    """Show a chain's text, and the text as a draft."""
    found = chain_files.open_chain(asked.home, asked.path["name"])
    return {
        "name": found.name, "origin": found.origin, "toml": found.text, "draft": found.draft, "version": found.version,
    }  # fmt: skip


def save_chain(asked: Call) -> Any:
    """Save a chain into chains/ of the home."""
    name, body = asked.path["name"], asked.body
    return {"name": name, "version": chain_files.save_chain(asked.home, name, body.toml, body.version)}


def delete_chain(asked: Call) -> Any:
    """Delete a chain from chains/ of the home."""
    chain_files.delete_chain(asked.home, asked.path["name"])
    return {"deleted": asked.path["name"]}


ENDPOINTS = (
    Endpoint("GET", "/api/chains", "Every chain that can be run by its name", list_chains),
    Endpoint("GET", "/api/chains/{name}", "One chain", show_chain, errors=(404,)),
    Endpoint("PUT", "/api/chains/{name}", "Save a chain", save_chain, body=Saved, errors=(409,)),
    Endpoint("DELETE", "/api/chains/{name}", "Delete a chain of the home", delete_chain, errors=(404,)),
)
