"""``kbjobs chains``: combined jobs that are declared in files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kbjobs.commands._errors import printable
from kbjobs.commands._render import print_json, print_table, say
from kbjobs.errors import ExitCode, NotFoundError
from kbjobs.settings import Home, Settings, current_home

if TYPE_CHECKING:
    from kbjobs.chains.chain import Chain
    from kbjobs.chains.reading import ChainFile

app = typer.Typer(no_args_is_help=True)
JSON = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.callback()
def chains() -> None:
    """Combined jobs: list, show, check and begin chain files.

    Example:  kbjobs chains list
    """


@app.command("list")
def list_chains(as_json: JSON = False) -> None:
    """Every chain that can be run by its name: the built-in ones, and those in chains/ of the home, which win.

    Example:  kbjobs chains list
    """
    from kbjobs.chains.library import list_chain_files
    from kbjobs.chains.reading import examine_chain

    listed = [(one, examine_chain(one.path)) for one in list_chain_files(current_home())]
    if as_json:
        print_json(
            [
                {"origin": one.origin, "path": str(one.path), "broken": found.has_errors}
                | (_as_dict(found.chain) if found.chain else {"error": found.render()})
                | {"name": one.name}
                for one, found in listed
            ]
        )
        return
    rows = []
    for one, found in listed:
        name = one.name.replace("_", "-")
        if found.chain is None:
            rows.append((name, one.origin, "broken", f"kbjobs chains validate {name} says why"))
        else:
            phases = ", ".join(phase.job_type.command for phase in found.chain.phases)
            rows.append((name, one.origin, phases, found.chain.description))
    print_table(("chain", "from", "phases", ""), rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Its name, or the path of its file.", show_default=False)],
    as_json: JSON = False,
) -> None:
    """Print a chain file, ready to be copied and changed.

    Example:  kbjobs chains show generate-source > mine.toml
    """
    from kbjobs.chains.library import find_chain_file
    from kbjobs.chains.reading import examine_chain

    path = find_chain_file(current_home(), name)
    found = examine_chain(path)
    if as_json and found.chain is not None:
        print_json({**_as_dict(found.chain), "path": str(path)})
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
    files: Annotated[list[str], typer.Argument(help="Chain files, or names of chains.", show_default=False)],
    source: Annotated[
        list[str] | None, typer.Option(help="Also say what the chain would meet on this source.", metavar="ID")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Check chain files: every mistake with its place, advice on the order, and on the state of the source.

    Exits 2 where there is an error; a warning is none.

    Example:  kbjobs chains validate nightly.toml --source wiki
    """
    from kbjobs.chains.diagnostics import Diagnostic, render
    from kbjobs.chains.library import find_chain_file
    from kbjobs.chains.reading import examine_chain

    home = current_home()
    code = ExitCode.DONE
    told: list[dict[str, Any]] = []
    for name in files:
        try:
            found = examine_chain(find_chain_file(home, name))
        except NotFoundError as error:
            code = code or error.exit_code
            missing = Diagnostic("file", error.message, hint=error.hint)
            told.append(missing.as_dict(name))
            if not as_json:
                print(render(missing, name, ""))
            continue
        if found.chain is None:
            code = ExitCode.USAGE
        else:
            found = _with_advice(home, found, found.chain, source)
        told += [one.as_dict(found.origin) for one in found.diagnostics]
        if not as_json:
            _print_found(found)
    if as_json:
        print_json(told)
    raise typer.Exit(code)


def _with_advice(home: Home, found: ChainFile, chain: Chain, named: list[str] | None) -> ChainFile:
    """With what is to be said of the sources that the file or the option names."""
    from kbjobs.api import JobManager
    from kbjobs.chains.advising import advise_chain
    from kbjobs.chains.diagnostics import Diagnostic
    from kbjobs.store.sources import SourceFolder

    manager = JobManager(home)
    settings = Settings(home)
    more: list[Diagnostic] = []
    for source_id in named or chain.sources:
        try:
            SourceFolder(home.sources, source_id).read()
        except NotFoundError as error:
            if named:
                raise
            path = ("source",) if chain.sources == (source_id,) else ("sources", chain.sources.index(source_id))
            more.append(Diagnostic("advice", error.message, severity="warning", hint=error.hint, path=path))
        else:
            more += advise_chain(home, settings, chain, source_id, manager.plan)
    return found.with_more(more) if more else found


def _print_found(found: ChainFile) -> None:
    if found.diagnostics:
        print(found.render())
    if found.chain is not None:
        count = len(found.chain.phases)
        print(printable(f"{found.origin}: valid, {count} {'phase' if count == 1 else 'phases'}"))


@app.command()
def schema() -> None:
    """Print the JSON Schema of chain files, for an editor.

    Example:  kbjobs chains schema > chain.schema.json
    """
    from kbjobs.chains.schema import chain_schema

    print_json(chain_schema())


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The chain's name, and its file's.", show_default=False)],
    job: Annotated[
        list[str] | None, typer.Option(help="A phase with this job; may be given several times.", metavar="TYPE")
    ] = None,
    in_home: Annotated[bool, typer.Option("--home", help="Into chains/ of the home, to be run by its name.")] = False,
) -> None:
    """Write a new chain file, and the schema beside it that editors read.

    Example:  kbjobs chains new nightly --job index-offline
    """
    from kbjobs.chains.drafting import draft_chain, write_chain

    text = draft_chain(name, job or ["index-offline"])
    home = current_home()
    if in_home:
        home.prepare()
    for path in write_chain(home.chains if in_home else Path(), name, text):
        print(path)
    target = name if in_home else f"{name}.toml"
    say(f"Fill it in, then: kbjobs chains validate {target}")


def _as_dict(chain: Chain) -> dict[str, Any]:
    return {
        "name": chain.name,
        "description": chain.description,
        "resumable": chain.resumable,
        "sources": list(chain.sources),
        "phases": [
            {
                "name": phase.name,
                "job": phase.job_type.name,
                "weight": phase.weight,
                "params": phase.params.model_dump(exclude_unset=True),
                "on_error": phase.on_error,
                "retries": phase.retries,
            }
            for phase in chain.phases
        ],
    }
