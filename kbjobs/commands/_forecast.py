"""``--dry-run`` of a chain: what each phase is expected to do, what it costs and how long it takes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kbjobs.commands._help import WHAT
from kbjobs.commands._render import is_terminal, print_json, print_table, say
from kbjobs.commands._table import Column, print_list
from kbjobs.config.prices import format_dollars
from kbjobs.errors import worst
from kbjobs.formatting import duration

if TYPE_CHECKING:
    from kbjobs.chains.chain import Chain
    from kbjobs.chains.forecast import Forecast, NamedForecast

DRY_RUN = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show what each phase would do (documents, passages, tokens, price, time); queue nothing.",
        rich_help_panel=WHAT,
    ),
]
COLUMNS = (
    Column("PHASE", good=16, least=9),
    Column("DOCUMENTS", is_number=True),
    Column("PASSAGES", is_number=True),
    Column("TO EMBED", is_number=True),
    Column("TOKENS", is_number=True),
    Column("USD", is_number=True),
    Column("TIME", is_number=True),
)


def show_forecast(subjects: Sequence[tuple[Chain, str | None]], as_json: bool, code: int) -> None:
    """Print what chains would do.

    Args:
        subjects: each chain with the id of a source; None stands for a job without one.
        as_json: whether to print JSON.
        code: an exit code found so far.

    Raises:
        typer.Exit: always, with the worst of ``code`` and the exit codes of jobs that would be refused.
    """
    from kbjobs.services.jobs import get_job_manager

    manager = get_job_manager()
    found = [manager.forecast(chain, source) for chain, source in subjects]
    if as_json:
        print_json([one.as_dict() for one in found])
    else:
        for one in found:
            _print(one)
    raise typer.Exit(worst([code, *(one.refusal.exit_code for one in found if one.refusal is not None)]))


def _print(found: Forecast) -> None:
    name = found.chain.replace("_", "-") + (f" on {found.source}" if found.source else "")
    rows = [_row(phase) for phase in found.phases]
    if is_terminal(sys.stdout):
        print_list(COLUMNS, [row[:-1] for row in rows])
        sys.stdout.flush()
        for phase, *_, note in rows:
            if note:
                say(f"{phase}: {note}")
    else:
        print_table((), rows)
    price = "" if found.price_usd is None else f"; at most about {format_dollars(found.price_usd)} USD"
    time = "; its time is not known" if found.seconds is None else f"; about {duration(found.seconds)}"
    if found.seconds is not None and found.untimed:
        time += f", without {', '.join(found.untimed)}, never run here"
    say(f"Dry run of {name}: nothing was queued{price}{time}.")
    for note in found.notes:
        say(note)
    if found.refusal is not None:
        hint = f" {found.refusal.hint}" if found.refusal.hint else ""
        say(f"A submit would be refused now: {found.refusal.message}{hint}")


def _row(phase: NamedForecast) -> tuple[str, ...]:
    one = phase.work
    about = "" if one.is_exact else "~"
    counts = [
        "—" if number is None else f"{about}{number:,}" for number in (one.documents, one.passages, one.new, one.tokens)
    ]
    price = "—" if one.price_usd is None else about + format_dollars(one.price_usd)
    return (phase.name, *counts, price, duration(phase.seconds), one.note)
