"""``kbjobs report``: what a person reads in the morning."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.night_report import report_night
from kbjobs.store.queue import Queue
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, read_json, write_pages


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "report")


def test_an_empty_home(home: Home, kbjobs: Kbjobs) -> None:
    assert kbjobs("report").stdout == "Last 24h 00m: no job ended.\n"
    assert not home.state_file.exists()


def test_what_failed_stands_first_with_its_remedy(past: Queue, kbjobs: Kbjobs) -> None:
    shown = kbjobs("report").stdout
    to_do, _, jobs = shown.partition("Jobs:")
    assert "job 2 steps broken: the source is broken\n    kbjobs retry 2" in to_do
    assert "job 3 steps late: it is late\n    kbjobs resume 3" in to_do
    assert "Jobs are waiting, and no daemon is running.\n    kbjobs daemon start" in to_do
    assert re.search(r"job 2 steps broken +failed", jobs)
    assert max(map(len, shown.splitlines())) <= 80


def test_what_another_job_has_done_since_is_no_trouble(home: Home, source: str, kbjobs: Kbjobs) -> None:
    kbjobs("run", "steps", source, "--fail", "--quiet", check=1)
    assert [one.remedy for one in report_night(home, 3600).troubles] == ["kbjobs retry 1"]
    kbjobs("retry", "1", "--quiet", check=1)
    kbjobs("run", "steps", source, "--quiet")
    assert len(report_night(home, 3600).ended) == 2


def test_only_the_last_hours_count(past: Queue, kbjobs: Kbjobs) -> None:
    past.connection.execute("UPDATE jobs SET finished_at = '2020-01-01T00:00:00Z' WHERE id = 2")
    past.connection.commit()
    listed = [job["id"] for job in read_json(kbjobs("report", "--json"))["jobs"]]
    assert 2 not in listed and {1, 3} <= set(listed)
    assert "is not a duration" in kbjobs("report", "--since", "night", check=2).stderr


def test_documents_that_failed_are_a_trouble(home: Home, kbjobs: Kbjobs, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 2)
    (pages / "bad.pdf").write_bytes(b"%PDF-1.4 broken")
    kbjobs("sources", "add", "docs", pages)
    kbjobs("run", "metadata", "docs", "--quiet", check=3)
    (trouble,) = report_night(home, 3600).troubles
    assert trouble.remedy == "kbjobs sources skipped docs" and "1 document" in trouble.reason


class Tags(HTMLParser):
    """Which elements a text has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)


@pytest.mark.parametrize("form", ["text", "html", "markdown"])
def test_what_strangers_wrote_is_text(form: str, past: Queue, kbjobs: Kbjobs) -> None:
    hostile = "<b onclick=alert(1)>x</b> [a](javascript:1) | `c` \x1b]0;taken\x07"
    past.connection.execute("UPDATE jobs SET error = ? WHERE id = 2", (hostile,))
    past.connection.commit()
    shown = kbjobs("report", "--format", form).stdout
    assert "onclick=alert(1)" in shown and "\x1b" not in shown and "\x07" not in shown
    assert form == "text" or "<b" not in shown.replace("<body", "").replace("<br", "")
    assert form != "markdown" or "[a]" not in shown.replace("\\[a\\]", "")
    if form == "html":
        assert set(Tags(shown).found) <= {
            "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "ul", "li", "br", "code", "table", "tr",
            "th", "td",
        }  # fmt: skip


def test_a_source_that_cannot_be_read_is_a_trouble(home: Home, source: str, kbjobs: Kbjobs) -> None:
    (home.sources / source / "manifest.json").write_text("{")
    ((name, reason),) = report_night(home, 3600).unusable
    assert name == source and "is damaged" in reason
    shown = kbjobs("report").stdout
    assert f"source {source}: {reason}\n    kbjobs doctor" in shown
