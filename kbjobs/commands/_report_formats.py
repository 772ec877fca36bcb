"""The report of a night as plain text, Markdown or HTML; the same lines in each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from html import escape

from kbjobs.commands._errors import printable
from kbjobs.commands._figures import figures_of, format_note
from kbjobs.commands._job_table import STATES
from kbjobs.config.prices import format_dollars
from kbjobs.formatting import counted, duration
from kbjobs.services.night_report import NightReport
from kbjobs.store.jobs import Job

MAX_LINES = 15  # jobs that are listed: a report fits on a screen
STYLE = "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto}td,th{padding:.1em 1em .1em 0;text-align:left}"


class ReportFormat(StrEnum):
    """How the report is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"


def write_report(report: NightReport, form: ReportFormat) -> str:
    """The report as text.

    Args:
        report: what happened.
        form: how it is written.
    """
    return WRITERS[form](report)


def _headline(report: NightReport) -> str:
    ended = ", ".join(f"{count:,} {STATES[status][1]}" for status, count in sorted(report.counts.items()))
    return f"Last {duration(report.since)}: {ended or 'no job ended'}."


def _more(report: NightReport) -> list[str]:
    """What is still active, and what was bought."""
    lines = [f"{counted(len(report.active), 'job')} running or waiting."] if report.active else []
    if report.tokens:
        lines.append(f"Bought: {report.tokens:,} tokens, {format_dollars(report.dollars)} USD at list price.")
    return lines


def _to_do(report: NightReport) -> list[tuple[str, str]]:
    """What is to be done: the reason, and the command."""
    found = [(f"{_name(one.job)}: {one.reason}", one.remedy) for one in report.troubles]
    found += [(f"source {source}: {reason}", "kbjobs doctor") for source, reason in report.unusable]
    if report.needs_daemon:
        found.insert(0, ("Jobs are waiting, and no daemon is running.", "kbjobs daemon start"))
    return found


def _name(job: Job) -> str:
    return " ".join(filter(None, (f"job {job.id}", job.type.replace("_", "-"), job.source)))


def _rows(report: NightReport) -> list[tuple[str, str, str, str]]:
    """Each ended job: what it was, its status, its time, what it did."""
    return [
        (_name(job), STATES[job.status][1], duration(job.duration), format_note(figures_of(job)))
        for job in report.ended[:MAX_LINES]
    ]


def _rest(report: NightReport) -> str:
    left = len(report.ended) - MAX_LINES
    return f"{counted(left, 'more job')}: kbjobs history." if left > 0 else ""


def _write_text(report: NightReport) -> str:
    lines = [_headline(report), *_more(report)]
    if to_do := _to_do(report):
        lines += ["", "To do:"]
        for reason, remedy in to_do:
            lines += [f"  {reason}", f"    {remedy}"]
    if rows := _rows(report):
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines += ["", "Jobs:"]
        lines += ["  " + "  ".join([*map(str.ljust, row, widths), row[3]]).rstrip() for row in rows]
    return _join([printable(line) for line in [*lines, "", _rest(report)]])


def _write_markdown(report: NightReport) -> str:
    lines = ["# kbjobs", "", " ".join([_headline(report), *_more(report)])]
    if to_do := _to_do(report):
        lines += ["", "## To do", "", *(f"- {_safe(reason)}: `{_safe(remedy)}`" for reason, remedy in to_do)]
    if rows := _rows(report):
        lines += ["", "## Jobs", "", "| job | status | time | |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(map(_safe, row))} |" for row in rows]
    lines += ["", _rest(report)]
    return _join(lines)


def _safe(text: str) -> str:
    """The text without anything that Markdown or HTML would take for its own."""
    return "".join(f"\\{one}" if one in "\\|*_[]" else one for one in escape(printable(text), quote=False))


def _write_html(report: NightReport) -> str:
    lines = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>kbjobs</title><style>{STYLE}</style></head><body>',
        f"<h1>kbjobs</h1><p>{_html(' '.join([_headline(report), *_more(report)]))}</p>",
    ]
    if to_do := _to_do(report):
        items = "".join(f"<li>{_html(reason)}<br><code>{_html(remedy)}</code></li>" for reason, remedy in to_do)
        lines.append(f"<h2>To do</h2><ul>{items}</ul>")
    if rows := _rows(report):
        lines.append("<h2>Jobs</h2><table><tr><th>job</th><th>status</th><th>time</th><th></th></tr>")
        lines += ["<tr>" + "".join(f"<td>{_html(cell)}</td>" for cell in row) + "</tr>" for row in rows]
        lines.append("</table>")
    return "\n".join([*lines, f"<p>{_html(_rest(report))}</p></body></html>"]) + "\n"


def _html(text: str) -> str:
    return escape(printable(text))


def _join(lines: Sequence[str]) -> str:
    """The lines without empty ones at the end, and with never two in a row."""
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).rstrip() + "\n"


WRITERS: dict[ReportFormat, Callable[[NightReport], str]] = {
    ReportFormat.TEXT: _write_text,
    ReportFormat.MARKDOWN: _write_markdown,
    ReportFormat.HTML: _write_html,
}
