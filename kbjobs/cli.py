"""The Typer app: only the list of commands. Each command's module is loaded when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any

import typer

from kbjobs.commands._app import App, Command, Entry, Group

# name: (panel, what it does). The module is kbjobs.commands.<name>.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("Start here", "Try kbjobs in a temporary home."),
    "help": ("Start here", "Print a page of the documentation, or the section on a symptom."),
    "sources": ("Sources and search", "Register, edit, list, show, verify, rebuild and delete sources."),
    "documents": ("Sources and search", "List and show the documents of a source."),
    "search": ("Sources and search", "Find passages by meaning and by words."),
    "pack": ("Sources and search", "Build, push, pull and list packs: a source as files to carry elsewhere."),
    "models": ("Sources and search", "List, show, download and remove local models."),
    "languages": ("Languages", "List, download and remove language packs."),
    "translate": ("Languages", "Translate a text on this machine (extra translate)."),
    "run": ("Jobs", "Submit one job and follow it to its end."),
    "chains": ("Jobs", "List, show, check and create chain files."),
    "chain": ("Jobs", "Submit a combined job declared in TOML."),
    "types": ("Jobs", "List every job type with its parameters and rules."),
    "status": ("Jobs", "Show what is running, waiting and just ended."),
    "report": ("Jobs", "Summarise the last hours: what ran, what failed, what to do."),
    "watch": ("Jobs", "Show live progress."),
    "wait": ("Jobs", "Wait until jobs have ended."),
    "logs": ("Jobs", "Print the log of a job."),
    "cancel": ("Jobs", "Stop jobs; what they have done is kept."),
    "pause": ("Jobs", "Hold the queue, or one source's jobs."),
    "unpause": ("Jobs", "Release the queue, or one source's jobs."),
    "edit": ("Jobs", "Change a waiting job: priority, times, retries."),
    "resume": ("Jobs", "Resume jobs from where they stopped."),
    "retry": ("Jobs", "Run jobs again from the start."),
    "interrupted": ("Jobs", "List the jobs that can be resumed."),
    "discard": ("Jobs", "Give up jobs that could be resumed."),
    "history": ("Jobs", "List past jobs, newest first."),
    "prune": ("Jobs", "Delete old jobs and their logs."),
    "builder": ("Service", "Serve a web page to compose, check, run and watch chains."),
    "mcp": ("Service", "Serve sources to an assistant (extra mcp)."),
    "daemon": ("Service", "Start, stop, restart and inspect the daemon."),
    "config": ("Service", "Show and change the settings."),
    "doctor": ("Service", "Check everything that jobs need."),
    "backup": ("Service", "Save state, ledgers, chains and copied pages in one file."),
    "restore": ("Service", "Restore a backup into the home."),
}


class LazyGroup(Group):
    """Loads only the command that is used; listing commands and suggesting names loads none."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: Command(name, short_help=short, help=short) for name, (_, short) in COMMANDS.items()}

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands, in the order of the table."""
        return list(COMMANDS)

    def list_entries(self, ctx: Any) -> Iterator[Entry]:
        """The entries of the table."""
        return (Entry(name, panel, text) for name, (panel, text) in COMMANDS.items())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a command from its module; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"kbjobs.commands.{cmd_name}").app)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the arguments name. Raises UsageError if they name a job type instead."""
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
