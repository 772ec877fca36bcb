"""``kbjobs report``: the night on one screen."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._render import print_json
from kbjobs.commands._report_formats import ReportFormat, write_report
from kbjobs.commands._times import parse_duration
from kbjobs.config.home import current_home
from kbjobs.services.night_report import report_night

app = App()


@app.command()
def report(
    since: Annotated[str, typer.Option(help="How far to look back: 12h, 24h, 7d.", metavar="DURATION")] = "24h",
    form: Annotated[ReportFormat, typer.Option("--format", help="How to write it.")] = ReportFormat.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Summarise the last hours: what ran, what failed and why, what it cost, and what to do.

    Example:  kbjobs report --since 12h

    Example:  kbjobs report --format html > night.html
    """
    found = report_night(current_home(), parse_duration(since))
    if as_json:
        print_json(found.as_dict())
    else:
        print(write_report(found, form), end="")
