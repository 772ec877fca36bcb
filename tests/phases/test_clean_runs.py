"""What a run of a type that shares its worker leaves behind in the process: nothing."""

from __future__ import annotations

import gc
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.phases.registry import job_types
from kbjobs.services.sources import register
from kbjobs.store.sources import SourceFolder
from tests.conftest import write_pages
from tests.phases.test_index_offline import Silent
from tests.servers.openai_server import OpenAIServer

SHARED = ("clear_vectors", "index_offline", "index_online", "metadata")
PARAMS: dict[str, dict[str, Any]] = {"clear_vectors": {"all": True}}


def left_open() -> tuple[list[str], list[str]]:
    """The open files and the threads of this process, by name."""
    gc.collect()
    files = []
    for descriptor in Path("/proc/self/fd").iterdir():
        if descriptor.is_symlink():
            files.append(str(descriptor.readlink()))
    return sorted(files), sorted(thread.name for thread in threading.enumerate())


def test_the_types_that_share_a_worker_are_known() -> None:
    assert sorted(one.name for one in job_types() if one.shares_worker) == sorted(SHARED)


@pytest.mark.processes
@pytest.mark.usefixtures("minilm")
@pytest.mark.parametrize("name", SHARED)
def test_a_run_leaves_no_file_no_thread_and_no_variable(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, name: str
) -> None:
    """What the first run keeps for the whole process, such as a library's threads, does not grow with later runs."""
    pages = write_pages(tmp_path / "pages", 3)
    register(home, "docs", [pages])
    [kind] = [one for one in job_types() if one.name == name]
    source = SourceFolder(home.sources, "docs")

    def run(number: int) -> None:
        (pages / "more.html").write_text(
            f"<html lang=en><title>More</title><p>Number {number} of the pages.</p></html>"
        )
        given = kind.params(**PARAMS.get(name, {}))
        planned = kind.plan(PhaseRequest(home, Settings(home), given, source))
        kind.run(
            Context(home, Settings(home), source, number, Silent(), lambda: False, logging.getLogger("test")),
            planned.params,
        )

    run(1)
    run(2)
    before, variables, place = left_open(), dict(os.environ), Path.cwd()
    for number in (3, 4, 5):
        run(number)
    assert left_open() == before
    assert dict(os.environ) == variables
    assert Path.cwd() == place
