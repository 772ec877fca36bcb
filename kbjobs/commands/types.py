"""``kbjobs types``: every job type."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kbjobs.chains.chain import Chain
from kbjobs.chains.file.reading import read_built_in_chains
from kbjobs.commands._render import print_json, print_table
from kbjobs.phases.registry import job_types

app = typer.Typer()


@app.command()
def types(as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False) -> None:
    """Every job type with its parameters and rules, single and combined.

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
            + [_combined(chain) for chain in read_built_in_chains()]
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
    rows += [
        (
            chain.name.replace("_", "-"),
            _label(chain.name),
            "combined",
            " → ".join(phase.job_type.command for phase in chain.phases),
            chain.description,
        )
        for chain in read_built_in_chains()
    ]
    print_table(("type", "label", "category", "options", ""), rows)


def _combined(chain: Chain) -> dict[str, Any]:
    return {
        "name": chain.name,
        "command": f"kbjobs run {chain.name.replace('_', '-')} SOURCE",
        "label": _label(chain.name),
        "description": chain.description,
        "category": "combined",
        "phases": [phase.job_type.name for phase in chain.phases],
        "resumable": chain.resumable,
        "parameters": {},
    }


def _label(name: str) -> str:
    """``reindex_online`` reads Reindex (Online)."""
    words = name.replace("_", " ").title()
    return words.replace(" Online", " (Online)").replace(" Offline", " (Offline)")
