"""What is to be said of a chain before it runs on a certain source. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kbjobs.chains.chain import Chain
from kbjobs.chains.diagnostics import Diagnostic
from kbjobs.chains.planning import Planned
from kbjobs.errors import KbjobsError
from kbjobs.settings import Home, Settings
from kbjobs.store.sources import SourceFolder

PlanChain = Callable[[Chain, str], Planned]


def advise_chain(home: Home, settings: Settings, chain: Chain, source_id: str, plan: PlanChain) -> list[Diagnostic]:
    """Warnings: what each phase would lack on the source, and what would make it pointless or costly.

    Args:
        home: the home.
        settings: the settings in force.
        chain: the chain.
        source_id: the source, which is there.
        plan: plans a chain for a source; raises a KbjobsError where something it needs is missing.
    """
    found = []
    folder = SourceFolder(home.sources, source_id)
    earlier: list[str] = []
    for index, phase in enumerate(chain.phases):
        kind = phase.job_type
        alone = replace(chain, phases=(phase,), resumable=False)
        try:
            params = kind.params.model_validate(plan(alone, source_id).job.phases[0].params)
        except KbjobsError as error:
            found.append(_warning(index, _about(error.message, source_id), error.hint))
            try:  # only a key may be missing
                params = kind.plan(home, settings, folder, phase.params).params
            except KbjobsError:
                earlier.append(kind.name)
                continue
        try:
            said = kind.advise(home, settings, folder, params, tuple(earlier))
        except KbjobsError as error:
            said = [error.message]
        found += [_warning(index, _about(text, source_id)) for text in said]
        earlier.append(kind.name)
    return found


def _warning(index: int, message: str, hint: str = "") -> Diagnostic:
    return Diagnostic("advice", message, severity="warning", hint=hint, path=("phase", index, "job"))


def _about(message: str, source_id: str) -> str:
    """The message, with the source where it does not name it."""
    return message if repr(source_id) in message else f"source {source_id!r}: {message}"
