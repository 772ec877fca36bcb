"""A read-only check of everything a job will need; each finding with its remedy."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kbjobs.config.home import Home, refuse_network_home
from kbjobs.config.secrets import find_secret, names_in_environment, stored_secrets
from kbjobs.config.settings import Settings
from kbjobs.daemon.launching import is_running
from kbjobs.daemon.processes import RUN_VARIABLE
from kbjobs.errors import KbjobsError
from kbjobs.formatting import agreeing, counted
from kbjobs.object_storage.store_address import open_bucket, read_address
from kbjobs.phases.registry import job_type
from kbjobs.store.connection import check_integrity
from kbjobs.store.history import active_jobs, resumable_jobs
from kbjobs.store.locks import is_locked
from kbjobs.store.pauses import list_pauses
from kbjobs.store.snapshot import open_to_read
from kbjobs.store.source_deletion import list_unfinished
from kbjobs.store.sources import list_source_ids, list_sources
from kbjobs.vectors.chroma_address import read_address as read_chroma_address
from kbjobs.version import VERSION

if TYPE_CHECKING:
    from kbjobs.phases.job_type import JobType

LOW_BYTES = 1_000_000_000
Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, how it stands and, where something is to be done, what."""

    check: str
    level: Level
    text: str
    remedy: str = ""


def examine(home: Home) -> list[Finding]:
    """Check everything; nothing is written, and a check that fails does not stop the others."""
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
    return check.__name__.removeprefix("_check_").replace("_", " ")


def _check_home(home: Home) -> Iterator[Finding]:
    if not home.path.exists():
        yield Finding("home", "note", f"{home.path} does not exist yet", "The first command that needs it makes it.")
        return
    refuse_network_home(home.path)
    if not os.access(home.path, os.W_OK | os.X_OK):
        yield Finding("home", "problem", f"{home.path} cannot be written", _make_writable(home.path))
    open_to_others = [
        path
        for path in (home.path, home.state_file, home.secrets_file, home.logs, home.sources)
        if path.exists() and path.stat().st_mode & 0o077
    ]
    for path in open_to_others:
        yield Finding("home", "problem", f"{path} is open to other users", f"chmod go= {path}")
    if not open_to_others:
        yield Finding("home", "ok", f"{home.path} is private and on a local disk")


def _make_writable(path: Path) -> str:
    """What gives this user the folder: another's, their own with the wrong mode, or one on a read-only disk."""
    owner = path.stat().st_uid
    if owner != os.geteuid():
        return f"It belongs to user {owner}: chown -R {os.geteuid()} {path}, or use another KBJOBS_HOME."
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return "Its disk is read-only: mount it for writing, or use another KBJOBS_HOME."
    return f"chmod u+rwx {path}"


def _check_disk(home: Home) -> Iterator[Finding]:
    where = next(path for path in (home.path, *home.path.parents) if path.exists())
    free = shutil.disk_usage(where).free
    if free < LOW_BYTES:
        yield Finding("disk", "problem", f"{free / 1e6:.0f} MB are free", "Free some space, or move the home.")
    else:
        yield Finding("disk", "ok", f"{free / 1e9:.1f} GB are free")


def _check_settings(home: Home) -> Iterator[Finding]:
    Settings(home)
    yield Finding("settings", "ok", "all are valid")


def _check_databases(home: Home) -> Iterator[Finding]:
    paths = [home.state_file] + [home.sources / name / "source.db" for name in list_source_ids(home.sources)]
    existing = [path for path in paths if path.exists()]
    damaged = False
    for path in existing:
        found = check_integrity(path)
        if found != "ok":
            damaged = True
            yield Finding("databases", "problem", f"{path} is damaged: {found}", "Restore it from a backup.")
    if not damaged:
        yield Finding("databases", "ok", f"{counted(len(existing), 'file')}, whole")


