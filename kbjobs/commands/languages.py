"""``kbjobs languages``: the language packs that are here, and those that could be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import typer

from kbjobs.commands._app import App
from kbjobs.commands._completion import complete_packs
from kbjobs.commands._job_commands import JobCommand, JobGroup
from kbjobs.commands._render import print_json, print_table, say
from kbjobs.config.home import current_home
from kbjobs.errors import ExitCode
from kbjobs.formatting import counted


class LanguagesGroup(JobGroup):
    """The commands below, and the job type language_download."""

    jobs: ClassVar[Mapping[str, JobCommand]] = {
        "download": JobCommand(
            "language_download",
            (
                "kbjobs languages download es",
                "kbjobs languages download English --from Spanish",
                'kbjobs languages download "Chinese (traditional)" --detach',
            ),
        )
    }


app = App(cls=LanguagesGroup)

JSON = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.callback()
def languages() -> None:
    """List, download and remove the language packs that kbjobs translate uses.

    Example:  kbjobs languages list
    """


@app.command("list")
def list_languages(
    available: Annotated[
        bool,
        typer.Option("--available", help="List what the index offers (setting languages_index) and what is installed."),
    ] = False,
    as_json: JSON = False,
) -> None:
    """List the installed language packs: version, size, hash and, if the pack says so, licence.

    Exits 3 if one of them is damaged.

    Example:  kbjobs languages list

    Example:  kbjobs languages list --available
    """
    from kbjobs.services.languages import DamagedLanguagePackError, list_offers, list_packs

    home = current_home()
    damaged: list[DamagedLanguagePackError] = []
    packs = list_packs(home, damaged)
    if available:
        offers = list_offers(home)
        if as_json:
            print_json(offers)
        else:
            print_table(("from", "to", "languages", "version", "here"), [_offer_row(offer) for offer in offers])
        return
    if as_json:
        print_json([pack.as_dict() for pack in packs])
    elif packs:
        columns = ("from", "to", "languages", "version", "size", "licence", "fetched", "sha256")
        print_table(columns, [_pack_row(pack.as_dict()) for pack in packs])
    elif not damaged:
        say("No language packs are installed. kbjobs languages download es installs those for Spanish.")
    for error in damaged:
        say(f"Left out: {error.message}. {error.hint}")
    if damaged:
        raise typer.Exit(ExitCode.PARTIAL)


@app.command()
def remove(
    language: Annotated[
        str,
        typer.Argument(
            metavar="CODE",
            help="The language: its code or English name.",
            show_default=False,
            autocompletion=complete_packs,
        ),
    ],
    source: Annotated[
        str | None, typer.Option("--from", help="Remove only the pack from this language.", metavar="CODE")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Remove the language packs from and to a language; with --from, only one direction.

    Example:  kbjobs languages remove es

    Example:  kbjobs languages remove en --from Spanish
    """
    from kbjobs.services.languages import remove as remove_packs

    removed = remove_packs(current_home(), language, source)
    if as_json:
        print_json(removed.as_dict())
        return
    names = ", ".join(str(pair) for pair in removed.pairs)
    say(f"{counted(len(removed.pairs), 'language pack')} removed ({names}): {_mega(removed.bytes)} freed.")


def _pack_row(pack: dict[str, Any]) -> tuple[str, ...]:
    return (
        pack["from"],
        pack["to"],
        f"{pack['from_name']} to {pack['to_name']}",
        pack["version"],
        _mega(pack["unpacked"]),
        pack["licence"] or "not told",
        pack["fetched_at"][:10],
        pack["sha256"][:12],
    )


def _offer_row(offer: dict[str, Any]) -> tuple[str, ...]:
    there = offer["here"]
    installed = "" if there is None else "yes" if there == offer["version"] else f"version {there}"
    return (offer["from"], offer["to"], f"{offer['from_name']} to {offer['to_name']}", offer["version"], installed)


def _mega(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
