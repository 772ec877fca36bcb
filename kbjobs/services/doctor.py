"""A read-only check of everything a job needs, with a remedy for each problem."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kbjobs.config.home import Home
from kbjobs.config.home_checks import check_disk, check_home, check_settings
from kbjobs.config.secrets import names_in_environment, stored_secrets
from kbjobs.config.settings import Settings
from kbjobs.daemon.daemon_checks import check_daemon, check_leftovers, check_on_finish, check_reboot
from kbjobs.daemon.launching import is_running
from kbjobs.errors import KbjobsError
from kbjobs.object_storage.storage_checks import check_stores
from kbjobs.phases.registry import job_type
from kbjobs.services.leftovers import check_room
from kbjobs.store.history import active_jobs, resumable_jobs
from kbjobs.store.snapshot import open_to_read
from kbjobs.store.store_checks import check_databases, check_pauses, check_sources
from kbjobs.system.findings import Finding
from kbjobs.translation.translation_checks import check_languages
from kbjobs.vectors.vector_checks import check_chroma, check_pinecone

if TYPE_CHECKING:
    from kbjobs.phases.job_type import JobType


def examine(home: Home) -> list[Finding]:
    """Run all checks. They write nothing, and a check that fails does not stop the others."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings.extend(check(home))
        except KbjobsError as error:
            findings.append(Finding(_name(check), "problem", error.message, error.hint))
        except (OSError, sqlite3.Error) as error:
            findings.append(Finding(_name(check), "problem", str(error), "Check that the home can be read."))
    return findings


def _name(check: Callable[[Home], Iterator[Finding]]) -> str:
    return check.__name__.lstrip("_").removeprefix("check_").replace("_", " ")


@dataclass(frozen=True, slots=True)
class _Configured:
    """A phase that will run some day: where it is configured, its job type and its parameters."""

    where: str
    job_type: JobType[Any]
    params: dict[str, Any]


def _configured(home: Home) -> list[_Configured]:
    """The phases of pending, running and resumable jobs, and of the home's chains."""
    from kbjobs.chains.file.chain_reading import ChainFileError, read_chain
    from kbjobs.chains.library import list_chain_files

    found = []
    queue = open_to_read(home.state_file)
    if queue is not None:
        with queue:
            jobs = [*active_jobs(queue), *resumable_jobs(queue)]
        found = [
            _Configured(f"job {job.id}", job_type(phase.job), phase.params)
            for job in jobs
            for phase in job.phases
            if not phase.is_completed
        ]
    for listed in list_chain_files(home):
        if listed.origin == "home":
            with suppress(ChainFileError):  # kbjobs chains validate shows its mistakes
                for phase in read_chain(listed.path).phases:
                    params = phase.params.model_dump()
                    found.append(_Configured(f"chain {listed.name}", phase.job_type, params))
    return found


def _check_models(home: Home) -> Iterator[Finding]:
    from kbjobs.embedding.engines import check_engine
    from kbjobs.embedding.model_catalogue import check_model

    settings = Settings(home)
    wanted = {settings.text("model"): "the setting model"}
    for one in _configured(home):
        if one.job_type.name == "model_download" or one.params.get("download"):
            continue  # it downloads the model itself
        named = one.params.get("model")
        if named is None and "model" in one.params and one.params.get("dimension"):
            named = settings.text(f"model_{one.params['dimension']}")
        if named is not None:
            wanted.setdefault(named, one.where)
    for name, where in wanted.items():
        try:
            folder = check_model(name, home.models)
            check_engine(settings.text("engine"), folder)
        except KbjobsError as error:
            yield Finding("model", "problem", f"{error.message} ({where} needs it)", error.hint)
        else:
            yield Finding("model", "ok", f"{name} is in {folder.path}")


def _secrets_of(home: Home, one: _Configured) -> tuple[str, ...]:
    """The secrets that a phase needs with its parameters; a dry run, for example, needs no key."""
    from kbjobs.phases.job_type import PhaseRequest

    kind = one.job_type
    try:
        planned = kind.plan(PhaseRequest(home, Settings(home), kind.params.model_validate(one.params), is_general=True))
    except (KbjobsError, ValueError):  # another check reports, for example, a missing model
        return kind.secrets
    return kind.secrets if planned.secrets is None else planned.secrets


def _check_secrets(home: Home) -> Iterator[Finding]:
    stored = set(stored_secrets(home))
    queue = open_to_read(home.state_file)
    described = None
    if queue is not None:
        with queue:
            described = queue.daemon()
    running = is_running(home) and described is not None
    visible = stored | set(described.secrets if running and described else names_in_environment())
    missing = {name: one.where for one in _configured(home) for name in _secrets_of(home, one) if name not in visible}
    for name, where in missing.items():
        text = f"{name} is not there for the workers, and {where} needs it"
        yield Finding("secrets", "problem", text, f"kbjobs config set-secret {name}")
    if not missing:
        text = f"stored: {', '.join(sorted(stored))}" if stored else "none is stored, and no configured job needs one"
        yield Finding("secrets", "ok", text)


CHECKS: tuple[Callable[[Home], Iterator[Finding]], ...] = (
    check_home,
    check_disk,
    check_room,
    check_settings,
    check_databases,
    check_sources,
    check_daemon,
    check_pauses,
    check_on_finish,
    check_leftovers,
    check_reboot,
    _check_models,
    _check_secrets,
    check_chroma,
    check_stores,
    check_pinecone,
    check_languages,
)
