"""visualisation as a job: of one source, of several, of all; what it refuses; killed, and shown in a browser."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import MissingRequirementError, NotFoundError, UsageError
from kbjobs.phases import visualisation
from kbjobs.phases.job_type import Params, PhaseRequest
from kbjobs.phases.visualisation import JOB_TYPE, VisualisationParams, advise, plan
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.locks import lock_source
from kbjobs.store.queue import Queue
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import Kbjobs, read_json, wait_ended, wait_until, write_pages
from tests.faults.test_crash_points import finish
from tests.maps.maps import fill_map, mixed_documents

POINTS = ["map.before_rename", "map.points_renamed", "map.page_renamed"]


def states_of(home: Home, name: str) -> set[str]:
    """The states that the two files of a map tell."""
    state = json.loads((home.visualisation / f"{name}.json").read_text())["state"]
    page = (home.visualisation / f"{name}.html").read_text()
    assert page.endswith("</html>\n")
    return {state, page.partition('name="kbjobs-state" content="')[2].partition('"')[0]}


def test_a_source_has_a_map_under_its_name(home: Home, kbjobs: Kbjobs) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", 40))
    ended = kbjobs("run", "visualisation", "wiki")
    page = home.visualisation / "wiki.html"
    assert ended.stdout.splitlines()[-2:] == [str(page), str(page.with_suffix(".json"))]
    assert "40 documents of 1 source, 4 clusters" in ended.stdout
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.visualisation.iterdir()} == {0o600}
    assert stat.S_IMODE(home.visualisation.stat().st_mode) == 0o700
    assert len(states_of(home, "wiki")) == 1
    written = page.stat().st_mtime_ns
    assert "unchanged; visualisation/wiki.html" in kbjobs("run", "visualisation", "wiki").stdout
    assert page.stat().st_mtime_ns == written
    job = JobManager(home).get_job_history(1)[0]
    assert job.source == "wiki" and job.result is not None and job.result["html"] == "visualisation/wiki.html"


def test_several_or_all_have_one_map(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    for name in ("a", "b", "c"):
        fill_map(home, name, mixed_documents(name, 8))
    register(home, "empty", [write_pages(tmp_path / "empty", 1)])
    events = [json.loads(line) for line in kbjobs("run", "visualisation", "b", "a", "b", "--json").stdout.splitlines()]
    assert events[-1]["job"]["source"] is None and events[-1]["job"]["params"]["sources"] == ["b", "a"]
    assert events[-1]["job"]["result"]["sources"] == ["b", "a"]
    assert "24 documents of 3 sources" in kbjobs("run", "visualisation").stdout
    assert sorted(path.name for path in home.visualisation.iterdir()) == ["map.html", "map.json"]
    assert kbjobs("run", "visualisation", "a", "empty").stdout.count("empty has no vectors") == 1


def test_what_cannot_be_drawn_is_refused_before_it_is_queued(
    home: Home, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = kbjobs("run", "visualisation", check=6)
    assert "no source is indexed" in ended.stderr and "index-offline" in ended.stderr
    folder = fill_map(home, "wiki", mixed_documents("wiki", 4))
    assert "Did you mean wiki?" in kbjobs("run", "visualisation", "wikis", check=4).stderr
    kbjobs("run", "visualisation", "wiki", "wikis", check=4)
    kbjobs("run", "visualisation", "wiki", "../x", check=2)
    kbjobs("run", "visualisation", "wiki", "--method", "tsne", check=2)
    kbjobs("run", "visualisation", "wiki", "--open", "--detach", check=2)
    with pytest.raises(UsageError, match="names others"):
        plan(PhaseRequest(home, Settings(home), VisualisationParams(sources=["other"]), folder))
    monkeypatch.setattr(visualisation, "find_spec", lambda name: None)
    with pytest.raises(MissingRequirementError, match="umap-learn") as caught:
        plan(PhaseRequest(home, Settings(home), VisualisationParams(method="umap"), folder))
    assert caught.value.hint == "pip install 'kbjobs[umap]'"
    with pytest.raises(NotFoundError):
        plan(PhaseRequest(home, Settings(home), VisualisationParams(), SourceFolder(home.sources, "gone")))
    assert JobManager(home).get_job_history(9) == []


def test_a_source_without_vectors_fails_with_what_to_do(home: Home, kbjobs: Kbjobs) -> None:
    fill_map(home, "wiki", [])
    ended = kbjobs("run", "visualisation", "wiki", check=6)
    assert "source 'wiki' has no vectors" in ended.stderr and "kbjobs run index-offline wiki" in ended.stderr
    ended = kbjobs("run", "visualisation", "wiki", "--dimension", "1536", check=6)
    assert "no vectors of dimension 1536" in ended.stderr and "kbjobs run index-online wiki" in ended.stderr


def test_a_chain_is_told_where_there_is_nothing_to_draw(home: Home) -> None:
    def said(*earlier: str, **params: Any) -> list[str]:
        return advise(
            PhaseRequest(
                home, Settings(home), VisualisationParams(**params), folder, tuple((name, Params()) for name in earlier)
            )
        )

    folder = SourceFolder(home.sources, "wiki")
    fill_map(home, "wiki", [])
    assert said() == ["source 'wiki' has no vectors: add an index before the map"]
    assert said("metadata", "index_offline") == []
    fill_map(home, "wiki", mixed_documents("wiki", 2))
    assert said() == [] and "of dimension 768" in said(dimension=768)[0]


def test_a_job_over_several_sources_holds_each_of_them(home: Home) -> None:
    for name in ("a", "b", "c"):
        fill_map(home, name, mixed_documents(name, 2))
    manager = JobManager(home)

    def new(source: str | None, **params: Any) -> Any:
        return manager.plan(manager.find_chain("visualisation", params), source).job

    both, one, other, all_of_them = new(None, sources=["a", "b"]), new("b"), new("c"), new(None)
    assert both.resources == ("source:a", "source:b", "type:visualisation")
    assert one.resources == ("source:b",) == JOB_TYPE.resources("b", VisualisationParams())
    assert all_of_them.resources == ("source:a", "source:b", "source:c", "type:visualisation")
    with Queue(home.state_file) as queue:
        first, second, third, _ = queue.submit_all([both, one, other, all_of_them])
        claimed = [queue.claim(f"run-{number}") for number in range(3)]
        assert [job and job.id for job in claimed] == [first.id, third.id, None]
        assert queue.get(second.id).status is Status.PENDING


def test_the_worker_waits_for_a_source_that_a_command_works_on(home: Home) -> None:
    for name in ("a", "b"):
        fill_map(home, name, mixed_documents(name, 2))
    manager = JobManager(home)
    lock = lock_source(SourceFolder(home.sources, "b").lock, "b", 1)
    job_id = manager.submit("visualisation", None)
    wait_until(
        lambda: home.log_file(job_id, 1).exists() and "source b is in use" in home.log_file(job_id, 1).read_text()
    )
    assert not home.visualisation.exists()
    lock.release()
    assert wait_ended(manager, job_id).exit_code == 0
    assert (home.visualisation / "map.html").exists()


def test_the_map_of_a_deleted_source_goes_with_it(home: Home, kbjobs: Kbjobs) -> None:
    for name in ("map", "b"):
        fill_map(home, name, mixed_documents(name, 4))
        kbjobs("run", "visualisation", name)
    kbjobs("run", "visualisation")
    kbjobs("run", "delete-source", "map", "--confirm", "map")
    assert sorted(path.name for path in home.visualisation.iterdir()) == ["b.html", "b.json", "map.html", "map.json"]


@pytest.mark.processes
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_leaves_the_old_files_or_the_new_ones(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", 12))
    manager = JobManager(home)
    assert finish(manager, manager.submit("visualisation", "wiki")).exit_code == 0
    (old,) = states_of(home, "wiki")
    fill_map(home, "wiki", mixed_documents("wiki", 16))
    subprocess.run(["kill", "-9", str(manager.get_daemon().pid)], check=True)
    wait_until(lambda: not manager.get_daemon().running)
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    job_id = manager.submit("visualisation", "wiki")
    wait_until(marker.exists)
    states = states_of(home, "wiki")  # both whole, and at any time of the old state or the new one
    assert len(states | {old}) <= 2
    ended = finish(manager, job_id)
    assert (ended.exit_code, ended.attempt) == (0, 2)
    (new,) = states_of(home, "wiki")
    assert new != old
    assert sorted(path.name for path in home.visualisation.iterdir()) == ["wiki.html", "wiki.json"]


def test_the_page_is_opened_where_there_is_a_display(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", 4))
    opener = tmp_path / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/new && mv {tmp_path}/new {tmp_path}/opened\n')
    opener.chmod(0o700)
    base = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    with_opener = {**base, "PATH": f"{opener.parent}:{base['PATH']}"}
    page = home.visualisation / "wiki.html"
    ended = kbjobs("run", "visualisation", "wiki", "--open", env=with_opener)
    assert f"There is no display here to show it on: open {page} in a browser." in ended.stderr
    ended = kbjobs("run", "visualisation", "wiki", "--open", env={**base, "DISPLAY": ":9", "PATH": "/nowhere"})
    assert f"xdg-open is not installed (Debian: xdg-utils): open {page} in a browser." in ended.stderr
    assert not (tmp_path / "opened").exists()
    kbjobs("run", "visualisation", "wiki", "--open", "--quiet", env={**with_opener, "DISPLAY": ":9"})
    wait_until((tmp_path / "opened").exists)
    assert (tmp_path / "opened").read_text() == str(page)


def test_it_is_listed_with_what_it_takes(kbjobs: Kbjobs) -> None:
    (listed,) = [one for one in read_json(kbjobs("types", "--json")) if one["name"] == "visualisation"]
    assert listed["command"] == "kbjobs run visualisation [SOURCE…]"
    assert (listed["label"], listed["category"]) == ("Visualize", "cloud")
    assert set(listed["parameters"]) == {"sources", "all_sources", "method", "dimension"}
    assert "--open" in kbjobs("run", "visualisation", "--help").stdout
