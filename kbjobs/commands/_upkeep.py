"""The commands of ``kbjobs sources`` that look after what a source keeps: verify, rebuild, compact."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from kbjobs.commands._arguments import SOURCE
from kbjobs.commands._completion import complete_sources
from kbjobs.commands._render import DamagedSources, print_json, print_table, say
from kbjobs.config.home import current_home
from kbjobs.errors import ExitCode, KbjobsError, UsageError
from kbjobs.formatting import counted
from kbjobs.services import sources as front

if TYPE_CHECKING:
    from kbjobs.indexing.compact import Compacted

JSON = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def verify(source_id: SOURCE, as_json: JSON = False) -> None:
    """Compare the vector store with the ledger, in both directions, and check that a sample finds itself.

    Each difference has a kind: absent, damaged, dimension, missing, extra, changed, unreachable, outdated. At most
    20,000 records are compared in full. Exits 1 if they differ.

    Example:  kbjobs sources verify wiki
    """
    found = front.verify(current_home(), source_id)
    if as_json:
        print_json(found.as_dict())
    elif found.ok:
        print(f"{source_id}: {counted(found.checked, 'passage')} verified, no drift")
        for model in found.cleared:
            say(f"The collection of {model} was cleared. An index job or kbjobs sources rebuild makes it again.")
    else:
        print_table(
            ("model", "problem", "record", "what"),
            [(one.model, one.problem, one.record or "", one.detail) for one in found.drift[:20]],
        )
        say(
            f"{counted(len(found.drift), 'difference')}. kbjobs sources rebuild {source_id} repairs that without a"
            " model."
        )
    if not found.ok:
        raise typer.Exit(ExitCode.FAILED)


def rebuild(source_id: SOURCE, as_json: JSON = False) -> None:
    """Rebuild the vector store from the ledger. Embeds nothing; searches use the old one until the new one is complete.

    Example:  kbjobs sources rebuild wiki
    """
    rebuilt = front.rebuild(current_home(), source_id)
    if as_json:
        print_json([asdict(one) for one in rebuilt])
        return
    for one in rebuilt:
        print(f"{source_id}: {one.model}: {counted(one.records, 'record')} rebuilt from the ledger")


def compact(
    source_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]", help="Id of the source.", show_default=False, autocompletion=complete_sources
        ),
    ] = None,
    all_sources: Annotated[bool, typer.Option("--all-sources", help="All sources, one after the other.")] = False,
    as_json: JSON = False,
) -> None:
    """Free disk space: leftovers, unused parts of files, deleted records of collections.

    Nothing that a search can find is lost, and nothing is embedded. Refused while a job of the source runs. With
    --all-sources, a source that cannot be compacted is named, the others are compacted, and the exit code is 3.

    Example:  kbjobs sources compact wiki

    Example:  kbjobs sources compact --all-sources --json
    """
    home = current_home()
    if (source_id is None) is not all_sources:
        raise UsageError("give the id of a source, or --all-sources", "See kbjobs sources list.")
    if source_id is not None:
        compacted = front.compact(home, source_id)
        if as_json:
            print_json(compacted.as_dict())
        else:
            _print_compacted(compacted)
        return
    damaged = DamagedSources()
    found = []
    for name in front.list_ids(home):
        try:
            compacted = front.compact(home, name)
        except KbjobsError as error:
            damaged(name, error)
            continue
        found.append(compacted.as_dict())
        if not as_json:
            _print_compacted(compacted)
    if as_json:
        print_json(found)
    damaged.end()


def _print_compacted(compacted: Compacted) -> None:
    freed = compacted.before_bytes - compacted.after_bytes
    print(
        f"{compacted.source}: {compacted.before_bytes:,} bytes before, {compacted.after_bytes:,} after:"
        f" {max(0, freed):,} bytes given back"
    )
    for model in compacted.rebuilt:
        say(f"The collection of {model} was rebuilt, because many of its records had been deleted.")
