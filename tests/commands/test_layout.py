"""The look of a terminal at any width and in any script: tables, bars, the end of a run, links."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from kbjobs.commands._bars import LiveBars, draw_bar
from kbjobs.commands._ending import print_end, summary
from kbjobs.commands._figures import FIGURES, figures_of, find_figures, format_note
from kbjobs.commands._job_table import COLUMNS, ListedJob, notes_of, state_of
from kbjobs.commands._links import find_link
from kbjobs.commands._progress_text import progress_texts
from kbjobs.commands._render import describe_counts
from kbjobs.commands._table import Cell, Column, choose_text, print_rows, shorten
from kbjobs.commands._times import show_age_briefly, show_moment_briefly
from kbjobs.config.home import Home
from kbjobs.errors import ExitCode
from kbjobs.services.job_events import JobEvent
from kbjobs.services.sources import register
from kbjobs.store.jobs import Job, RunningPhase
from kbjobs.store.pauses import Pause
from kbjobs.store.phase_state import PhaseState, PhaseStatus
from kbjobs.store.queue import Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event, Status
from tests.commands.conftest import OpenTerminal, put_job
from tests.conftest import Kbjobs, phase_state
from tests.tools.screen import Screen, cells, find_column

WIDTHS = [60, 80, 120]
NAMES = ["wiki", "می\u200cخواهم-بدانم", "日本語の記事-集まり", "\U0001f98a-नमस्ते-दुनिया-👨\u200d👩\u200d👧", "a" * 70]
RESULT = {
    "documents": 1204, "chunks": 9410, "embedded": 812, "reused": 8598, "deleted": 2, "failed": 3, "skipped": 0,
    "filtered": 0, "new": 31, "changed": 4,
}  # fmt: skip


def job(**values: Any) -> Job:
    """A completed index job on the source wiki, but for the values given."""
    empty: dict[str, Any] = {field.name: None for field in fields(Job)}
    known = {
        "id": 41, "type": "index_offline", "source": "wiki", "params": {}, "phases": (phase_state("index_offline"),),
        "status": Status.COMPLETED, "priority": 0, "attempt": 1, "progress": 100.0, "message": "it is done",
        "duration": 134.0, "exit_code": 0, "created_at": "2026-01-01T00:00:00Z", "result": RESULT,
    }  # fmt: skip
    return Job(**empty | known | values)


def running(**values: Any) -> Job:
    phase = RunningPhase(0, "index_offline", 619, 1181, "chunks", 59.0)
    known = {"status": Status.RUNNING, "progress": 52.4, "message": "embedding", "phase": phase, "eta": 17.0}
    return job(**known | {"exit_code": None, "result": None} | values)


def console(columns: int, file: io.StringIO) -> Console:
    return Console(width=columns, height=24, file=file, force_terminal=True, color_system="truecolor")


def draw_bars(columns: int, *jobs: Job) -> list[str]:
    bars = LiveBars(console(columns, io.StringIO()), jobs)
    return bars.draw().plain.split("\n")


# -- tables ------------------------------------------------------------------------------------------


@pytest.fixture
def many(home: Home) -> Iterator[Queue]:
    """A job in every state, on sources with names of many scripts."""
    home.prepare()
    with Queue(home.state_file) as queue:
        for name, event in zip(NAMES, (Event.COMPLETE, Event.FAIL, Event.EXPIRE, Event.CANCEL), strict=False):
            job_id = put_job(queue, name)
            queue.claim(f"run of {name}")
            error = "the index 知識 is not there\nMake it." if event is Event.FAIL else None
            reason = "time_limit" if event is Event.EXPIRE else None
            code = {Event.COMPLETE: 0, Event.FAIL: 1, Event.EXPIRE: 8, Event.CANCEL: 9}[event]
            outcome = RunOutcome(event, ExitCode(code), f"it took {name}", error, reason)
            queue.finish(job_id, f"run of {name}", outcome, {"steps": 3})
        put_job(queue, NAMES[-1])
        yield queue


@pytest.mark.processes
@pytest.mark.parametrize("columns", WIDTHS)
def test_status_is_one_line_a_job_at_any_width(many: Queue, terminal: OpenTerminal, columns: int) -> None:
    shown = terminal("status", columns=columns)
    assert shown.end() == 0
    screen = Screen(columns).write(shown.output)
    assert not screen.wrapped
    header, *rows = [line for line in screen.lines if line][:6]
    assert header.split() == ["ID", "JOB", "SOURCE", "STATE", "%", "TIME", "NOTE"]
    assert [row.split()[0] for row in rows] == ["5", "4", "3", "2", "1"]  # what waits, then the newest end
    states = ["◷ waits", "⊘ cancelled", "‖ interrupted", "✗ failed", "✓ done"]
    for row, state in zip(rows, states, strict=True):
        assert find_column(row, state) == find_column(header, "STATE")
        assert find_column(row, "steps") == find_column(header, "JOB")
    assert find_column(rows[3], "the index 知識"[: 5 if columns < 80 else 10]) == find_column(header, "NOTE")
    assert "…" in rows[0]  # a name of 70 characters
    assert "kbjobs status 2 shows a job in full." in shown.text


@pytest.mark.processes
@pytest.mark.parametrize("columns", WIDTHS)
def test_verbose_status_shortens_nothing(many: Queue, terminal: OpenTerminal, columns: int) -> None:
    shown = terminal("status", "-v", columns=columns)
    assert shown.end() == 0
    screen = Screen(columns).write(shown.output)
    assert not screen.wrapped
    assert "…" not in shown.text
    whole = "".join(line.strip() for line in screen.lines)
    assert all(name in whole for name in NAMES)
    assert "Make it." in whole


@pytest.mark.processes
@pytest.mark.parametrize("columns", WIDTHS)
def test_a_list_of_documents_keeps_its_columns_in_any_script(
    home: Home, tmp_path: Path, kbjobs: Kbjobs, terminal: OpenTerminal, columns: int
) -> None:
    for number, name in enumerate(NAMES):
        (tmp_path / "pages").mkdir(exist_ok=True)
        page = f"<html lang=en><title>{name} {'and more ' * 12}</title><body><p>The kettle sings {number} times."
        (tmp_path / "pages" / f"{number}.html").write_text(page)
    register(home, "wiki", [tmp_path / "pages"])
    kbjobs("run", "metadata", "wiki", "--quiet")
    shown = terminal("documents", "list", "wiki", columns=columns)
    assert shown.end() == 0
    screen = Screen(columns).write(shown.output)
    assert not screen.wrapped
    header, *rows = [line for line in screen.lines if line]
    assert header.split() == ["NO", "TITLE", "LANG", "PUBLISHED", "AUTHOR", "WORDS", "PASSAGES"]
    assert len(rows) == len(NAMES)
    assert {cells(row) for row in rows} == {cells(header)}
    assert {find_column(row, "en ") for row in rows} == {find_column(header, "LANG")}
    assert [link.rpartition("/")[2] for _, link in screen.links] == [f"{number}.html" for number in range(len(NAMES))]
    assert all(link.startswith("file:///") for _, link in screen.links)


@pytest.mark.parametrize("columns", [20, 40, *WIDTHS])
def test_no_row_is_wider_than_its_terminal(columns: int) -> None:
    output = io.StringIO()
    note = Cell("a long note " * 9, shorter=("short",))
    rows: list[list[Cell | str]] = [[Cell(name), name, note, "12"] for name in NAMES]
    wanted = [Column("ONE", 14, 5), Column("TWO", 14, 5, keeps_end=True), Column("THREE", 20, 5), Column("N")]
    print_rows(console(columns, output), wanted, rows)
    screen = Screen(columns).write(output.getvalue())
    assert not screen.wrapped
    assert len([line for line in screen.lines if line]) == len(rows) + 1


@pytest.mark.parametrize("text", [*NAMES, "नमस्ते दुनिया", "🇩🇪🇫🇷", "e\u0301tude " * 9])
@pytest.mark.parametrize("keeps_end", [False, True])
def test_a_shortened_text_fits(text: str, keeps_end: bool) -> None:
    for room in range(30):
        assert cell_len(shorten(text, room, keeps_end)) <= room
    assert shorten(text, 100, keeps_end) == text


def test_the_end_of_an_address_is_kept() -> None:
    assert shorten("https://example.org/a/long/way/page.html", 14, keeps_end=True) == "…way/page.html"
    assert choose_text(["619/1,181 · 59/s · 17s left", "619/1,181 · 17s left", "619/1,181"], 20) == (
        "619/1,181 · 17s left"
    )


def test_off_a_terminal_a_header_comes_only_when_asked_for(many: Queue, kbjobs: Kbjobs) -> None:
    plain, named = kbjobs("status").stdout.splitlines(), kbjobs("status", "--header").stdout.splitlines()
    assert named == ["job\ttype\tsource\tstatus\tdone\ttime\tnote", *plain]
    assert kbjobs("status", "-v").stdout.splitlines() == plain
    assert plain[3].split("\t") == ["2", "steps", NAMES[1], "failed", "0%", "0.0s", "the index 知識 is not there"]


# -- states and notes ---------------------------------------------------------------------------------


def test_a_state_is_a_sign_and_a_word() -> None:
    soon = time.time() + 3600
    moment = show_moment_briefly(soon)
    states = {
        "▶ running": ListedJob(running()),
        "✗ no worker": ListedJob(running(), is_dead=True),
        "◷ waits": ListedJob(job(status=Status.PENDING)),
        f"◷ {moment}": ListedJob(job(status=Status.PENDING, not_before=soon)),
        "‖ paused": ListedJob(job(status=Status.PENDING), pause=Pause("wiki", "2026-01-01T00:00:00Z")),
        "✓ done": ListedJob(job()),
        "✗ failed": ListedJob(job(status=Status.FAILED)),
        "⊘ cancelled": ListedJob(job(status=Status.CANCELLED)),
        "‖ interrupted": ListedJob(job(status=Status.INTERRUPTED)),
    }
    assert [state_of(listed).text for listed in states.values()] == list(states)
    assert state_of(ListedJob(job(exit_code=3))).style == "yellow"


def test_a_note_begins_with_what_went_wrong() -> None:
    chain = (phase_state("one", status=PhaseStatus.FAILED), phase_state("two", status=PhaseStatus.COMPLETED))
    done = replace(chain[0], status=PhaseStatus.COMPLETED)
    notes = {
        "3 failed · 1,204 documents · 9,410 passages": job(exit_code=3),
        "no index\u00a0here": job(status=Status.FAILED, error="no index\u00a0here\nMake it.", message="phase 1"),
        "one failed · 2 failed · 2 phases": job(phases=chain, result={"failed": 2}),
        "2 phases": job(phases=(done, chain[1]), result={"failed": 0}),
        "it is done": job(type="steps"),
        "until 06:00": job(status=Status.PENDING, message="", until=_next_morning()),
    }
    assert [notes_of(ListedJob(one))[0] for one in notes.values()] == list(notes)
    assert notes_of(ListedJob(running(id=7), is_dead=True))[0].startswith("its worker is dead; kbjobs resume 7")


def _next_morning() -> float:
    now = time.localtime()
    six = time.mktime((now.tm_year, now.tm_mon, now.tm_mday, 6, 0, 0, 0, 0, -1))
    return six if six > time.time() else six + 86400


def test_a_count_of_one_says_nothing() -> None:
    step = running(phase=RunningPhase(0, "visualisation", 0, 1, "steps"), message="writing", eta=None)
    assert progress_texts(step)[0] == describe_counts(step) == "writing"
    assert progress_texts(replace(step, message=""))[0] == "visualisation"


def test_the_text_shortens_before_the_bar() -> None:
    assert progress_texts(running()) == (
        "embedding: 619/1,181 passages · 59/s · 17s left",
        "619/1,181 passages · 59/s · 17s left",
        "619/1,181 · 59/s · 17s left",
        "619/1,181 · 17s left",
        "619/1,181",
    )
    size = running(phase=RunningPhase(0, "x", 1_500_000, 9_000_000, "bytes", 2e6), message="", eta=None)
    assert progress_texts(size) == ("1.5/9.0 MB · 2.0 MB/s", "1.5/9.0 MB")


def test_moments_and_ages_are_short() -> None:
    assert re.fullmatch(r"\d\d:\d\d", show_moment_briefly(time.time() + 3600))
    assert re.fullmatch(r"\d{1,2} [A-Z][a-z]{2} \d\d:\d\d", show_moment_briefly(time.time() + 9 * 86400))
    assert re.fullmatch(r"2099-01-2\d", show_moment_briefly(4_073_000_000.0))
    begins = datetime.fromtimestamp(time.time() + 9 * 86400).astimezone()
    assert re.fullmatch(r"\d\d:\d\d", show_moment_briefly(begins.timestamp() + 8 * 3600, begins)), "of that night"
    assert re.fullmatch(r"\d+d", show_age_briefly("2020-01-01T00:00:00Z"))
    assert show_age_briefly(None) == "–"


# -- bars --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_a_bar_takes_the_room_there_is(columns: int, name: str) -> None:
    bar, detail = draw_bars(columns, running(source=name))
    assert cells(bar) == cells(detail) == columns
    assert bar.endswith("  52%")
    assert bar.count("━") >= 10
    assert "619/1,181" in detail and "17s left" in detail and detail.endswith("(job 41)")


def test_phases_have_bars_of_the_same_length() -> None:
    phases = (
        PhaseState("metadata", "metadata", {}, 20.0, PhaseStatus.COMPLETED, seconds=1.2),
        PhaseState("index_offline", "index_offline", {}, 80.0, PhaseStatus.RUNNING, progress=40.0),
    )
    whole = running(type="nightly", phases=phases)
    wide, narrow = draw_bars(80, whole), draw_bars(60, whole)
    assert re.fullmatch(r"✓   metadata +━+ 100% done 1.2s", wide[1])
    assert re.fullmatch(r"[-\\|/]   index-offline +━+ +40% weight 80%", wide[2].replace("╸", ""))
    assert len({find_column(line, "%") for line in wide[:3]}) == 1
    assert re.fullmatch(r"✓   metadata +━+ 100% 1.2s", narrow[1])
    assert all(cells(line) <= 60 for line in narrow)


def test_several_jobs_have_a_bar_each_and_a_text_if_there_is_room() -> None:
    jobs = [running(id=number) for number in range(1, 4)]
    assert len(draw_bars(80, *jobs)) == 6
    assert len(draw_bars(80, *(running(id=number) for number in range(1, 20)))) == 19


def test_a_bar_follows_the_last_event() -> None:
    bars = LiveBars(console(80, io.StringIO()), [running()])
    bars.update(JobEvent("held", job(status=Status.PENDING, progress=0.0), Pause(None, "2026-01-01T00:00:00Z")))
    line, detail = bars.draw().plain.split("\n")
    assert line.startswith("◷ index-offline wiki")
    assert "the queue is paused, it waits for kbjobs unpause" in detail


@pytest.mark.parametrize("progress", [0.0, 0.4, 50.0, 99.96, 100.0])
def test_a_bar_is_never_full_before_its_end(progress: float) -> None:
    for width in (10, 33, 100):
        bar = draw_bar(progress, width, has_colours=False).plain
        assert cell_len(bar) == width
        assert (bar == "━" * width) == (progress == 100.0)


# -- how a run ends ----------------------------------------------------------------------------------


def block(columns: int, ended: Job, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is printed at the end on a terminal of so many columns, on whichever stream."""
    file = io.StringIO()
    monkeypatch.setattr("kbjobs.commands._ending.is_terminal", lambda stream: True)
    monkeypatch.setattr("kbjobs.commands._ending.open_console", lambda stream: console(columns, file))
    print_end(ended)
    screen = Screen(columns).write(file.getvalue())
    assert not screen.wrapped
    return [line for line in screen.lines if line]


