"""``kbjobs sources``: what there is to index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from kbjobs.commands._app import App
from kbjobs.commands._arguments import SOURCE
from kbjobs.commands._asking import NO_INPUT, YES, ask_unless
from kbjobs.commands._completion import complete_chains, complete_sources
from kbjobs.commands._declared import apply
from kbjobs.commands._job_commands import JobCommand, JobGroup
from kbjobs.commands._render import DamagedSources, print_json, print_table, say
from kbjobs.commands._table import Cell, Column, print_list
from kbjobs.commands._upkeep import compact, rebuild, verify
from kbjobs.config.home import current_home
from kbjobs.formatting import counted, format_languages
from kbjobs.services import sources as front


class SourcesGroup(JobGroup):
    """The commands below, and the job type delete_source."""

    jobs: ClassVar[Mapping[str, JobCommand]] = {
        "delete": JobCommand("delete_source", ("kbjobs sources delete wiki",)),
        "remove": JobCommand("delete_source", ("kbjobs sources remove wiki",), is_shown=False),
    }


app = App(cls=SourcesGroup)

JSON = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]

CHAIN = Annotated[
    str | None,
    typer.Option(
        help="Its own chain (a name or a file), which kbjobs chain --all-sources runs.",
        metavar="CHAIN",
        show_default=False,
        autocompletion=complete_chains,
    ),
]
LANGUAGE_FILTER = Annotated[
    str | None,
    typer.Option(help="The language filter of its jobs: en, or en,be.", metavar="CODES", show_default=False),
]

COLUMNS = (
    Column("SOURCE", good=18, least=7),
    Column("NAME", good=20, least=6),
    Column("DOCUMENTS", is_number=True),
    Column("MODELS", good=16, least=8),
    Column("PATHS", good=20, least=8, keeps_end=True),
)


@app.callback()
def sources() -> None:
    """Register, declare, edit, list, show, tag, relocate, verify, rebuild, compact and delete sources.

    Example:  kbjobs sources add wiki ./pages --base-url https://wiki.example.org/
    """


@app.command()
def add(
    source_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the new source.", show_default=False)],
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH…]", help="Folders or files.", show_default=False)
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="A site to be scraped, in place of paths.", metavar="URL", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    license_name: Annotated[str, typer.Option("--license", help="Licence of the content.")] = "",
    base_url: Annotated[str, typer.Option(help="The pages' address online; kbjobs builds their URLs from it.")] = "",
    chain: CHAIN = None,
    language_filter: LANGUAGE_FILTER = None,
    like: Annotated[
        str | None,
        typer.Option(
            help="Take licence, chain, filter and scrape options from this source.",
            metavar="SOURCE",
            show_default=False,
            autocompletion=complete_sources,
        ),
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the files into the home.")] = False,
    yes: YES = False,
    no_input: NO_INPUT = False,
    as_json: JSON = False,
) -> None:
    """Register folders or files as a source: HTML, text, PDF, EPUB, office files, CSV, e-mail and ZIM.

    The files are read where they are, unless --copy is given. kbjobs asks first about a system folder and about more
    than 20,000 files.

    Example:  kbjobs sources add wiki ./pages --name "Our wiki" --license CC-BY-SA-4.0

    Example:  kbjobs sources add guide --url https://guide.example.org/ --like manual
    """
    from kbjobs.services.source_profiles import NewSource, add_source

    given = front.SourceFields(name or None, license_name or None, base_url or None, chain, language_filter)
    wanted = NewSource(source_id, tuple(paths or ()), url, given, like, copy)
    source, files = add_source(current_home(), wanted, ask_unless(yes, no_input))
    following = f"run index-offline {source.id}" if url is None else f"run scrape {source.id}"
    if source.chain:
        following = f"chain {source.chain} --source {source.id}"
    if as_json:
        print_json({**asdict(source), "files": files})
    else:
        say(f"Source {source.id}: {counted(files, 'file') if url is None else url}. Next: kbjobs {following}")


@app.command()
def edit(
    source_id: SOURCE,
    add: Annotated[
        list[Path] | None, typer.Option("--add", metavar="PATH", help="Add a folder or file.", show_default=False)
    ] = None,
    drop: Annotated[
        list[Path] | None, typer.Option("--drop", metavar="PATH", help="Drop one of its paths.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.", show_default=False)] = None,
    license_name: Annotated[
        str | None, typer.Option("--license", help="Licence of the content.", show_default=False)
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="The pages' address online; an empty one if there is none.", show_default=False)
    ] = None,
    chain: CHAIN = None,
    language_filter: LANGUAGE_FILTER = None,
    yes: YES = False,
    no_input: NO_INPUT = False,
    as_json: JSON = False,
) -> None:
    """Change a source: add or drop paths, change its name, licence, base URL, chain or filter; '' clears one.

    The next job that reads the source removes the documents of a dropped path. No file is deleted.

    Example:  kbjobs sources edit wiki --add ./more-pages --name "Our wiki"
    """
    ask = ask_unless(yes, no_input)
    from kbjobs.services.source_profiles import check_fields

    described = check_fields(
        current_home(), front.SourceFields(name, license_name, base_url, chain, language_filter), Path.cwd()
    )
    edited = front.edit(current_home(), source_id, add or (), drop or (), described, ask)
    if as_json:
        print_json(edited.as_dict())
        return
    say(f"Source {source_id}: {' '.join(edited.source.paths)}")
    if drop:
        say(
            f"{edited.dropped_documents:,} of its {edited.documents:,} documents are in the dropped path. The next"
            " job that reads the source removes them; if they are more than 20 % of all, it needs --allow-delete."
        )


@app.command()
def relocate(
    source_id: SOURCE,
    old: Annotated[
        Path, typer.Argument(metavar="OLD", help="One of its paths, or a folder above them.", show_default=False)
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Its new place.", show_default=False)],
    as_json: JSON = False,
) -> None:
    """Tell a source that its files have moved, to another disk or machine. Nothing is read or embedded again.

    Example:  kbjobs sources relocate wiki /mnt/old/wiki /srv/wiki
    """
    moved = front.relocate(current_home(), source_id, old, new)
    if as_json:
        print_json({**asdict(moved.source), "documents": moved.documents, "there": moved.there})
        return
    say(f"Source {source_id}: {' '.join(moved.source.paths)}")
    if moved.documents:
        say(f"{moved.there:,} of its {counted(moved.documents, 'document')} are there.")


@app.command("list")
def list_all(
    remote: Annotated[bool, typer.Option("--remote", hidden=True, help="As kbjobs pack list.")] = False,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL",
            hidden=True,
            help="The store of --remote.",
        ),
    ] = None,
    as_json: JSON = False,
) -> None:
    """List all sources. If one is damaged, it is named on stderr, the others are listed, and the exit code is 3.

    Example:  kbjobs sources list --json
    """
    if remote or from_ is not None:
        from kbjobs.commands.pack import print_packs

        print_packs(from_, as_json=as_json)
        return
    damaged = DamagedSources()
    states = front.describe_all(current_home(), damaged)
    if as_json:
        print_json([state.as_dict() for state in states])
    elif states:
        rows = [
            (
                Cell(state.source.id, "bold"),
                state.source.name,
                f"{state.documents:,}",
                _models(state.models),
                " ".join(state.source.paths),
            )
            for state in states
        ]
        print_list(COLUMNS, rows)
    else:
        say("No sources. Register one with kbjobs sources add ID PATH.")
    for source_id, rest in front.list_half_deleted(current_home()):
        say(
            f"Source {source_id} was deleted, but files of it remain. To remove them: kbjobs sources delete"
            f" {source_id}: {rest}"
        )
    damaged.end()


def _models(models: Sequence[front.SourceModel]) -> Cell:
    """The models of a source with their vectors; with less room their names, then how many they are."""
    if not models:
        return Cell("not indexed", "dim")
    vectors = ", ".join(f"{one.model} ({one.vectors:,})" for one in models)
    names = ", ".join(one.model for one in models)
    return Cell(vectors, shorter=(names,) if len(models) == 1 else (names, counted(len(models), "model")))


@app.command()
def show(source_id: SOURCE, as_json: JSON = False) -> None:
    """Show one source: where its files are and what was indexed.

    Example:  kbjobs sources show wiki
    """
    from kbjobs.services.tags import list_suggestions

    state = front.describe(current_home(), source_id)
    if as_json:
        print_json(state.as_dict())
        return
    source = state.source
    rows = [
        ("source", source.id),
        ("name", source.name),
        ("license", source.license),
        ("base URL", source.base_url),
    ]
    rows += [("path", path) for path in source.paths]
    rows += [("chain", source.chain), ("language filter", source.language_filter), ("declared in", source.declared_in)]
    rows += [("created", source.created_at), ("documents", f"{state.documents:,}")]
    if state.filtered:
        rows.append(("filtered", f"{state.filtered:,} more documents, left out by their language"))
    if state.languages:
        rows.append(("languages", format_languages(state.languages)))
    rows += [
        (
            "model",
            f"{model.model}, {model.dimension} dimensions, {counted(model.chunks, 'passage')},"
            f" {counted(model.vectors, 'vector')}"
            + (", cleared" if model.cleared else f", on {model.store}" if model.store else ""),
        )
        for model in state.models
    ]
    rows.append(("tags", ", ".join(source.tags)))
    suggested = list(list_suggestions(source))
    for kind, label in (("category", "suggested tags"), ("novel", "suggested, new"), ("term", "key terms")):
        rows.append((label, ", ".join(tag["tag"] for tag in suggested if tag.get("kind") == kind)))
    print_table(("", ""), [row for row in rows if row[1]])


@app.command(hidden=True)
def documents(
    source_id: SOURCE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything known of each document as a line of JSON.")
    ] = False,
) -> None:
    """List a source's documents: language, date, type and title of each, and where it is.

    "kbjobs documents list" tells more, and has filters.

    Example:  kbjobs sources documents wiki --json | jq -r .url
    """
    from kbjobs.services.documents import documents as list_documents

    found = list_documents(current_home(), source_id)
    if as_json:
        for document in found:
            print(json.dumps(document, ensure_ascii=False))
        return
    rows = [
        (
            f"({one['language']})" if one["filtered"] else one["language"] or "",
            one["published"] or "",
            one["doc_type"] or "",
            one["title"],
            one["path"],
        )
        for one in found
    ]
    if rows:
        print_table(("language", "published", "type", "title", "path"), rows)
    else:
        say(f"No documents yet. Next: kbjobs run metadata {source_id}")


@app.command()
def skipped(source_id: SOURCE, as_json: JSON = False) -> None:
    """List what kbjobs left out of a source, and why: web addresses, files, entries of archives.

    Example:  kbjobs sources skipped wiki
    """
    from kbjobs.commands.documents import print_left_out
    from kbjobs.services.documents import list_left_out

    found = list_left_out(current_home(), source_id)
    print_left_out(found, f"Nothing of source {source_id} was left out.", as_json=as_json)


@app.command()
def tags(
    source_id: SOURCE,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="TAG", help="Accept this tag; may be repeated.", show_default=False),
    ] = None,
    accept_all: Annotated[bool, typer.Option("--accept-all", help="Accept all suggested tags.")] = False,
    reject: Annotated[
        list[str] | None,
        typer.Option(
            "--reject", metavar="TAG", help="Never suggest this tag again; may be repeated.", show_default=False
        ),
    ] = None,
    as_json: JSON = False,
) -> None:
    """List a source's tags and the suggested ones, with documents as evidence; accept or reject suggestions.

    A suggestion becomes a tag once you accept it; a rejected one is not suggested again. Each option can undo the
    other. --accept-all leaves out what --reject names. Either all changes are made or none.

    Example:  kbjobs sources tags wiki --accept water --accept "first aid" --reject boiling
    """
    from kbjobs.services.tags import list_suggestions, review_tags

    reviewed = review_tags(current_home(), source_id, accept or (), reject or (), accept_all)
    if as_json:
        print_json(reviewed.as_dict())
        return
    source = reviewed.source
    if accept or reject or accept_all:
        say(
            f"Source {source_id}: {counted(len(reviewed.accepted), 'tag')} accepted,"
            f" {len(reviewed.rejected):,} rejected."
        )
    rows = [("own", tag, "", "", "") for tag in source.tags]
    rows += [
        ("suggested", tag["tag"], str(tag.get("kind", "")), str(tag.get("documents", "")), _titles(tag.get("evidence")))
        for tag in list_suggestions(source)
    ]
    rows += [("rejected", tag, "", "", "") for tag in source.rejected_tags]
    if rows:
        print_table(("", "tag", "kind", "documents", "such as"), rows)
    else:
        say(f"The source has no tags. Next: kbjobs run suggest-tags {source_id}")


def _titles(evidence: object) -> str:
    found = evidence if isinstance(evidence, list) else []
    return "; ".join(str(one.get("title", "")) for one in found if isinstance(one, dict))


app.command()(apply)
app.command()(verify)
app.command()(rebuild)
app.command()(compact)