def _check_sources(home: Home) -> Iterator[Finding]:
    damaged: dict[str, KbjobsError] = {}
    sources = list_sources(home.sources, damaged.__setitem__)
    for error in damaged.values():
        yield Finding("sources", "problem", error.message, error.hint)
    if not damaged:
        yield Finding("sources", "ok", f"the manifests of {len(sources)} can be read")


def _check_daemon(home: Home) -> Iterator[Finding]:
    queue = open_to_read(home.state_file)
    if queue is None:
        yield Finding("daemon", "ok", "nothing was submitted yet")
        return
    with queue:
        waiting = len(queue.running()) + queue.count_pending()
        described = queue.daemon()
    if not is_running(home):
        if waiting:
            text = agreeing(waiting, "job", "waits", "wait")
            yield Finding("daemon", "problem", f"none runs, and {text}", "kbjobs daemon start")
        else:
            yield Finding("daemon", "ok", "none runs and none is needed")
    elif described and described.version != VERSION:
        text = f"it still is that of kbjobs {described.version}, the command is of {VERSION}"
        yield Finding("daemon", "problem", text, "kbjobs daemon restart")
    else:
        yield Finding("daemon", "ok", f"process {described.pid if described else '?'} runs")


def _check_pauses(home: Home) -> Iterator[Finding]:
    queue = open_to_read(home.state_file)
    if queue is None:
        return
    with queue:
        for pause in list_pauses(queue):
            yield Finding("pause", "note", f"{pause.what} is paused since {pause.since}", pause.remedy)


def _check_on_finish(home: Home) -> Iterator[Finding]:
    words = Settings(home).words("on_finish")
    if words and shutil.which(home.path / words[0] if "/" in words[0] else words[0]) is None:
        text = f"{words[0]} cannot be run: it is not there, or not executable"
        yield Finding("on_finish", "problem", text, f"Write its whole path in {home.config_file}, and chmod u+x it.")
    elif words:
        yield Finding("on_finish", "ok", f"{words[0]} is run after each job")


def _check_leftovers(home: Home) -> Iterator[Finding]:
    queue = open_to_read(home.state_file)
    known = set()
    if queue is not None:
        with queue:
            known = {job.run_id for job in queue.running()}
    strays = [(pid, run) for pid, run in _processes_of_home(home) if run not in known]
    for pid, run in strays:
        yield Finding(
            "left-over processes", "problem", f"process {pid} is of run {run}, which has ended", f"kill {pid}"
        )
    stale = [
        path
        for path in home.daemon_lock.parent.glob("run-*.lock")
        if path.stem.removeprefix("run-") not in known and not is_locked(path)
    ]
    if stale:
        text = f"{counted(len(stale), 'lock file')} of ended runs"
        yield Finding("stale locks", "note", text, "The next daemon removes them.")
    for removal in list_unfinished(home.sources):
        text = f"what is left of the deleted source {removal.source.id} lies in {removal.hidden}"
        hint = f"The next daemon removes it, or kbjobs run delete-source {removal.source.id}."
        yield Finding("deleted sources", "note", text, hint)
    if not strays and not stale:
        yield Finding("left-over processes", "ok", "none, and no stale lock")


def _processes_of_home(home: Home) -> Iterator[tuple[int, str]]:
    wanted = str(home.path).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended, or is another user's
        runs = [value for value in environment if value.startswith(RUN_VARIABLE.encode() + b"=")]
        if runs and wanted in command:
            yield int(entry.name), runs[0].partition(b"=")[2].decode(errors="replace")


def _check_reboot(home: Home) -> Iterator[Finding]:
    unit = Path("~/.config/systemd/user/kbjobs.service").expanduser()
    if not unit.exists():
        yield Finding(
            "reboot",
            "note",
            "after a reboot no daemon runs until the next submit, resume or wait",
            f"mkdir -p {unit.parent} && kbjobs daemon unit > {unit} && systemctl --user enable --now kbjobs",
        )
        return
    user = os.environ.get("USER") or str(os.getuid())
    if not Path("/var/lib/systemd/linger", user).exists():
        yield Finding(
            "reboot",
            "problem",
            "the unit is installed, but ends with your last session",
            f"loginctl enable-linger {user}",
        )
    else:
        yield Finding("reboot", "ok", "the unit is installed and linger is on")