def test_the_end_of_a_run_is_a_block_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert block(120, job(exit_code=3), monkeypatch) == [
        "✓ index-offline wiki" + " " * 46 + "job 41, 2m 14s",
        "  documents  1,204   31 new, 4 changed, 2 deleted",
        "  passages   9,410   812 embedded, 8,598 reused",
        "  failed         3   kbjobs sources skipped wiki",
    ]
    narrow = block(60, job(exit_code=3, source="日本語" * 12, attempt=2), monkeypatch)
    assert cells(narrow[0]) == 60
    assert narrow[0].endswith("job 41, 2m 14s, 2 attempts")


def test_the_end_of_a_run_keeps_its_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "1,204 documents; 162 tokens bought; 7 documents keep passages of an older version: --recut cuts them anew"
    told = " ".join(" ".join(block(60, job(message=said), monkeypatch)).split())
    assert "7 documents keep passages of an older version: --recut cuts them anew" in told
    assert "tokens bought" not in told


def test_a_failure_ends_in_its_reason_and_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = job(status=Status.FAILED, exit_code=1, error="there is no index\nMake it first.", result=None)
    assert block(80, failed, monkeypatch)[1:] == ["  there is no index", "  Make it first."]
    stopped = replace(failed, status=Status.INTERRUPTED, error=None, message="time limit reached")
    assert block(80, stopped, monkeypatch)[1:] == ["  time limit reached", "  Continue with kbjobs resume 41."]


