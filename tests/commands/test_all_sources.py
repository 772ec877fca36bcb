"""``--all-sources``: a job for each registered source that has what it needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.sources import SourceFolder
from tests.commands.test_help import COMMANDS
from tests.conftest import Kbjobs, write_pages

STEPS = ("run", "steps", "--count", "1", "--all-sources")
CHAIN = 'name = "two_steps"\n[[phase]]\njob = "steps"\nparams = { count = 1 }\n'


@pytest.fixture
def two(home: Home, tmp_path: Path, source: str) -> list[str]:
    """The sources of the home."""
    register(home, "b", [write_pages(tmp_path / "b", 1)])
    return [source, "b"]


def sources_of_jobs(home: Home) -> list[str | None]:
    return sorted(job.source or "" for job in JobManager(home).get_job_history())  # type: ignore[return-value]


def test_a_job_for_each(home: Home, two: list[str], kbjobs: Kbjobs) -> None:
    shown = kbjobs(*STEPS)
    assert "2 jobs queued, one for each of 2 sources." in shown.stderr
    assert sources_of_jobs(home) == two
    assert all(job.exit_code == 0 for job in JobManager(home).get_job_history())


def test_a_job_of_a_chain_for_each(home: Home, two: list[str], kbjobs: Kbjobs, tmp_path: Path) -> None:
    file = tmp_path / "two_steps.toml"
    file.write_text(CHAIN)
    ids = kbjobs("chain", file, "--all-sources", "--detach").stdout.split()
    assert ids == ["1", "2"]
    kbjobs("wait", *ids)
    assert sources_of_jobs(home) == two
    refused = kbjobs("chain", file, "--all-sources", "--source", "b", check=2)
    assert "a source and --all-sources were both given" in refused.stderr


def test_all_sources_win_over_those_that_a_file_names(
    home: Home, two: list[str], kbjobs: Kbjobs, tmp_path: Path
) -> None:
    file = tmp_path / "two_steps.toml"
    file.write_text('sources = ["b"]\n' + CHAIN)
    kbjobs("chain", file, "--all-sources", "--quiet")
    assert sources_of_jobs(home) == two


@pytest.mark.usefixtures("two")
def test_a_built_in_chain_and_its_dry_run(kbjobs: Kbjobs) -> None:
    output = json.loads(kbjobs("run", "generate-source", "--all-sources", "--dry-run", "--json", check=None).stdout)
    assert [one["source"] for one in output] == ["a", "b"]


def test_a_damaged_source_is_left_out_and_the_code_says_so(home: Home, two: list[str], kbjobs: Kbjobs) -> None:
    SourceFolder(home.sources, "b").manifest.write_text("{")
    shown = kbjobs(*STEPS, check=3)
    assert "Left out: source b: " in shown.stderr and "1 job queued, one for each of 1 source." in shown.stderr
    assert sources_of_jobs(home) == ["a"]
    assert kbjobs(*STEPS, "--detach", check=3).stdout == "2\n"
    SourceFolder(home.sources, "a").manifest.write_text("{")
    assert "there is no usable source" in kbjobs(*STEPS, check=4).stderr


def test_a_failure_is_worse_than_a_damaged_source(home: Home, two: list[str], kbjobs: Kbjobs) -> None:
    SourceFolder(home.sources, "b").manifest.write_text("{")
    kbjobs(*STEPS, "--fail", check=1)


def test_where_one_is_refused_none_is_queued(home: Home, two: list[str], kbjobs: Kbjobs) -> None:
    kbjobs("run", "delete-source", "b", "--confirm", "b", "--not-before", "+9h", "--detach")
    refused = kbjobs(*STEPS, check=5)
    assert "source 'b' is about to be deleted" in refused.stderr
    assert sources_of_jobs(home) == ["b"]


def test_a_job_that_is_live_already_is_refused_or_skipped(home: Home, two: list[str], kbjobs: Kbjobs) -> None:
    kbjobs("pause")
    kbjobs("run", "steps", "b", "--count", "1", "--detach")
    assert "the same job is already pending: job 1" in kbjobs(*STEPS, check=5).stderr
    skipped = kbjobs(*STEPS, "--if-active", "skip", "--detach")
    assert "1 job queued, one for each of 2 sources." in skipped.stderr
    assert sources_of_jobs(home) == two


def test_neither_both_nor_nothing(home: Home, source: str, kbjobs: Kbjobs) -> None:
    assert "both given" in kbjobs("run", "steps", source, "--all-sources", check=2).stderr
    assert "no source is named" in kbjobs("run", "metadata", check=2).stderr
    assert "no source is named" in kbjobs("run", "generate-offline", check=2).stderr
    kbjobs("sources", "remove", source, "--confirm", source)
    assert "there is no usable source" in kbjobs(*STEPS, check=4).stderr


def test_the_map_keeps_its_own_meaning() -> None:
    [of_map] = [one for one in COMMANDS["run", "visualisation"].params if "--all-sources" in one.opts]
    assert "one map" in of_map.help
    without = {"delete-source", "zim-index", "zim-inspect", "model-download", "language-download"}
    for names, command in COMMANDS.items():
        if names[0] == "run" and len(names) == 2:
            has_it = any("--all-sources" in one.opts for one in command.params)
            assert has_it is (names[1] not in without), names


def test_a_source_whose_folder_is_gone_is_left_out_and_the_others_run(
    home: Home, kbjobs: Kbjobs, tmp_path: Path
) -> None:
    for name in ("alpha", "beta"):
        kbjobs("sources", "add", name, write_pages(tmp_path / name, 1))
    shutil.rmtree(tmp_path / "beta")
    shown = kbjobs("run", "metadata", "--all-sources", check=3)
    assert "Left out: source beta: " in shown.stderr and "is not there" in shown.stderr
    assert sources_of_jobs(home) == ["alpha"]
    assert "is not there" in kbjobs("run", "metadata", "beta", check=4).stderr
    report = kbjobs("report").stdout
    assert f"source beta: {tmp_path / 'beta'} is not there" in report
    assert str(tmp_path / "beta") in kbjobs("doctor", check=1).stdout
    shutil.rmtree(tmp_path / "alpha")
    refused = kbjobs("run", "metadata", "--all-sources", check=4)
    assert "Left out" not in refused.stderr and "is not there" in refused.stderr
