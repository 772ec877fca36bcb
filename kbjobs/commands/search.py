"""``kbjobs search``: find passages by meaning and by words."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._arguments import KIND, SINCE, TAG, UNTIL
from kbjobs.commands._asking import NO_INPUT
from kbjobs.commands._completion import complete_models, complete_sources
from kbjobs.commands._errors import printable, say_error
from kbjobs.commands._judgements import print_judgements
from kbjobs.commands._links import takes_links
from kbjobs.commands._render import DamagedSources, is_terminal, open_console, print_json, say
from kbjobs.commands._table import clean, link_text, measure, print_line, shorten, wrap_text
from kbjobs.config.home import current_home
from kbjobs.errors import KbjobsError, UsageError

if TYPE_CHECKING:
    from kbjobs.retrieval.hits import Hit, Query
    from kbjobs.retrieval.pinecone_search import PineconeSearcher
    from kbjobs.retrieval.searcher import Searcher


class SearchStore(StrEnum):
    """Where vectors are compared."""

    HOME = "home"
    PINECONE = "pinecone"


app = App()
SHOWN = 400  # characters of a passage
LEAST_TITLE = 12  # cells that a title keeps on a narrow terminal


class SearchMode(StrEnum):
    """What is compared."""

    HYBRID = "hybrid"
    VECTORS = "vectors"
    WORDS = "words"


@app.command()
def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar='[SOURCE] ["WORDS"]',
            help="A source, and the words to find.",
            show_default=False,
            autocompletion=complete_sources,
        ),
    ] = None,
    count: Annotated[int, typer.Option("-k", min=1, max=1_000_000, help="Number of hits.")] = 10,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Search this source; may be given several times.", metavar="ID", autocompletion=complete_sources
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Local model to search with (default: the one the sources were indexed with).",
            show_default=False,
            autocompletion=complete_models,
        ),
    ] = None,
    mode: Annotated[
        SearchMode, typer.Option(help="Search by meaning and by words, or by one of them.")
    ] = SearchMode.HYBRID,
    passages: Annotated[
        bool, typer.Option("--passages", help="Show all passages of a document, not only the best.")
    ] = False,
    language: Annotated[str | None, typer.Option("--lang", help="Only documents of this language: en, pt-br.")] = None,
    path: Annotated[
        str | None, typer.Option(help="Only documents whose path begins like this.", metavar="PREFIX")
    ] = None,
    tag: TAG = None,
    since: SINCE = None,
    until: UNTIL = None,
    kind: KIND = None,
    store: Annotated[SearchStore, typer.Option(help="Search in the home, or in Pinecone.")] = SearchStore.HOME,
    queries: Annotated[
        Path | None,
        typer.Option("--judge", help="Score a file of queries whose right documents are known.", metavar="FILE"),
    ] = None,
    no_input: NO_INPUT = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Find passages by meaning and by words, in one source, several or all. Shows the best passage of each document.

    Every passage is compared. Without words, a terminal gets a prompt.

    By default, the rank of a hit joins its place by meaning and its place by words. The cosine is the similarity of
    meaning alone (1: the same), so it may rise from one hit to the next. "words only" marks a passage that only its
    words found.

    If a source is damaged, it is named, the others are searched, and the exit code is 3.

    Example:  kbjobs search wiki "how long to boil water" -k 5

    Example:  kbjobs search wiki "how long to boil water" --store pinecone

    Example:  kbjobs search wiki --judge queries.jsonl --mode vectors
    """
    given = list(words or [])
    if queries is not None and len(given) > 1:
        raise UsageError("words and --judge exclude each other", "The words are in the file.")
    if len(given) > 2:
        raise UsageError("too many arguments", 'Put the words in quotes: kbjobs search wiki "boil water".')
    from kbjobs.retrieval.hits import Query
    from kbjobs.services.search import open_pinecone_searcher, open_searcher
    from kbjobs.store.document_filter import DocumentFilter
    from kbjobs.store.passages import Filter

    home = current_home()
    named = given[0] if len(given) == 2 or (given and queries is not None) else None
    sources = [*([named] if named is not None else []), *(source or [])]
    damaged = DamagedSources()
    which = Filter(language.lower() if language else None, path)
    documents = DocumentFilter(None, tag, since, until, kind).check()
    if store is SearchStore.PINECONE and documents != DocumentFilter():
        raise UsageError("--tag, --type, --since and --until search in the home alone", "Leave out --store pinecone.")

    def query(text: str) -> Query:
        return Query(text, tuple(sources), count, model, mode.value, which, passages, documents)

    if store is SearchStore.PINECONE:
        opened: Searcher | PineconeSearcher = open_pinecone_searcher(home, say)
    else:
        opened = open_searcher(home, say, damaged)
    with opened as searcher:
        if queries is not None:
            print_judgements(queries, lambda text: searcher.search(query(text)), as_json=as_json)
            sys.stdout.flush()
            damaged.end()
            return
        if not given:
            if no_input or not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
                raise UsageError("no words were given", 'For example: kbjobs search "boil water".')
            _prompt(searcher, query)
            return
        hits = searcher.search(query(given[-1]))
        if as_json:
            print_json([asdict(hit) for hit in hits])
        else:
            _show(hits)
    sys.stdout.flush()
    damaged.end()


def _show(hits: list[Hit]) -> None:
    if not hits:
        say("No passages found.")
    for hit in hits:
        passage = " ".join(hit.text.removeprefix(hit.title).split())
        score = "words only" if hit.score is None else f"cosine {hit.score:.3f}"
        more = f"  +{hit.more} more" if hit.more else ""
        _print_marked(f"{hit.rank:>2}. ", hit, f"  [{hit.source}]  {score}{more}", is_title=True)
        if hit.url:  # an entry of an archive may have no address
            print(f"    {printable(hit.url)}")
        _print_marked("    ", hit, f"{printable(passage[:SHOWN])}{'…' if len(passage) > SHOWN else ''}")


def _print_marked(start: str, hit: Hit, rest: str, *, is_title: bool = False) -> None:
    """Print a line; on a terminal with the words that matched in bold, and the title as a link.

    Args:
        start: what stands before the title, if it is the line with the title.
        hit: whose line it is.
        rest: what follows.
        is_title: whether the title stands between them.
    """
    title = clean(hit.title) if is_title else ""
    if not is_terminal(sys.stdout):
        print(f"{start}{title}{rest}")
        return
    from rich.text import Text

    console = open_console(sys.stdout)
    title = shorten(title, max(LEAST_TITLE, console.width - len(start) - measure(rest)))
    text = link_text(title, "", hit.url, takes_links(sys.stdout)).append(rest)
    for word in hit.matched:
        text.highlight_regex(rf"(?<!\w){re.escape(printable(word))}(?!\w)", "bold")
    for number, line in enumerate(wrap_text(console, text, console.width - len(start))):
        print_line(console, Text(start if number == 0 else " " * len(start)).append_text(line))


def _prompt(searcher: Searcher | PineconeSearcher, query: Callable[[str], Query]) -> None:
    """Ask for words until there are none; a number opens the address of that hit."""
    import webbrowser

    say("Type words to search. A number opens that hit's address, an empty line ends.")
    hits: list[Hit] = []
    while True:
        try:
            line = input("search> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not line:
            return
        if line.isdigit() and 1 <= int(line) <= len(hits):
            webbrowser.open(hits[int(line) - 1].url)
            continue
        try:
            hits = searcher.search(query(line))
        except KbjobsError as error:
            say_error(error)
        else:
            _show(hits)
