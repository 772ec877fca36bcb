"""Groups of commands that hold a job type too, under a name that fits the group: ``kbjobs pack push`` is ``upload``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import typer

from kbjobs.commands._app import App, Group


@dataclass(frozen=True, slots=True)
class JobCommand:
    """A command of a group that submits a job.

    Args:
        job_type: the name of the job type.
        examples: command lines for its help.
        positional: the parameter that is written after the source, if there is one.
        is_shown: whether the group lists it; a name of the version before is only understood.
    """

    job_type: str
    examples: tuple[str, ...]
    positional: str = ""
    is_shown: bool = True


class JobGroup(Group):
    """A group with commands that submit jobs; a job type is loaded when its command is used."""

    jobs: ClassVar[Mapping[str, JobCommand]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return [*super().list_commands(ctx), *(name for name, job in self.jobs.items() if job.is_shown)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name."""
        if cmd_name not in self.jobs:
            return super().get_command(ctx, cmd_name)
        from kbjobs.commands.run import command_of
        from kbjobs.phases.registry import job_type

        job = self.jobs[cmd_name]
        kind = replace(job_type(job.job_type), examples=job.examples)
        single = App()
        shown_as = job.examples[0].removeprefix("kbjobs ").rpartition(" ")[0]
        single.command(cmd_name, short_help=kind.description)(command_of(kind, shown_as, job.positional))
        return typer.main.get_command(single)
