"""Doing the same to several jobs: each is told, none stops the others, and the worst exit code is the command's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kbjobs.commands._errors import say_error
from kbjobs.errors import ExitCode, KbjobsError, worst
from kbjobs.services.job_actions import OnError
from kbjobs.store.jobs import Job


@dataclass(frozen=True, slots=True)
class Done:
    """The jobs that something was done to, and the errors of the others by their ids."""

    jobs: list[Job] = field(default_factory=list)
    errors: dict[int, KbjobsError] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The worst exit code of those that failed; 0 if none did."""
        return worst(error.exit_code for error in self.errors.values()) if self.errors else ExitCode.DONE


def do_to_each(ids: Sequence[int], action: Callable[[int], Job]) -> Done:
    """Do it to each, and tell of each that refuses it on stderr. A single job's error is raised."""

    def each(on_error: OnError) -> list[Job]:
        jobs = []
        for job_id in dict.fromkeys(ids):
            try:
                jobs.append(action(job_id))
            except KbjobsError as error:
                on_error(job_id, error)
        return jobs

    return do_to_all(ids, each)


def do_to_all(ids: Sequence[int], action: Callable[[OnError], list[Job]]) -> Done:
    """Do it to all at once; what ``action`` tells of each that refuses it is handled as by :func:`do_to_each`."""
    done = Done()

    def report_error(job_id: int, error: KbjobsError) -> None:
        if len(ids) == 1:
            raise error
        done.errors[job_id] = error
        say_error(error)

    done.jobs.extend(action(report_error))
    return done
