"""Checks of a chain before it runs: what a submit would refuse, and advice. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kbjobs.chains.chain import Chain
from kbjobs.chains.diagnostics import Diagnostic, Fix
from kbjobs.chains.planning import Planned, Require
from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import KbjobsError
from kbjobs.phases.job_type import Params, PhaseRequest
from kbjobs.store.sources import SourceFolder

PlanChain = Callable[[Chain, str], Planned]


def check_needs(home: Home, settings: Settings, chain: Chain, require: Require) -> list[Diagnostic]:
    """Report as errors what each phase lacks whatever the source is: a model, a package, a credential.

    Args:
        home: the home.
        settings: the settings in force.
        chain: the chain.
        require: raises if a planned phase needs a credential that its worker would not have.
    """
    found = []
    for index, phase in enumerate(chain.phases):
        try:
            require(phase.job_type, phase.job_type.plan(PhaseRequest(home, settings, phase.params, is_general=True)))
        except KbjobsError as error:
            found.append(_refusal(index, error.message, error))
    return found


def check_on_source(home: Home, settings: Settings, chain: Chain, source_id: str, plan: PlanChain) -> list[Diagnostic]:
    """Report as errors what each phase lacks on a source, and as warnings what makes it pointless or costly there.

    Args:
        home: the home.
        settings: the settings in force.
        chain: the chain.
        source_id: the existing source.
        plan: plans a chain for a source; raises a KbjobsError if something it needs is missing.
    """
    found = []
    folder = SourceFolder(home.sources, source_id)
    earlier: list[tuple[str, Params]] = []
    for index, phase in enumerate(chain.phases):
        kind = phase.job_type
        alone = replace(chain, phases=(phase,), resumable=False)
        try:
            params = kind.params.model_validate(plan(alone, source_id).job.phases[0].params)
        except KbjobsError as error:
            found.append(_refusal(index, _about(error.message, source_id), error))
            try:  # only a key may be missing
                params = kind.plan(PhaseRequest(home, settings, phase.params, folder)).params
            except KbjobsError:
                earlier.append((kind.name, phase.params))
                continue
        try:
            said = kind.advise(PhaseRequest(home, settings, params, folder, tuple(earlier)))
        except KbjobsError as error:
            said = [error.message]
        found += [_warning(index, _about(text, source_id), getattr(text, "add", "")) for text in said]
        earlier.append((kind.name, params))
    return found


def _refusal(index: int, message: str, error: KbjobsError) -> Diagnostic:
    return Diagnostic("state", message, hint=error.hint, path=("phase", index, "job"), exit_code=error.exit_code)


def _warning(index: int, message: str, add: str) -> Diagnostic:
    fix = Fix(add=add) if add else None
    return Diagnostic("advice", message, severity="warning", path=("phase", index, "job"), fix=fix)


def _about(message: str, source_id: str) -> str:
    """Name the source in the message unless it does so already."""
    return message if repr(source_id) in message else f"source {source_id!r}: {message}"
