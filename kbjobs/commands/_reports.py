"""Results of jobs that a person wants to see in full once the job has ended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from kbjobs.commands._errors import printable
from kbjobs.commands._render import open_console, print_table
from kbjobs.config.home import current_home

BAR = 30  # characters of the longest bar of a histogram
MAX_TYPES = 12


def show_report(job_type: str, result: dict[str, Any] | None) -> None:
    """Print the report of a job that has one."""
    show = REPORTS.get(job_type)
    if show is not None and result:
        show(result)


def _show_zim(result: dict[str, Any]) -> None:
    header = result["header"]
    facts = [
        ("file", header["path"]),
        ("title", header["title"]),
        ("description", header["description"]),
        ("creator", header["creator"]),
        ("publisher", header["publisher"]),
        ("licence", header["license"]),
        ("language", ", ".join(header["languages"])),
        ("date", header["date"]),
        ("tags", ", ".join(header["tags"])),
        ("source", header["source"]),
        ("illustration", "yes" if header["has_illustration"] else "no"),
        ("size", f"{header['filesize'] / 1e6:,.1f} MB{' in parts' if header['is_multipart'] else ''}"),
        ("content", f"{result['content_type']}: {result['reason']}"),
        ("entries", f"{result['total']:,}, {result['articles']:,} pages and {result['redirects']:,} redirects seen"),
        ("checksum", result["checksum"]),
        ("damaged entries", f"{result['damaged_count']:,}"),
    ]
    if result["is_sampled"]:
        facts.append(("sampled", f"{result['entries']:,} of {result['total']:,} entries, spread evenly"))
    print_table(("", ""), [(name, value) for name, value in facts if value])
    types = [(one["mimetype"], f"{one['count']:,}", f"{one['size'] / 1e6:,.2f}") for one in result["types"]]
    print_table(("type", "items", "MB"), types[:MAX_TYPES])
    _show_lengths(result["lengths"])
    languages = [(name or "unknown", f"{count:,}") for name, count in result["languages"].items()]
    print_table(("language", "pages"), languages[:MAX_TYPES])
    print_table(("page", "begins"), [(one["title"], one["snippet"]) for one in result["samples"]])
    for one in result["damaged"]:
        print(printable(f"  damaged: {one['path']}: {one['reason']}"))
    console = open_console(sys.stdout)
    console.print(
        f"{result['indexable']:,} of {result['articles']:,} pages have at least {result['min_text_length']:,}"
        " characters of text. To index them:",
        markup=False,
        highlight=False,
    )
    print(printable(f"  {result['recommended']['command']}"))


def _show_lengths(lengths: list[dict[str, Any]]) -> None:
    max_count = max((one["count"] for one in lengths), default=0)
    rows = [
        (
            f"{one['low']:,}–{one['high']:,}" if one["high"] is not None else f"{one['low']:,} and more",
            f"{one['count']:,}",
            "█" * round(BAR * one["count"] / max_count),
        )
        for one in lengths
        if max_count
    ]
    print_table(("characters of text", "pages", ""), rows)


def _show_map(result: dict[str, Any]) -> None:
    home = current_home().path
    print(printable(f"{home / result['html']}"))
    print(printable(f"{home / result['json']}"))


REPORTS: dict[str, Callable[[dict[str, Any]], None]] = {"zim_inspect": _show_zim, "visualisation": _show_map}
