"""``kbjobs pack``: a source as files that can be carried elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from kbjobs.commands._app import App
from kbjobs.commands._arguments import SOURCE
from kbjobs.commands._job_commands import JobCommand, JobGroup
from kbjobs.commands._render import print_json, print_table, say
from kbjobs.commands._table import Column, print_list
from kbjobs.config.home import current_home
from kbjobs.errors import ExitCode
from kbjobs.formatting import agreeing, counted
from kbjobs.services import packs


class PackGroup(JobGroup):
    """The commands below, and the job types upload and install_source."""

    jobs: ClassVar[Mapping[str, JobCommand]] = {
        "push": JobCommand(
            "upload",
            ("kbjobs pack push wiki s3://my-bucket/packs", "kbjobs pack push wiki --include-backup --dry-run"),
            positional="to",
        ),
        "pull": JobCommand(
            "install_source",
            ("kbjobs pack pull wiki s3://their-bucket/packs", "kbjobs pack pull wiki /media/stick/wiki.kbpack"),
            positional="from",
        ),
    }


app = App(cls=PackGroup)

REMOTE_COLUMNS = (
    Column("SOURCE", good=14, least=7),
    Column("NAME", good=16, least=6),
    Column("DOCUMENTS", is_number=True),
    Column("SIZE", is_number=True),
    Column("MODELS", good=12, least=6),
    Column("PUBLISHED", good=10, least=5),
    Column("HERE", good=8, least=4),
)

JSON = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.callback()
def pack() -> None:
    """Build, push, pull, list, inspect and prune packs: a source as files that can be carried elsewhere.

    Example:  kbjobs pack inspect /media/stick/wiki.kbpack
    """


@app.command()
def build(
    source_id: SOURCE,
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A file (.kbpack) or the folder of a store.")],
    include_backup: Annotated[
        bool, typer.Option("--include-backup", help="Include the source's files: pages, PDFs, ZIM files.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Write a source into a pack: its documents, passages and vectors and, with --include-backup, its files.

    A pack is a consistent snapshot, even while jobs run, and reproducible byte for byte. A store may hold many packs;
    only new parts are written to it. Exits 3 if files could not be read.

    Example:  kbjobs pack build wiki /media/stick/wiki.kbpack --include-backup
    """
    written, unseen = packs.build(current_home(), source_id, target, include_backup)
    if as_json:
        print_json(written.as_dict())
    else:
        say(
            f"{target}: {source_id}, version {written.version[:12]}, {written.manifest.size / 1e6:,.1f} MB in"
            f" {counted(written.parts, 'part')}, {written.new_bytes / 1e6:,.1f} MB written."
        )
    for key, reason in unseen:
        say(f"Left out: {key}: {reason}")
    if unseen:
        raise typer.Exit(ExitCode.PARTIAL)


@app.command()
def prune(
    where: Annotated[str, typer.Argument(metavar="URL", help="The store.", show_default=False)],
    grace: Annotated[str, typer.Option(help="Delete only what is older: 24h, 7d, 0.")] = "24h",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    rebuild_catalogue: Annotated[
        bool, typer.Option("--rebuild-catalogue", help="First rebuild the catalogue from the packs in the store.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Delete what no pack in a store's catalogue needs: leftovers of uploads and replaced versions.

    Nothing younger than the grace time is deleted, because a running upload may need it.

    Example:  kbjobs pack prune s3://my-bucket/packs --dry-run
    """
    from datetime import timedelta

    from kbjobs.commands._times import parse_duration

    seconds = 0.0 if grace == "0" else parse_duration(grace)
    home = current_home()
    if rebuild_catalogue:
        sources = packs.rebuild_catalogue(home, where)
        say(f"The catalogue of {where} names {counted(sources, 'source')}.")
    pruned = packs.prune(home, where, timedelta(seconds=seconds), dry_run)
    if as_json:
        print_json(pruned.as_dict())
        return
    verb = "would go" if dry_run else "removed"
    say(
        f"{counted(pruned.parts, 'part')} and {counted(pruned.manifests, 'manifest')} {verb}, {_mega(pruned.bytes)};"
        f" {agreeing(pruned.kept_young, 'part', 'that nothing needs is', 'that nothing needs are')} too young."
    )


@app.command("list")
def list_packs(
    where: Annotated[
        str | None,
        typer.Argument(
            metavar="[URL]",
            help="The store (default: the setting packs.from or packs.to, else packs/ in the home).",
            show_default=False,
        ),
    ] = None,
    as_json: JSON = False,
) -> None:
    """List the sources of a store, and which of them are installed here.

    Example:  kbjobs pack list s3://their-bucket/packs
    """
    print_packs(where, as_json=as_json)


def print_packs(where: str | None, *, as_json: bool) -> None:
    """Print the catalogue of a store.

    Args:
        where: its address; None: the settings.
        as_json: whether to print JSON.
    """
    rows = packs.list_remote(current_home(), where)
    if as_json:
        print_json(rows)
        return
    print_list(
        REMOTE_COLUMNS,
        [
            (
                row["source"],
                row["name"],
                f"{row['documents']:,}",
                f"{row['size'] / 1e6:,.1f} MB",
                ", ".join(model["name"] for model in row["models"]),
                row["published_at"],
                row["here"],
            )
            for row in rows
        ],
    )


@app.command()
def inspect(
    where: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL",
            help="A .kbpack file, a manifest.json or its folder, or the address of a store.",
            show_default=False,
        ),
    ],
    source_id: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="If the address is a store: the source whose newest pack to show."),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read the whole pack and check every part.")] = False,
    as_json: JSON = False,
) -> None:
    """Show what a pack holds without installing it.

    Example:  kbjobs pack inspect /media/stick/wiki.kbpack --verify

    Example:  kbjobs pack inspect s3://their-bucket/packs wiki
    """
    described = packs.inspect(current_home(), where, source_id, verify)
    if as_json:
        print_json({**described, "verified": verify})
        return
    print_table(("", ""), list(_rows(described)))
    if verify:
        say(f"All {counted(described['parts'], 'part')} are intact.")


def _rows(pack: dict[str, Any]) -> list[tuple[str, str]]:
    backup = pack["backup"]
    languages = ", ".join(f"{name} {count:,}" for name, count in pack["languages"].items())
    rows = [
        ("source", pack["source"]),
        ("name", pack["name"]),
        ("licence", pack["license"] or "not told"),
        ("base URL", pack["base_url"] or ""),
        ("tags", ", ".join(pack["tags"])),
        ("version", pack["version"]),
        ("format", pack["format"]),
        ("languages", languages or "unknown"),
        ("documents", f"{pack['documents']:,}" + (f", {pack['filtered']:,} more filtered" if pack["filtered"] else "")),
        *(
            (
                "model",
                f"{model['name']}, dimension {model['dimension']:,}: {counted(model['passages'], 'passage')},"
                f" {counted(model['vectors'], 'vector')}, {_mega(model['size'])}",
            )
            for model in pack["models"]
        ),
        ("size", f"{_mega(pack['size'])} in {counted(pack['parts'], 'part')}"),
        ("backup", f"{counted(backup['files'], 'file')}, {_mega(backup['bytes'])}" if backup else "not in it"),
    ]
    return [row for row in rows if row[1]]


def _mega(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
