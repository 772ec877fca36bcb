"""The Typer app: the list of commands and nothing else. Each command's module is loaded when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any

import typer

from kbjobs.commands._app import App, Command, Entry, Group

# name: (panel, what it does). The module is kbjobs.commands.<name>.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("Start here", "A throw-away home, a small real source, the main job, three searches."),
    "sources": ("Sources and search", "Register, edit, list, show, verify, rebuild and delete sources."),
    "documents": (
        "Sources and search",
        "What was read of a source: list it; show what is kept of a page.",
    ),
    "search": ("Sources and search", "Find passages by meaning."),
    "pack": ("Sources and search", "Build, push, pull and list packs: a source as files to carry elsewhere."),
    "models": ("Sources and search", "List, show, download and remove local models."),
    "languages": ("Languages", "List, download and remove language packs."),
    "translate": ("Languages", "A text in another language, on this machine (extra translate)."),
    "run": ("Jobs", "Submit one job and follow it to its end."),
    "chains": ("Jobs", "Combined jobs: list, show, check and begin chain files."),
    "chain": ("Jobs", "Submit a combined job declared in TOML."),
    "types": ("Jobs", "Every job type with its parameters and rules."),
    "status": ("Jobs", "What runs, waits and has just ended; or everything about one job."),
    "watch": ("Jobs", "Live progress; leaving it never touches the job."),
    "wait": ("Jobs", "Block until jobs have ended; exit with the worst code."),
    "logs": ("Jobs", "The log of a job, one per attempt."),
    "cancel": ("Jobs", "Stop jobs; what they have done is kept."),
    "pause": ("Jobs", "Hold the queue, or one source's jobs."),
    "unpause": ("Jobs", "Let jobs go on that were paused."),
    "edit": ("Jobs", "Change a job that waits: priority, moments, retries."),
    "resume": ("Jobs", "Go on with jobs that failed, were cancelled or interrupted."),
    "retry": ("Jobs", "Run ended jobs again from the start."),
    "interrupted": ("Jobs", "What can be resumed: age, progress, next phase."),
    "discard": ("Jobs", "Give up jobs that could be resumed."),
    "history": ("Jobs", "Jobs that have been, the newest first."),
    "prune": ("Jobs", "Forget jobs that ended long ago, with their logs."),
    "builder": ("Service", "A page in the browser to compose, check, run and watch chains."),
    "daemon": ("Service", "Start, stop, restart and inspect the daemon."),
    "config": ("Service", "Show and change the settings."),
    "doctor": ("Service", "Check everything a job will need."),
    "backup": ("Service", "Write state, ledgers, chains and copied pages into one file."),
    "restore": ("Service", "Put a backup into the home."),
}


class LazyGroup(Group):
    """Loads only the command that is used; listing and guessing names needs none of them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: Command(name, short_help=short, help=short) for name, (_, short) in COMMANDS.items()}

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def list_entries(self, ctx: Any) -> Iterator[Entry]:
        """The table itself."""
        return (Entry(name, panel, text) for name, (panel, text) in COMMANDS.items())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, loaded from its module."""
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"kbjobs.commands.{cmd_name}").app)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name. Raises UsageError if they name what ``kbjobs run`` knows."""
        if args[0] not in COMMANDS:
            from kbjobs.commands._suggestions import refuse_job_type

            refuse_job_type(args, COMMANDS)
        return super().resolve_command(ctx, args)


app = App(
    cls=LazyGroup,
    add_completion=True,
    pretty_exceptions_enable=False,
    epilog="Example:  kbjobs sources add wiki ./pages   then   kbjobs run index-offline wiki",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from kbjobs.version import VERSION

        typer.echo(f"kbjobs {VERSION}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of unexpected errors.")] = False,
) -> None:
    """Run the long jobs behind a knowledge base, and survive whatever the night brings."""
    ctx.obj = {"debug": debug}


def main() -> None:
    """Entry point of the ``kbjobs`` command."""
    from kbjobs.commands._errors import run_app

    run_app(app)
