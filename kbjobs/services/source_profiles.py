"""What a source's jobs are to do with it: its own chain and filter, and taking them from another source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from kbjobs.chains.chain import Chain
from kbjobs.config.home import Home
from kbjobs.content.language import parse_filter
from kbjobs.errors import KbjobsError, NotFoundError, UsageError
from kbjobs.phases.scrape import ScrapeParams
from kbjobs.scraping.site_scope import normalise
from kbjobs.services.chain_files import read_chain_with_warnings
from kbjobs.sources.registration import SourceFields, register, register_site
from kbjobs.store.sources import Source, SourceFolder, list_sources


@dataclass(frozen=True, slots=True)
class NewSource:
    """A source to register.

    Args:
        id: its id.
        paths: its folders and files.
        url: a site to be scraped, in place of paths.
        fields: its name, license and so on.
        like: another source, whose licence, chain, filter and scrape options it gets where none are given.
        copy: whether to copy the files into the home.
    """

    id: str
    paths: tuple[Path, ...]
    url: str | None
    fields: SourceFields
    like: str | None
    copy: bool


def add_source(home: Home, wanted: NewSource, ask: Callable[[str], None]) -> tuple[Source, int]:
    """Register a source; returns it and the number of its files.

    Args:
        home: the home.
        wanted: the source.
        ask: see :func:`kbjobs.sources.registration.register`.

    Raises:
        UsageError: neither or both of paths and a url are given, or a value is wrong.
        NotFoundError: the other source, a path or the chain does not exist.
    """
    if bool(wanted.paths) is (wanted.url is not None):
        problem = "paths and --url were both given" if wanted.paths else "neither paths nor --url are given"
        raise UsageError(problem, f"kbjobs sources add {wanted.id} PATH, or --url URL for a site to be scraped.")
    if wanted.url is not None and wanted.copy:
        raise UsageError("--copy is for paths", "Pages that are scraped lie in the home anyway.")
    fields, scrape = wanted.fields, dict[str, Any]()
    if wanted.like is not None:
        folder = SourceFolder(home.sources, wanted.like)
        other = folder.read()
        scrape = {name: value for name, value in folder.read_scrape().items() if name not in ("url", "sitemap")}
        taken = SourceFields(None, other.license or None, None, other.chain or None, other.language_filter or None)
        fields = replace(taken, **fields.given())
    fields = check_fields(home, fields, Path.cwd())
    if wanted.url is None:
        return register(home, wanted.id, wanted.paths, fields, wanted.copy, ask)
    return register_site(home, wanted.id, read_scrape({**scrape, "url": wanted.url}), fields), 0


def check_fields(home: Home, fields: SourceFields, folder: Path) -> SourceFields:
    """Check a source's chain and language filter, and bring them into their normal form.

    Args:
        home: the home, whose chains it may name.
        fields: its name, license and so on.
        folder: the folder that the path of a chain file is relative to.

    Raises:
        UsageError, NotFoundError: the chain or a language does not exist.
    """
    if fields.chain:
        is_file = "/" in fields.chain or fields.chain.endswith(".toml")
        chain = str((folder / Path(fields.chain).expanduser()).absolute()) if is_file else fields.chain
        read_chain_with_warnings(home, chain)
        fields = replace(fields, chain=chain)
    if fields.language_filter:
        fields = replace(fields, language_filter=",".join(parse_filter(fields.language_filter)))
    return fields


def read_scrape(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a scrape as a source remembers them.

    Raises:
        pydantic.ValidationError: there is no such parameter, or it has another type.
        UsageError: its address is not that of a page.
    """
    params = ScrapeParams.model_validate(dict(given))
    url = normalise(str(params.url))
    if url is None:
        raise UsageError(
            f"{str(params.url)[:200]!r} is not the address of a page", "It begins with http:// or https://."
        )
    return {**params.model_dump(exclude_none=True, exclude={"allow_delete", "dry_run"}), "url": url}


def read_own_chains(home: Home, on_damaged: Callable[[str, KbjobsError], None]) -> Iterator[tuple[Chain, str]]:
    """The chain of its own of each source that has one, with the source's id.

    Args:
        home: the home.
        on_damaged: called with the id of a source that cannot be read, or whose chain cannot be, and the error.

    Raises:
        NotFoundError: no source has a chain of its own.
    """
    own = [source for source in list_sources(home.sources, on_damaged) if source.chain]
    if not own:
        raise NotFoundError(
            "no source has a chain of its own",
            "kbjobs sources edit SOURCE --chain NAME gives it one; or name a chain: kbjobs chain NAME --all-sources.",
        )
    read = cache(lambda name: read_chain_with_warnings(home, name)[0])
    for source in own:
        try:
            chain = read(source.chain)
        except KbjobsError as error:
            on_damaged(source.id, error)
        else:
            yield chain, source.id