def test_the_end_of_a_chain_has_a_line_for_each_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    phases = (
        PhaseState("metadata", "metadata", {}, 20.0, PhaseStatus.COMPLETED, seconds=1.2, summary="it was read " * 9),
        PhaseState("index", "index_offline", {}, 80.0, PhaseStatus.COMPLETED, result=RESULT, seconds=61.0, failed=3),
    )
    lines = block(80, job(type="nightly", phases=phases, exit_code=3, result={"failed": 3}), monkeypatch)
    assert re.fullmatch(r"  ✓ metadata  it was read .*…  +1\.2s", lines[1])
    assert re.fullmatch(r"  ✓ index +3 failed · 1,204 documents · 9,410 passages +1m 01s", lines[2])
    assert lines[3] == "  failed  3   kbjobs logs 41"


def test_off_a_terminal_the_end_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_end(job())
    assert (
        capsys.readouterr().out
        == f"{summary(job())}\n"
        == "job 41 index-offline wiki: completed in 2m 14s: it is done\n"
    )


def test_a_type_without_figures_ends_in_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert block(80, job(type="steps"), monkeypatch)[1:] == ["  it is done"]
    assert figures_of(job(result={"dry_run": True, **RESULT})) == []
    assert figures_of(job(result={"of": "another version"})) == []
    assert format_note(find_figures("metadata", {"documents": 2, "languages": {"en": 2}}, "a", 1)) == (
        "2 documents · 1 language"
    )
    assert all(find_figures(name, {"failed": 1}, "a", 1) == [] for name in FIGURES)


