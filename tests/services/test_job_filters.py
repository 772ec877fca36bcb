"""A filter that names nothing is told as that, with the nearest name; one that names what has been is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.chains.library import built_in_names
from kbjobs.config.home import Home
from kbjobs.errors import NotFoundError
from kbjobs.phases.names import LEGACY, NAMES
from kbjobs.services.job_queries import check_source, check_type
from kbjobs.services.sources import register
from kbjobs.store.jobs import NewJob
from kbjobs.store.queue import Queue
from tests.conftest import phase_state, write_pages


@pytest.fixture
def queue(home: Home) -> Iterator[Queue]:
    """The state after a job of a label of its own, on a source that is not registered any more."""
    home.prepare()
    queue = Queue(home.state_file)
    queue.submit(NewJob("my_export", "gone", {}, (phase_state(),), ()))
    yield queue
    queue.close()


@pytest.mark.parametrize("name", [*NAMES, *LEGACY, *built_in_names(), "index-offline", "reindex-offline"])
def test_types_of_today_and_of_former_times_are_known_in_an_empty_home(home: Home, name: str) -> None:
    check_type(home, None, name)


def test_a_label_and_a_chain_of_the_home_are_types_too(home: Home, queue: Queue) -> None:
    home.chains.mkdir()
    (home.chains / "over-night.toml").write_text("broken")
    for name in ("my_export", "my-export", "over-night", "over_night"):
        check_type(home, queue, name)
    with pytest.raises(NotFoundError):
        check_type(home, None, "my_export")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("index-ofline", "Did you mean index-offline? kbjobs types lists them."),
        ("my-exprt", "Did you mean my-export? kbjobs types lists them."),
        ("nonsense", "kbjobs types lists them."),
        ("", "kbjobs types lists them."),
        ("python_functio", "kbjobs types lists them."),  # no name for people
    ],
)
def test_an_unknown_type(home: Home, queue: Queue, name: str, hint: str) -> None:
    with pytest.raises(NotFoundError, match=f"there is no job type '{name}'") as caught:
        check_type(home, queue, name)
    assert caught.value.hint == hint


def test_a_source_is_known_by_its_registration_or_by_its_jobs(home: Home, queue: Queue, tmp_path: Path) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    for name in ("wiki", "gone"):
        check_source(home, queue, name)
    for name, hint in (("wikki", "Did you mean wiki? "), ("gon", "Did you mean gone? "), ("nonsense", "")):
        with pytest.raises(NotFoundError, match=f"there is no source '{name}'") as caught:
            check_source(home, queue, name)
        assert caught.value.hint == hint + "kbjobs sources list shows them."