@dataclass(frozen=True, slots=True)
class _Configured:
    """A phase that is to run some day: where that is said, its job type and parameters."""

    where: str
    job_type: JobType[Any]
    params: dict[str, Any]


def _configured(home: Home) -> list[_Configured]:
    """The phases of jobs that wait, run or can be resumed, and of the chains of the home."""
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
            with suppress(ChainFileError):  # kbjobs chains validate tells what is wrong with it
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
            continue  # it brings the model itself
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
    """What a phase needs with the parameters it has: a dry run, for example, needs no key."""
    from kbjobs.phases.job_type import PhaseRequest

    kind = one.job_type
    try:
        planned = kind.plan(PhaseRequest(home, Settings(home), kind.params.model_validate(one.params), is_general=True))
    except (KbjobsError, ValueError):  # a model that is missing, say, is told by another check
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


def _check_chroma(home: Home) -> Iterator[Finding]:
    address = read_chroma_address(home, Settings(home))
    if address is None:
        return
    from kbjobs.vectors.chroma_server import ChromaServer

    with closing(ChromaServer(address)) as server:
        server.check()
    yield Finding("chroma", "ok", f"{address.url} answers")


def _check_stores(home: Home) -> Iterator[Finding]:
    settings = Settings(home)
    for name in ("packs.to", "packs.from"):
        where = settings.text(name)
        if not where:
            continue
        address = read_address(where)
        with closing(open_bucket(home, settings, address)) as bucket:
            there = "has a catalogue" if bucket.find("catalogue.json") is not None else "answers, and is empty"
        yield Finding("stores", "ok", f"{name}: {address.url} {there}")


def _check_pinecone(home: Home) -> Iterator[Finding]:
    settings = Settings(home)
    if not settings.text("pinecone.index"):
        return
    from kbjobs.embedding.online_models import TEXT_EMBEDDING_3_SMALL
    from kbjobs.vectors.pinecone_index import PineconeIndex
    from kbjobs.vectors.pinecone_target import PINECONE_KEY, read_target

    target = read_target(settings, "any")
    key = find_secret(home, PINECONE_KEY)
    with closing(
        PineconeIndex(target, key, home.pinecone_hosts, TEXT_EMBEDDING_3_SMALL.dimension, retries=1, timeout=20.0)
    ) as index:
        index.check(index.describe())
    yield Finding("pinecone", "ok", f"the index {target.index} is ready")


def _check_languages(home: Home) -> Iterator[Finding]:
    from kbjobs.languages.language_packs import DamagedLanguagePackError, list_packs
    from kbjobs.translation.engine import check_packages

    damaged: list[DamagedLanguagePackError] = []
    packs = list_packs(home, damaged)
    for error in damaged:
        yield Finding("languages", "problem", error.message, error.hint)
    if not packs:
        return
    try:
        check_packages()
    except KbjobsError as error:
        yield Finding("languages", "problem", f"language packs are here, but {error.message}", error.hint)
    else:
        yield Finding("languages", "ok", f"{counted(len(packs), 'language pack')} can be used")


CHECKS: tuple[Callable[[Home], Iterator[Finding]], ...] = (
    _check_home,
    _check_disk,
    _check_settings,
    _check_databases,
    _check_sources,
    _check_daemon,
    _check_pauses,
    _check_on_finish,
    _check_leftovers,
    _check_reboot,
    _check_models,
    _check_secrets,
    _check_chroma,
    _check_stores,
    _check_pinecone,
    _check_languages,
)
