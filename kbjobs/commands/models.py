"""``kbjobs models``: the local models on this machine, and those that can be fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, ClassVar

import typer

from kbjobs.commands._app import App
from kbjobs.commands._completion import complete_models
from kbjobs.commands._job_commands import JobCommand, JobGroup
from kbjobs.commands._render import DamagedSources, print_json, print_table, say
from kbjobs.config.home import current_home
from kbjobs.formatting import counted
from kbjobs.services import models as front


class ModelsGroup(JobGroup):
    """The commands below, and the job type model_download."""

    jobs: ClassVar[Mapping[str, JobCommand]] = {
        "download": JobCommand(
            "model_download",
            (
                "kbjobs models download all-mpnet-base-v2",
                "kbjobs models download BAAI/bge-small-en-v1.5 --revision main",
            ),
        )
    }


app = App(cls=ModelsGroup)

NAME = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A known model, or ORGANISATION/NAME.", show_default=False, autocompletion=complete_models
    ),
]
JSON = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.callback()
def models() -> None:
    """List, show, download and remove local models.

    Example:  kbjobs models list
    """


@app.command("list")
def list_models(as_json: JSON = False) -> None:
    """List the models on this machine and the sources that use them, then the known models and how to download them.

    Example:  kbjobs models list --json
    """
    damaged = DamagedSources()
    found = front.list_models(current_home(), damaged)
    if as_json:
        print_json([asdict(model) for model in found])
    else:
        columns = ("model", "dimension", "window", "size", "licence", "where", "revision", "used by")
        print_table(columns, map(_row, found))
    damaged.end()


@app.command()
def show(
    name: NAME,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="First measure how much faster its 8-bit variant is here (some minutes)."),
    ] = False,
    as_json: JSON = False,
) -> None:
    """Show everything about a model: files, dimension, window, prompts, licence, revision, and the sources that use it.

    NAME:int8 is the 8-bit variant of a model: faster on most processors, with slightly other vectors, and so with
    an index of its own.

    Example:  kbjobs models show all-mpnet-base-v2 --measure
    """
    damaged = DamagedSources()
    if measure:
        say(f"Measuring {name} and its 8-bit variant.")
        front.measure_model(current_home(), name)
    model = front.show_model(current_home(), name, damaged)
    if as_json:
        print_json(asdict(model))
    else:
        print_table(("", ""), _facts(model))
    damaged.end()


@app.command()
def remove(
    name: NAME,
    force: Annotated[bool, typer.Option("--force", help="Remove it even if an index needs it.")] = False,
    as_json: JSON = False,
) -> None:
    """Remove a model from the home, with the files prepared for this machine. Indexes and vectors stay.

    Refused (exit code 5) while a job or an index needs it.

    Example:  kbjobs models remove bge-m3
    """
    damaged = DamagedSources()
    removed = front.remove_model(current_home(), name, force, damaged)
    if as_json:
        print_json(asdict(removed))
    else:
        say(f"{removed.name} is removed: {removed.bytes / 1e6:,.1f} MB freed.")


@app.command()
def path(name: NAME) -> None:
    """Print the folder of a model.

    Example:  ls "$(kbjobs models path all-MiniLM-L6-v2)"
    """
    print(front.find_path(current_home(), name))


def _row(model: front.ModelState) -> tuple[str, ...]:
    return (
        model.name,
        f"{model.dimension:,}" if model.dimension else "",
        f"{model.window:,}" if model.window else "",
        _size(model),
        model.licence,
        model.place if model.here else "damaged" if model.problem else "not here",
        _revision(model),
        ", ".join(model.sources) if model.here else model.command,
    )


def _facts(model: front.ModelState) -> list[tuple[str, str]]:
    facts = [
        ("model", model.name),
        ("on the hub", model.hub_id),
        ("where", f"{model.place}, {model.path}" if model.here else "not here"),
        ("problem", model.problem),
        ("to fetch it", model.command),
        ("size", _size(model)),
        ("dimension", f"{model.dimension:,}" if model.dimension else ""),
        ("window", counted(model.window, "token") if model.window else ""),
        ("pooling", model.pooling),
        ("before a query", repr(model.query_prompt) if model.query_prompt else ""),
        ("before a passage", repr(model.passage_prompt) if model.passage_prompt else ""),
        ("licence", model.licence or "not told"),
        ("revision", f"{model.revision} ({model.commit})" if model.commit else ""),
        ("key", model.key),
        ("engine", model.engine),
        ("in eight bits", _int8(model)),
        ("used by", ", ".join(model.sources)),
    ]
    return [fact for fact in facts if fact[1]]


def _int8(model: front.ModelState) -> str:
    """What is known of the 8-bit variant; empty if it has neither been made nor measured here."""
    speed = f"{model.int8_times:.2f} times as fast as exact here" if model.int8_times else ""
    return "; ".join(part for part in (speed, model.int8_closeness) if part)


def _size(model: front.ModelState) -> str:
    return f"{model.size / 1e6:,.1f} MB" if model.size is not None else ""


def _revision(model: front.ModelState) -> str:
    is_commit = model.revision == model.commit
    return model.commit[:10] if is_commit else f"{model.revision} {model.commit[:10]}"
