"""Searches in a loop while a job changes the index, is killed and goes on: each answer is the old or the new one."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.daemon.launching import stop_daemon
from kbjobs.errors import NotFoundError
from kbjobs.retrieval.hits import Query
from kbjobs.retrieval.searcher import Searcher
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register, verify
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import rest_full, wait_ended, wait_until, write_pages

pytestmark = pytest.mark.usefixtures("minilm")
PAGES = 30
Answer = tuple[tuple[str, str, float | None], ...] | None
"""Documents, texts and scores; None where there is no index."""


class Polling:
    """Asks without a pause: with a searcher that stays open, by vectors and words, and with a new one, by words."""

    def __init__(self, home: Home) -> None:
        self.answers: list[Answer] = []
        self.new_answers: list[Answer] = []
        self.error: BaseException | None = None
        self._home, self._is_over = home, threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def ask(self, searcher: Searcher, **how: object) -> Answer:
        try:
            hits = searcher.search(Query("giraffes at the water hole", ("a",), 5, **how))  # type: ignore[arg-type]
        except NotFoundError:
            return None
        return tuple((hit.doc_id, hit.text, hit.score) for hit in hits)

    def _poll(self) -> None:
        try:
            with Searcher(self._home, Settings(self._home)) as kept:
                while not self._is_over.is_set():
                    self.answers.append(self.ask(kept))
                    with Searcher(self._home, Settings(self._home)) as opened:
                        self.new_answers.append(self.ask(opened, mode="words"))
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Polling:
        self._thread.start()
        wait_until(lambda: len(self.new_answers) > 2 or self.error)
        return self

    def __exit__(self, *_: object) -> None:
        seen = len(self.new_answers)
        wait_until(lambda: len(self.new_answers) > seen + 2 or self.error)
        self._is_over.set()
        self._thread.join()


def write_giraffes(pages: Path, text: str) -> None:
    (pages / "giraffes.html").write_text(f"<html lang=en><body><p>{text}</p></body></html>")


@pytest.fixture
def manager(home: Home, tmp_path: Path) -> Iterator[JobManager]:
    pages = write_pages(tmp_path / "pages", PAGES)
    (pages / "giraffes.html").write_text(
        "<html lang=en><body><p>Giraffes drink at the water hole in the evening.</p></body>"
    )
    register(home, "a", [pages])
    opened = JobManager(home)
    assert wait_ended(opened, opened.submit("index_offline", "a")).exit_code == 0
    yield opened
    opened.close()


def check(polling: Polling) -> None:
    """Old answers, then new ones, and no third kind."""
    assert polling.error is None, polling.error
    for answers in (polling.answers, polling.new_answers):
        assert len(set(answers)) == 2
        changes = sum(one != two for one, two in itertools.pairwise(answers))
        assert changes == 1


@pytest.mark.parametrize(
    "point",
    rest_full(
        [
            "embed.committed", "documents.deleted", "matrix.rows_written", "passages.written", "matrix.sealed",
            "publish.before", "swap.between_renames", "swap.renamed", "publish.done",
        ],
        "swap.between_renames",
    ),
)  # fmt: skip
def test_an_index_run(
    home: Home, manager: JobManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    write_giraffes(tmp_path / "pages", "Giraffes have long necks.")
    (tmp_path / "pages" / "page3.html").unlink()
    restart_with(home, monkeypatch, f"{point}:{tmp_path / 'killed'}")
    with Polling(home) as polling:
        job = wait_ended(manager, manager.submit("index_offline", "a"))
    assert (tmp_path / "killed").exists()
    assert (job.exit_code, job.attempt) == (0, 2)
    check(polling)
    assert verify(home, "a").ok


@pytest.mark.parametrize("point", rest_full(["clear.marked", "clear.renamed", "clear.removed"], "clear.renamed"))
def test_a_clear(home: Home, manager: JobManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    restart_with(home, monkeypatch, f"{point}:{tmp_path / 'killed'}")
    with Polling(home) as polling:
        job = wait_ended(manager, manager.submit("clear_vectors", "a"))
    assert (tmp_path / "killed").exists()
    assert (job.exit_code, job.attempt) == (0, 2)
    check(polling)
    assert polling.answers[-1] is None


@pytest.mark.parametrize("point", rest_full(["matrix.sealed", "swap.between_renames", "swap.renamed"], "swap.renamed"))
def test_a_rebuild(home: Home, manager: JobManager, tmp_path: Path, point: str) -> None:
    """It changes no answer, killed or not."""
    environment = {**os.environ, VARIABLE: f"{point}:{tmp_path / 'killed'}"}
    command = [sys.executable, "-m", "kbjobs", "sources", "rebuild", "a"]
    with Polling(home) as polling:
        codes = [subprocess.run(command, env=environment, check=False).returncode for _ in range(2)]
    assert codes == [-9, 0]
    assert polling.error is None, polling.error
    assert len(set(polling.answers)) == len(set(polling.new_answers)) == 1
    assert verify(home, "a").ok


def restart_with(home: Home, monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
    """Stop the daemon, so that the one of the next submit hands the wish to its workers."""
    stop_daemon(home, now=True, seconds=30)
    monkeypatch.setenv(VARIABLE, wish)
