"""``kbjobs types``: every job type."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._render import print_json, print_table
from kbjobs.phases.registry import job_types
from kbjobs.services.chain_files import built_in_chains

app = App()


@app.command()
def types(as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False) -> None:
    """List every job type, single and combined, with its parameters and rules.

    Example:  kbjobs types --json
    """
    kinds = job_types()
    if as_json:
        chains = built_in_chains()
        print_json([kind.as_dict() for kind in kinds] + [chain.as_type() for chain in chains])
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
    rows += [
        (
            chain.name.replace("_", "-"),
            chain.label,
            "combined",
            " → ".join(phase.job_type.command for phase in chain.phases),
            chain.description,
        )
        for chain in built_in_chains()
    ]
    print_table(("type", "label", "category", "options", ""), rows)
