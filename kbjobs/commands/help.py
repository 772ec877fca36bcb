"""``kbjobs help``: pages of the documentation in the terminal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._completion import complete_topics
from kbjobs.commands._render import is_terminal, open_console, print_json, print_table, say
from kbjobs.services.help_pages import HelpTopic, find_topics, list_topics

app = App()


@app.command()
def help_command(
    topic: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOPIC…]",
            help="A page, a symptom, or words of its title (default: list them).",
            show_default=False,
            autocompletion=complete_topics,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Print a page of the documentation, or the section on a symptom.

    Example:  kbjobs help howto/zim

    Example:  kbjobs help disk full
    """
    found = find_topics(" ".join(topic)) if topic else list_topics()
    if as_json:
        print_json([{"topic": one.slug, "title": one.title, "text": one.text} for one in found])
    elif topic and len(found) == 1:
        _print_page(found[0])
    else:
        print_table(("topic", "title"), [(one.slug, one.title) for one in found])
        say("kbjobs help TOPIC prints one of them.")


def _print_page(topic: HelpTopic) -> None:
    if not is_terminal(sys.stdout):
        print(topic.text.rstrip())
        return
    from rich.markdown import Markdown

    open_console(sys.stdout).print(Markdown(topic.text))
