"""``kbjobs documents``: what was read of a source, page by page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from kbjobs.commands._app import App
from kbjobs.commands._arguments import KIND, SINCE, SOURCE, TAG, UNTIL
from kbjobs.commands._render import print_json, say
from kbjobs.commands._table import Cell, Column, print_list
from kbjobs.config.home import current_home
from kbjobs.errors import UsageError
from kbjobs.services import documents as front
from kbjobs.store.document_filter import DocumentFilter

app = App()

DOCUMENT_COLUMNS = (
    Column("NO", is_number=True),
    Column("TITLE", good=40, least=12),
    Column("LANG"),
    Column("PUBLISHED"),
    Column("AUTHOR", good=16, least=6),
    Column("WORDS", is_number=True),
    Column("PASSAGES", is_number=True),
)
LEFT_OUT_COLUMNS = (Column("REASON", good=40, least=16), Column("ADDRESS OR FILE", good=40, least=16, keeps_end=True))


@app.callback()
def documents() -> None:
    """List the documents of a source; show what is kept of one, how it was cut, and what was left out.

    Example:  kbjobs documents show wiki 12 --dropped
    """


@app.command("list")
def list_(
    source_id: SOURCE,
    language: Annotated[
        str | None, typer.Option("--lang", metavar="TAG", help="Only this language.", show_default=False)
    ] = None,
    tag: TAG = None,
    since: SINCE = None,
    until: UNTIL = None,
    kind: KIND = None,
    failed: Annotated[bool, typer.Option("--failed", help="List instead what could not be read, and why.")] = False,
    skipped: Annotated[
        bool, typer.Option("--skipped", help="List instead what was left out on purpose, and why.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything known of each document as a line of JSON.")
    ] = False,
) -> None:
    """List a source's documents: title, language, date, author, words and passages.

    "kbjobs documents show" takes the number in the first column. A date is a year, a month or a day: 2024, 2024-05,
    2024-05-17. A list by date leaves out documents without a date.

    Example:  kbjobs documents list wiki --lang de --since 2024-05

    Example:  kbjobs documents list wiki --type pdf
    """
    if failed or skipped:
        left_out = front.list_left_out(current_home(), source_id)
        chosen = [one for one in left_out if (failed if one.is_failure else skipped)]
        nothing = f"Nothing of source {source_id} {'failed' if failed else 'was skipped'}."
        print_left_out(chosen, nothing, as_json=as_json)
        return
    wanted = DocumentFilter(language.lower() if language else None, tag, since, until, kind).check()
    print_documents(source_id, front.documents(current_home(), source_id, wanted), wanted, as_json=as_json)


def print_documents(source_id: str, found: Iterable[dict[str, Any]], wanted: DocumentFilter, *, as_json: bool) -> None:
    """Print documents as a table or as JSON lines."""
    if as_json:
        for document in found:
            print(json.dumps(document, ensure_ascii=False))
        return
    rows = [
        (
            str(one["number"]),
            Cell(one["title"], address=one["url"] or ""),
            f"({one['language']})" if one["filtered"] else one["language"] or "",
            one["published"] or "",
            ", ".join((one["authors"] or ())[:2]) + (" and others" if len(one["authors"] or ()) > 2 else ""),
            f"{one['words']:,}",
            f"{one['passages']:,}",
        )
        for one in found
    ]
    if rows:
        print_list(DOCUMENT_COLUMNS, rows)
    elif wanted == DocumentFilter():
        say(f"No documents yet. Next: kbjobs run metadata {source_id}")
    else:
        say(f"No document matches. To list all: kbjobs documents list {source_id}")


@app.command()
def show(
    source_id: SOURCE,
    document: Annotated[
        str,
        typer.Argument(metavar="DOC", help="Number in the list, id, path or URL of the document.", show_default=False),
    ],
    passages: Annotated[
        bool, typer.Option("--passages", help="Show the passages as they were cut and embedded.")
    ] = False,
    dropped: Annotated[bool, typer.Option("--dropped", help="Show what was left out of the page, and why.")] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the document in the browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Show the text that kbjobs keeps of a document, with its headings, read again from its file.

    If the file is gone, the text is put together from the passages, and a note says so.

    Example:  kbjobs documents show wiki 12
    """
    if open_:
        address = front.find_document(current_home(), source_id, document)["url"]
        if not address:
            raise UsageError(
                f"document {document!r} has no address to open",
                f"Give its source an address: kbjobs sources edit {source_id} --base-url URL",
            )
        typer.launch(address)
        say(f"Opened {address}")
        return
    shown = front.show_document(current_home(), source_id, document, explains=dropped or as_json)
    if as_json:
        print_json(shown.as_dict())
        return
    say(_describe(shown.facts))
    if dropped:
        _print_dropped(shown)
    elif passages:
        for passage in shown.passages:
            page = f", page {passage.page}" if passage.page else ""
            print(f"\n--- passage {passage.number:,}{page}: {passage.tokens:,} tokens, cut for {passage.profile}")
            print(passage.text)
        if not shown.passages:
            say(f"It has no passages yet. Next: kbjobs run index-offline {source_id}")
    elif shown.read.problem:
        say(f"{shown.read.problem}; this text is put together from its passages.")
        first = [passage for passage in shown.passages if passage.profile == shown.passages[0].profile]
        print("\n\n".join(passage.text for passage in first))
    else:
        for block in shown.read.blocks:
            print(f"\n{'#' * block.level} {block.text}" if block.level else f"\n{block.text}")


def _describe(facts: dict[str, Any]) -> str:
    told = [
        facts["title"],
        facts["language"],
        facts["published"],
        f"changed {facts['modified']}" if facts["modified"] else "",
        ", ".join(facts["authors"] or ()),
        facts["site"],
        facts["licence"],
        f"{facts['words']:,} words",
        f"{facts['passages']:,} passages",
        facts["url"],
    ]
    return " · ".join(filter(None, told))


def _print_dropped(shown: front.ShownDocument) -> None:
    if shown.read.problem:
        say(f"{shown.read.problem}; nothing is known of what was left out of it.")
    elif not shown.read.left_out:
        say("Nothing was left out.")
    for reason, text in shown.read.left_out:
        print(f"\n[{reason}]\n{text}")


def print_left_out(found: Sequence[front.LeftOut], nothing: str, *, as_json: bool) -> None:
    """Print what became no document, and why; where there is nothing, say so."""
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        print_list(LEFT_OUT_COLUMNS, [(one.reason, Cell(one.place, address=one.place)) for one in found])
        counts = Counter(one.reason for one in found)
        say("; ".join(f"{count:,} {reason}" for reason, count in counts.most_common(10)))
    else:
        say(nothing)
