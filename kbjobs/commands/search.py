"""``kbjobs search``: find passages by meaning."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from kbjobs.commands._errors import printable
from kbjobs.commands._render import DamagedSources, print_json, say
from kbjobs.errors import UsageError
from kbjobs.settings import Settings, current_home
from kbjobs.sources import search as find

app = typer.Typer(add_completion=False)
SHOWN = 400  # characters of a passage


@app.command()
def search(
    words: Annotated[
        list[str], typer.Argument(metavar='[SOURCE] "WORDS"', help="A source, and words.", show_default=False)
    ],
    count: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many passages.")] = 10,
    model: Annotated[
        str | None, typer.Option(help="Default: the one the sources were indexed with.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Find passages by meaning, in one source or in all.

    A damaged source is named, the others are searched: then it exits 3.

    Example:  kbjobs search wiki "how long to boil water" -k 5
    """
    if len(words) > 2:
        raise UsageError("too many arguments", 'Put the words in quotes: kbjobs search wiki "boil water".')
    home = current_home()
    source = words[0] if len(words) == 2 else None
    damaged = DamagedSources()
    results = find(home, Settings(home), words[-1], source, count, model, say, damaged)
    if as_json:
        print_json([asdict(result) for result in results])
    for result in results if not as_json else ():
        passage = " ".join(result.text.removeprefix(result.title).split())
        print(f"{result.rank:>2}. {result.score:.3f}  {printable(result.title)}  [{result.source}]")
        print(f"    {printable(result.url)}")
        print(f"    {printable(passage[:SHOWN])}{'…' if len(passage) > SHOWN else ''}")
    sys.stdout.flush()
    damaged.end()
