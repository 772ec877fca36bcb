"""What a shell offers when a person presses the tab key: sources, jobs, chains, models, languages, settings.

A shell asks while a person types, so nothing here starts the daemon, makes a home or says why it has nothing to offer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kbjobs.config.home import current_home
from kbjobs.errors import KbjobsError

MOST_JOBS = 50  # that ended; more would fill the screen
Offers = list[tuple[str, str]]


def _quietly(find: Callable[[], Iterable[tuple[str, str]]]) -> Callable[[str], Offers]:
    """A completer of what ``find`` knows: pairs of a word and its meaning; an unreadable home has nothing to offer."""

    # Not wraps(): Typer reads the parameters from the function that would be named by it.
    def complete(incomplete: str) -> Offers:
        try:
            return [offer for offer in find() if offer[0].startswith(incomplete)]
        except (KbjobsError, OSError):
            return []

    complete.__doc__ = find.__doc__
    return complete


def complete_choices(choices: Iterable[object]) -> Callable[[str], Offers]:
    """A completer of the values that a parameter may have."""
    return _quietly(lambda: [(str(choice), "") for choice in choices])


@_quietly
def complete_sources() -> Iterable[tuple[str, str]]:
    """Ids of sources."""
    from kbjobs.services.sources import list_ids

    return [(source, "") for source in list_ids(current_home())]


@_quietly
def complete_jobs() -> Iterable[tuple[str, str]]:
    """Ids of live jobs, then of those that ended last."""
    from kbjobs.services.jobs import JobManager

    manager = JobManager(current_home())
    jobs = [*manager.get_active_jobs(), *manager.get_job_history(limit=MOST_JOBS)]
    return {
        str(job.id): f"{job.type.replace('_', '-')} {job.source or ''} {job.status}".replace("  ", " ") for job in jobs
    }.items()


@_quietly
def complete_chains() -> Iterable[tuple[str, str]]:
    """Names of built-in chains and of those in the home."""
    from kbjobs.services.chain_files import list_chains

    return [(str(chain["name"]), str(chain["description"])) for chain in list_chains(current_home())]


@_quietly
def complete_models() -> Iterable[tuple[str, str]]:
    """Names of local models, on this machine or known."""
    from kbjobs.services.models import list_names

    return [(name, "on this machine" if here else "not here") for name, here in list_names(current_home()).items()]


@_quietly
def complete_packs() -> Iterable[tuple[str, str]]:
    """Codes of the languages whose packs are on this machine."""
    from kbjobs.services.languages import list_packs

    packs = list_packs(current_home(), [])
    return {code: "" for pack in packs for code in (pack.pair.source, pack.pair.target) if code != "en"}.items()


@_quietly
def complete_settings() -> Iterable[tuple[str, str]]:
    """Names of settings."""
    from kbjobs.config.registry import SETTINGS

    return [(setting.name, setting.description) for setting in SETTINGS]


@_quietly
def complete_topics() -> Iterable[tuple[str, str]]:
    """Topics of ``kbjobs help``."""
    from kbjobs.services.help_pages import list_topics

    return [(topic.slug, topic.title) for topic in list_topics()]
