"""What a job has done, in figures: the lines that end a run on a terminal, and the note of a job in a list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kbjobs.config.prices import format_dollars
from kbjobs.formatting import counted, format_languages
from kbjobs.store.jobs import Job


@dataclass(frozen=True, slots=True)
class Figure:
    """A line such as "documents  1,204  31 new, 4 changed"; one that ``is_failure`` stands first in a short note."""

    name: str
    value: str
    detail: str = ""
    is_failure: bool = False


Result = Mapping[str, Any]


def figures_of(job: Job) -> list[Figure]:
    """The figures of a job; none if its type has none, or if it was a dry run."""
    return find_figures(job.type, job.result, job.source, job.id)


def find_figures(job_type: str, result: Result | None, source: str | None, job_id: int) -> list[Figure]:
    """Choose what of a result a person wants to know.

    Args:
        job_type: the type whose result it is.
        result: the counts of the job or phase.
        source: the source's id, for the command that lists what failed.
        job_id: the job, for the command that shows its log.
    """
    choose = FIGURES.get(job_type)
    if choose is None or not result or result.get("dry_run"):
        return []
    try:
        figures = choose(result)
        failed = int(result.get("failed") or 0)
    except (KeyError, TypeError, ValueError):  # the result of another version
        return []
    if failed:
        where = f"kbjobs sources skipped {source}" if source and job_type in LISTED else f"kbjobs logs {job_id}"
        figures.append(Figure("failed", f"{failed:,}", where, is_failure=True))
    return figures


def format_note(figures: Sequence[Figure], most: int = 2) -> str:
    """The figures as a note: what failed, then the first ones."""
    failed = [f"{one.value} {one.name}" for one in figures if one.is_failure]
    others = [
        f"{one.value} {one.name.removesuffix('s') if one.value == '1' else one.name}"
        for one in figures
        if not one.is_failure
    ]
    return " · ".join([*failed, *others[:most]])


def _list(result: Result, **words: str) -> str:
    """The counts that are not zero, each with its word."""
    return ", ".join(f"{result[name]:,} {word}" for name, word in words.items() if result.get(name))


def _number(result: Result, name: str, shown_as: str, detail: str = "") -> list[Figure]:
    """A figure that is left out if it is zero."""
    return [Figure(shown_as, f"{result[name]:,}", detail)] if result.get(name) else []


def _index(result: Result) -> list[Figure]:
    price = f"bought, {format_dollars(result['price_usd'])} USD at list price" if "price_usd" in result else ""
    return [
        Figure("documents", f"{result['documents']:,}", _list(result, new="new", changed="changed", deleted="deleted")),
        Figure("passages", f"{result['chunks']:,}", _list(result, embedded="embedded", reused="reused")),
        *_number(result, "tokens", "tokens", price),
        *_number(result, "filtered", "filtered", "left out by the language filter"),
        *_number(result, "skipped", "skipped", "links, pipes, too little text"),
    ]


def _metadata(result: Result) -> list[Figure]:
    languages = result["languages"]
    return [
        Figure("documents", f"{result['documents']:,}", _list(result, new="new", changed="changed", removed="removed")),
        Figure("languages", f"{len(languages):,}", format_languages(languages)),
        *_number(result, "filtered", "filtered", "left out by the language filter"),
        *_number(result, "skipped", "skipped", "links and pipes"),
    ]


def _scrape(result: Result) -> list[Figure]:
    causes = ", ".join(f"{count:,} {cause}" for cause, count in list(result["skipped_for"].items())[:3])
    return [
        Figure(
            "pages",
            f"{result['pages']:,}",
            _list(result, saved="saved", unchanged="unchanged", removed="removed"),
        ),
        *_number(result, "assets", "assets", "pictures and styles"),
        *_number(result, "queued", "left", "addresses beyond --page-limit"),
        *_number(result, "skipped", "skipped", causes),
    ]


def _install(result: Result) -> list[Figure]:
    return [
        Figure(
            "documents", f"{result['documents']:,}", _list(result, kept_documents="kept that the pack does not have")
        ),
        Figure("passages", f"{result['chunks']:,}"),
        Figure("vectors", f"{result['vectors']:,}", _list(result, kept_vectors="of before kept")),
        *_number(result, "files", "files"),
    ]


def _upload(result: Result) -> list[Figure]:
    if result["version"] is None:  # nothing was sent
        return []
    size, sent = (f"{result[name] / 1e6:,.1f}" for name in ("bytes", "new_bytes"))
    return [
        Figure("documents", f"{result['documents']:,}", f"version {result['version'][:12]} in {result['store']}"),
        Figure("parts", f"{result['parts']:,}", f"{result['new_parts']:,} sent"),
        Figure("MB", size, f"{sent} sent"),
    ]


def _pinecone(result: Result) -> list[Figure]:
    place = f"{result['index']}/{result['namespace']}"
    price = f"{format_dollars(result['price_usd'])} USD at list price"
    changes = _list(result, pushed="sent", deleted="deleted", in_sync="were in sync")
    return [
        Figure("records", f"{result['records']:,}", f"{changes}, {place}" if changes else place),
        *_number(result, "write_units", "write units", price),
        *_number(result, "cut", "cut", "to fit the metadata of a record"),
    ]


def _map(result: Result) -> list[Figure]:
    return [
        Figure("documents", f"{result['documents']:,}", f"of {counted(len(result['sources']), 'source')}"),
        Figure("topics", f"{result['clusters']:,}", f"by {result['model']}"),
        Figure("links", f"{result['links']:,}"),
        *_number(result, "without_vectors", "left out", "documents without a vector"),
    ]


FIGURES: dict[str, Callable[[Result], list[Figure]]] = {
    "index_offline": _index,
    "index_online": _index,
    "zim_index": _index,
    "metadata": _metadata,
    "scrape": _scrape,
    "install_source": _install,
    "upload": _upload,
    "pinecone_sync": _pinecone,
    "visualisation": _map,
}
# What failed of these, "kbjobs sources skipped" lists; of others the log names it.
LISTED = {"index_offline", "index_online", "zim_index", "metadata", "scrape"}