# -- links -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("https://example.org/a?b=c;d#e", "https://example.org/a?b=c;d#e"),
        (
            "https://example.org/می\u200cخواهم",
            "https://example.org/%D9%85%DB%8C%E2%80%8C%D8%AE%D9%88%D8%A7%D9%87%D9%85",
        ),
        ("http://[::1]:8000/a b", "http://[::1]:8000/a%20b"),
        ("https://example.org/100%25", "https://example.org/100%25"),
        ("file:///srv/wiki/a.html", "file:///srv/wiki/a.html"),
        ("/srv/wiki/日.html", "file:///srv/wiki/%E6%97%A5.html"),
        ("file://evil.example/share", None),
        ("https:///nowhere", None),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("ssh://host/", None),
        ("pages/a.html", None),
        ("", None),
        ("http://[broken", None),
        ("https://example.org/\x1b\\\x1b]0;owned\x07", None),
        ("https://example.org/\x9c", None),
        ("https://example.org/\nX", None),
        ("https://example.org/\ud800", None),
        ("https://example.org/" + "a" * 3000, None),
    ],
)
def test_only_safe_addresses_become_links(address: str, link: str | None) -> None:
    assert find_link(address) == link


@pytest.mark.parametrize(("name", "value"), [("TERM", "linux"), ("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_takes_no_links_gets_none(
    name: str, value: str, home: Home, tmp_path: Path, kbjobs: Kbjobs, terminal: OpenTerminal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "page.html").write_text("<html><title>A page</title><body><p>The kettle sings.")
    register(home, "wiki", [tmp_path / "page.html"])
    kbjobs("run", "metadata", "wiki", "--quiet")
    monkeypatch.setenv(name, value)
    shown = terminal("documents", "list", "wiki")
    assert shown.end() == 0
    assert "A page" in shown.text
    assert "\x1b]8" not in shown.output


def test_a_hostile_title_reaches_no_escape_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    output = io.StringIO()
    output.isatty = lambda: True  # type: ignore[method-assign]
    hostile = Cell("a\x1b]8;;http://evil/\x1b\\b\u202e", address="https://example.org/\x1b]0;x\x07")
    rows = [[hostile], [Cell("good", address="https://example.org/")]]
    print_rows(console(80, output), [Column("TITLE")], rows)
    screen = Screen(80).write(output.getvalue())
    assert screen.links == [("good", "https://example.org/")]
    assert screen.lines[1] == "a\\x1b]8;;http://evil/\\x1b\\b\\u202e"


def test_the_columns_of_jobs_are_those_that_are_shortened_last() -> None:
    assert [column.title for column in COLUMNS if column.good] == ["JOB", "SOURCE", "NOTE"]
