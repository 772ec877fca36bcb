"""``kbjobs doctor``: is everything there that a job will need?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._render import print_json, print_table
from kbjobs.config.home import current_home
from kbjobs.errors import ExitCode
from kbjobs.services.doctor import examine

app = App()


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False) -> None:
    """Check everything that jobs need, and say how to fix what is missing. Changes nothing. Exits 1 on a problem.

    Example:  kbjobs doctor
    """
    findings = examine(current_home())
    is_well = not any(finding.level == "problem" for finding in findings)
    if as_json:
        print_json({"ok": is_well, "findings": [asdict(finding) for finding in findings]})
    else:
        rows = [(finding.level, finding.check, finding.text, finding.remedy) for finding in findings]
        print_table(("", "check", "", "remedy"), rows)
    if not is_well:
        raise typer.Exit(ExitCode.FAILED)
