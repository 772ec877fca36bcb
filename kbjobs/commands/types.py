"""``kbjobs types``: every job type."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._render import print_json, print_table
from kbjobs.phases.registry import job_types

app = typer.Typer()


@app.command()
def types(as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False) -> None:
    """Every job type with its parameters and rules.

    Example:  kbjobs types --json
    """
    kinds = job_types()
    if as_json:
        print_json(
            [
                {
                    "name": kind.name,
                    "command": f"kbjobs run {kind.command} SOURCE",
                    "label": kind.label,
                    "description": kind.description,
                    "category": kind.category,
                    "weight": kind.weight,
                    "before": kind.before,
                    "after": kind.after,
                    "conflicts": kind.conflicts,
                    "resumable": kind.can_resume,
                    "parameters": kind.params.model_json_schema()["properties"],
                }
                for kind in kinds
            ]
        )
        return
    rows = [
        (
            kind.command,
            kind.label,
            kind.category,
            " ".join(f"--{name.replace('_', '-')}" for name in kind.params.model_fields),
            kind.description,
        )
        for kind in kinds
    ]
    print_table(("type", "label", "category", "options", ""), rows)
