"""The front door to chain files: list, read, check, edit, save and delete them.

A draft is the content of a chain file as TOML tables; it need not be a valid chain yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbjobs.chains.diagnostics import Diagnostic
from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError, NotFoundError, UsageError

if TYPE_CHECKING:
    from kbjobs.chains.chain import Chain
    from kbjobs.chains.file.chain_reading import ChainFile
    from kbjobs.services.jobs import JobManager

UNNAMED = "unsaved_chain"
"""The name in the queue of a chain whose draft has no name yet."""


@dataclass(frozen=True, slots=True)
class SavedChain:
    """A chain file: its ``text``, the text as a ``draft`` (None if it is not TOML), and its version.

    ``version`` identifies the text that was read, so that a later change is noticed; None for a built-in chain, which
    cannot be overwritten.
    """

    name: str
    origin: str
    text: str
    draft: dict[str, Any] | None
    version: str | None


def list_chains(home: Home) -> list[dict[str, Any]]:
    """List every chain that has a name, including broken ones, as ``kbjobs chains list --json`` prints them."""
    from kbjobs.chains.file.chain_reading import examine_chain
    from kbjobs.chains.library import list_chain_files

    found = []
    for listed in list_chain_files(home):
        file = examine_chain(listed.path)
        said = file.chain.as_dict() if file.chain else {"error": file.render()}
        about = {"origin": listed.origin, "path": str(listed.path), "broken": file.has_errors}
        found.append(about | said | {"name": listed.name})
    return found


def open_chain(home: Home, name: str) -> SavedChain:
    """Open a chain of the home or a built-in chain by its name, never a file elsewhere. Raises NotFoundError."""
    from kbjobs.chains.file.chain_reading import examine_chain
    from kbjobs.chains.file.chain_saving import version_of
    from kbjobs.chains.file.editing import read_document
    from kbjobs.chains.library import list_chain_files

    wanted = name.replace("-", "_")
    for listed in list_chain_files(home):
        if listed.name == wanted:
            text = examine_chain(listed.path).text
            try:
                draft: dict[str, Any] | None = read_document(text)
            except UsageError:
                draft = None
            version = version_of(text) if listed.origin == "home" else None
            return SavedChain(listed.name, listed.origin, text, draft, version)
    raise NotFoundError(f"there is no chain {name!r}", "kbjobs chains list shows them.")


def read_file(home: Home, name: str) -> ChainFile:
    """Read a chain file by its path or its chain's name, with all its mistakes. Raises NotFoundError."""
    from kbjobs.chains.file.chain_reading import examine_chain
    from kbjobs.chains.library import find_chain_file

    return examine_chain(find_chain_file(home, name))


def read_chain_with_warnings(home: Home, name: str) -> tuple[Chain, str]:
    """Read a valid chain, and its warnings as one text. Raises NotFoundError, ChainFileError."""
    from kbjobs.chains.file import chain_reading
    from kbjobs.chains.library import find_chain_file

    return chain_reading.read_chain_with_warnings(find_chain_file(home, name))


def built_in_chains() -> list[Chain]:
    """The chains that come with kbjobs, by name."""
    from kbjobs.chains.file.chain_reading import read_built_in_chains

    return read_built_in_chains()


def built_in_chain(name: str) -> Chain:
    """One of the chains that come with kbjobs."""
    from kbjobs.chains.file.chain_reading import read_chain
    from kbjobs.chains.library import find_built_in

    return read_chain(find_built_in(name))


def chain_schema() -> dict[str, Any]:
    """The JSON Schema of chain files, for an editor."""
    from kbjobs.chains.file import schema

    return schema.chain_schema()


def write_new_chain(folder: Path, name: str, jobs: Sequence[str]) -> list[Path]:
    """Write a new chain file, and the schema next to it if it is missing.

    Args:
        folder: the folder to write into.
        name: the chain's name, which is also the file's.
        jobs: the job types, one for each phase.

    Returns:
        The files that were written.

    Raises:
        UsageError: a file of that name exists.
    """
    from kbjobs.chains.file.drafting import draft_chain, write_chain

    return write_chain(folder, name, draft_chain(name, jobs))


def read_draft(text: str) -> dict[str, Any]:
    """Read the TOML tables of a chain file's text. Raises UsageError if it is not TOML."""
    from kbjobs.chains.file.editing import read_document

    return read_document(text)


def write_draft(text: str, draft: Mapping[str, Any], origins: Sequence[int | None] = ()) -> str:
    """Write a draft into a chain file's text, keeping its comments; see :func:`kbjobs.chains.file.editing.edit_text`.

    Args:
        text: the file's old text.
        draft: the tables that the new text should have.
        origins: for each phase of the draft, its number in the old text, from 0; None for a new phase.

    Returns:
        The new text.
    """
    from kbjobs.chains.file.editing import edit_text

    return edit_text(text, draft, origins)


def save_chain(home: Home, name: str, text: str, before: str | None) -> str:
    """Save a chain in the home; see :func:`kbjobs.chains.file.chain_saving.save_chain`.

    Args:
        home: the home to save into.
        name: the chain's name.
        text: the file's text.
        before: the version to replace, None if the chain is new.

    Returns:
        Its new version.

    Raises:
        UsageError: the name or the text cannot be a chain's.
        ConflictError: the home has another version.
        UnavailableError: the file cannot be written.
    """
    from kbjobs.chains.file import chain_saving

    chain_saving.save_chain(home, name, text, before)
    return chain_saving.version_of(text)


def delete_chain(home: Home, name: str) -> None:
    """Delete a chain file of the home. Raises NotFoundError."""
    from kbjobs.chains.file import chain_saving

    chain_saving.delete_chain(home, name)


def check_text(manager: JobManager, text: str, sources: Sequence[str] = ()) -> list[Diagnostic]:
    """Check a chain file's text as ``kbjobs chains validate`` does.

    Args:
        manager: the home's jobs and settings.
        text: the file's text.
        sources: ids of the sources to check it with; by default the chain's own.
    """
    file = _examine(text)
    return list(file.diagnostics) + look_at_state(manager, file.chain, sources)


def look_at_state(manager: JobManager, chain: Chain | None, named: Sequence[str] = ()) -> list[Diagnostic]:
    """Check a chain against the sources it will run on, as a submit does.

    Args:
        manager: the home's jobs and settings.
        chain: the chain; None if its file has mistakes, and then nothing is checked.
        named: ids of sources; by default the chain's own, or none in particular.

    Raises:
        NotFoundError: a source in ``named`` does not exist, and the chain does not create it.
    """
    if chain is None:
        return []
    more: list[Diagnostic] = []
    for source_id in named or chain.sources or (None,):
        try:
            more += manager.check_chain(chain, source_id)
        except KbjobsError as error:
            if named or source_id is None:
                raise
            path = ("source",) if chain.sources == (source_id,) else ("sources", chain.sources.index(source_id))
            more.append(Diagnostic("state", error.message, hint=error.hint, path=path, exit_code=error.exit_code))
    return more


def read_chain_text(text: str) -> Chain:
    """Read a chain from a text. Raises ChainFileError, a UsageError, with all its mistakes."""
    from kbjobs.chains.file.chain_reading import parse_chain

    return parse_chain(text, "the chain", UNNAMED)


def _examine(text: str) -> ChainFile:
    from kbjobs.chains.file.chain_reading import examine_text

    return examine_text(text, "the chain", UNNAMED)
