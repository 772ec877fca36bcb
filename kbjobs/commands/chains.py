"""``kbjobs chains``: combined jobs that are declared in files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kbjobs.commands._app import App
from kbjobs.commands._completion import complete_chains, complete_sources
from kbjobs.commands._errors import printable
from kbjobs.commands._render import print_json, print_table, say
from kbjobs.config.home import Home, current_home
from kbjobs.errors import ExitCode, NotFoundError, worst
from kbjobs.formatting import counted

if TYPE_CHECKING:
    from kbjobs.chains.chain import Chain
    from kbjobs.chains.diagnostics import Diagnostic
    from kbjobs.chains.file.chain_reading import ChainFile

app = App()
JSON = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.callback()
def chains() -> None:
    """List, show, check and create chain files.

    Example:  kbjobs chains list
    """


@app.command("list")
def list_chains(as_json: JSON = False) -> None:
    """List the chains that can be run by name: the built-in ones, and those in the home's chains/, which take
    precedence.

    Example:  kbjobs chains list
    """
    from kbjobs.services.chain_files import list_chains as list_found

    found = list_found(current_home())
    if as_json:
        print_json(found)
        return
    rows = []
    for one in found:
        name = one["name"].replace("_", "-")
        if "phases" not in one:
            rows.append((name, one["origin"], "broken", f"kbjobs chains validate {name} says why"))
        else:
            phases = ", ".join(phase["job"].replace("_", "-") for phase in one["phases"])
            rows.append((name, one["origin"], phases, one["description"]))
    print_table(("chain", "from", "phases", ""), rows)


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of the chain, or path of its file.", show_default=False, autocompletion=complete_chains
        ),
    ],
    as_json: JSON = False,
) -> None:
    """Print a chain file, to copy and change.

    Example:  kbjobs chains show generate-source > mine.toml
    """
    from kbjobs.services.chain_files import read_file

    found = read_file(current_home(), name)
    if as_json and found.chain is not None:
        print_json({**found.chain.as_dict(), "path": found.origin})
        return
    if not as_json:
        text = found.text.rstrip("\n")
        if sys.stdout.isatty():  # a file may hold what would move the cursor
            text = "\t".join(printable(part) for part in text.split("\t"))
        print(text)
    if found.has_errors:
        say(found.render())
        raise typer.Exit(ExitCode.USAGE)


@app.command()
def validate(
    files: Annotated[
        list[str],
        typer.Argument(help="Chain files, or names of chains.", show_default=False, autocompletion=complete_chains),
    ],
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Check for this source instead of the file's own.", metavar="ID", autocompletion=complete_sources
        ),
    ] = None,
    syntax_only: Annotated[
        bool, typer.Option("--syntax-only", help="Check only the file, not models, keys and sources.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Check chain files: report every mistake with its place, and everything that a submit would refuse.

    Models, keys and sources must be present; the exit code is the one that the submit would return. A warning (about
    the order of phases or the state of the source) is not an error.

    Example:  kbjobs chains validate nightly.toml --source wiki
    """
    from kbjobs.chains.diagnostics import Diagnostic, render
    from kbjobs.services.chain_files import read_file

    home = current_home()
    codes: list[int] = []
    results: list[dict[str, Any]] = []
    for name in files:
        try:
            found = read_file(home, name)
        except NotFoundError as error:
            codes.append(error.exit_code)
            missing = Diagnostic("file", error.message, hint=error.hint)
            results.append(missing.as_dict(name))
            if not as_json:
                print(render(missing, name, ""))
            continue
        met = found.diagnostics
        if found.chain is not None and not syntax_only:
            met = _look_at_state(home, found.chain, source)
            found = found.with_more(met) if met else found
        errors = [one for one in met if one.severity == "error"]
        codes += [one.exit_code for one in errors[:1]]  # a submit meets the first
        results += [one.as_dict(found.origin) for one in found.diagnostics]
        if not as_json:
            _print_found(found, is_valid=not errors)
    if as_json:
        print_json(results)
    raise typer.Exit(worst(codes))


def _look_at_state(home: Home, chain: Chain, named: list[str] | None) -> list[Diagnostic]:
    """What a submit would say of the sources that the option or the file names, in its order; of none, of any."""
    from kbjobs.services.chain_files import look_at_state
    from kbjobs.services.jobs import JobManager

    return look_at_state(JobManager(home), chain, named or ())


def _print_found(found: ChainFile, is_valid: bool) -> None:
    if found.diagnostics:
        print(found.render())
    if found.chain is not None and is_valid:
        print(printable(f"{found.origin}: valid, {counted(len(found.chain.phases), 'phase')}"))


@app.command()
def schema() -> None:
    """Print the JSON Schema of chain files, for an editor.

    Example:  kbjobs chains schema > chain.schema.json
    """
    from kbjobs.services.chain_files import chain_schema

    print_json(chain_schema())


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the chain and of its file.", show_default=False)],
    job: Annotated[
        list[str] | None, typer.Option(help="Add a phase with this job; may be given several times.", metavar="TYPE")
    ] = None,
    in_home: Annotated[
        bool, typer.Option("--home", help="Write it into the home's chains/, where it can be run by name.")
    ] = False,
) -> None:
    """Write a new chain file, and next to it the schema for editors.

    Example:  kbjobs chains new nightly --job index-offline
    """
    from kbjobs.services.chain_files import write_new_chain

    home = current_home()
    if in_home:
        home.prepare()
    for path in write_new_chain(home.chains if in_home else Path(), name, job or ["index-offline"]):
        print(path)
    target = name if in_home else f"{name}.toml"
    say(f"Fill it in, then: kbjobs chains validate {target}")
