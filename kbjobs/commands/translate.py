"""``kbjobs translate``: a text in another language, on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from kbjobs.commands._app import App
from kbjobs.commands._render import print_json, say
from kbjobs.config.home import current_home

app = App()


@app.command()
def translate(
    text: Annotated[
        str, typer.Argument(metavar="TEXT|FILE|-", help="A text, a file, or - for stdin.", show_default=False)
    ],
    source: Annotated[
        str, typer.Option("--from", help="The language of the text: its code or English name.", metavar="CODE")
    ],
    target: Annotated[str, typer.Option("--to", help="The target language.", metavar="CODE")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the translation to this file, whole or not at all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Translate a text with the installed language packs. Nothing leaves this machine.

    Paragraphs, white space, HTML tags, code, addresses and placeholders stay as they are. A long text is translated
    piece by piece. If no pack leads directly from one language to the other, the text goes through English.

    Example:  kbjobs translate "Boil the water." --from en --to es

    Example:  kbjobs translate guide.md --from English --to French --output guide.fr.md

    Example:  kbjobs logs 12 | kbjobs translate - --from en --to sw
    """
    from kbjobs.services.translation import open_text, translator, writing_text

    found = translator(current_home(), source, target)
    route = found.route
    facts = {
        "from": route[0].pair.source,
        "to": route[-1].pair.target,
        "packs": [{"from": pack.pair.source, "to": pack.pair.target, "version": pack.record.version} for pack in route],
    }
    with open_text(text) as pieces:
        translated = found.translate(pieces)
        if output is not None:
            with writing_text(output) as write:
                for piece in translated:
                    write(piece)
            if as_json:
                print_json({**facts, "output": str(output)})
            else:
                say(f"{output}: {route[0].pair.source} to {route[-1].pair.target}.")
        elif as_json:
            _stream_json(facts, translated)
        else:
            _stream(translated)


def _stream(pieces: Iterable[str]) -> None:
    end = "\n"
    for piece in pieces:
        print(piece, end="", flush=True)
        end = "" if piece.endswith("\n") else "\n"
    print(end, end="")


def _stream_json(facts: dict[str, Any], pieces: Iterable[str]) -> None:
    """One document, written as it comes: a long text is never in memory whole."""
    print(json.dumps(facts, ensure_ascii=False)[:-1], end=', "text": "')
    for piece in pieces:
        print(json.dumps(piece, ensure_ascii=False)[1:-1], end="", flush=True)
    print('"}')
