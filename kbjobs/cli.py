"""The Typer app: the list of commands and nothing else. Each command's module is loaded when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

# name: (panel, what it does). The module is kbjobs.commands.<name>.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("Start here", "A throw-away home, a small real source, the main job, three searches."),
    "sources": ("Sources and search", "Register, edit, list, show, verify, rebuild and remove sources."),
    "documents": (
        "Sources and search",
        "What was read of a source: list it; show what is kept of a page.",
    ),
    "search": ("Sources and search", "Find passages by meaning."),
    "pack": ("Sources and search", "Build, inspect and prune packs: a source as files to carry elsewhere."),
    "models": ("Sources and search", "List, show and remove local models."),
    "languages": ("Languages", "List and remove language packs."),
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
    "history": ("Jobs", "Jobs that have been, the newest first."),
    "prune": ("Jobs", "Forget jobs that ended long ago, with their logs."),
    "builder": ("Service", "A page in the browser to compose, check, run and watch chains."),
    "daemon": ("Service", "Start, stop, restart and inspect the daemon."),
    "config": ("Service", "The settings in force and where each came from."),
    "doctor": ("Service", "Check everything a job will need."),
    "backup": ("Service", "Write state, ledgers, chains and copied pages into one file."),
    "restore": ("Service", "Put a backup into the home."),
}


class LazyGroup(TyperGroup):
    """Loads only the command that is used; listing and guessing names needs none of them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._is_listing = False
        self.commands = {
            name: TyperCommand(name, short_help=short, help=short, rich_help_panel=panel)
            for name, (panel, short) in COMMANDS.items()
        }

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, loaded from its module; for the list of commands, its name and line of help alone."""
        if cmd_name not in COMMANDS or self._is_listing:
            return self.commands.get(cmd_name)
        command = typer.main.get_command(import_module(f"kbjobs.commands.{cmd_name}").app)
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help of the program itself."""
        self._is_listing = True
        super().format_help(ctx, formatter)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
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
