"""``kbjobs chain``: what an operator types, reads and gets back, for one source and for several."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.services.sources import register
from tests.commands.conftest import OpenTerminal, check_help
from tests.conftest import Kbjobs, read_json, wait_until, write_pages

pytestmark = pytest.mark.usefixtures("test_types")


@pytest.fixture
def sources(home: Home, tmp_path: Path) -> Path:
    """Sources a and b; returns the folder for chain files."""
    for source in ("a", "b"):
        register(home, source, [write_pages(tmp_path / source, 1)])
    return tmp_path


def phases(*params: dict[str, Any], top: str = "") -> str:
    """A chain file with a phase of steps for each of the parameters; other keys are those of the phase."""
    text = f'name = "nightly"\n{top}'
    for number, given in enumerate(params):
        keys = {key: given.pop(key) for key in ("on_error", "retries", "weight", "name") if key in given}
        text += '\n[[phase]]\njob = "steps"\n'
        text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        inline = ", ".join(f"{key} = {json.dumps(value)}" for key, value in {"number": number, **given}.items())
        text += f"params = {{ {inline} }}\n"
    return text


def write(folder: Path, text: str) -> Path:
    path = folder / "nightly.toml"
    path.write_text(text)
    return path


def test_a_chain_runs_from_its_file(sources: Path, kbjobs: Kbjobs) -> None:
    path = write(sources, phases({"count": 2, "weight": 1}, {"count": 3, "weight": 3}, top='source = "a"\n'))
    ended = kbjobs("chain", path)
    assert "job 1 nightly a: completed" in ended.stdout
    assert "2 of 2 phases done" in ended.stdout
    assert re.search(r"job 1: phase steps completed in \S+: 2 steps", ended.stderr)
    assert re.search(r"job 1: phase steps-2 completed in \S+: 3 steps", ended.stderr)
    job = read_json(kbjobs("status", "1", "--json"))
    assert (job["type"], job["source"], job["exit_code"], job["progress"]) == ("nightly", "a", 0, 100.0)
    assert [(one["name"], one["weight"], one["status"]) for one in job["phases"]] == [
        ("steps", 25.0, "completed"),
        ("steps_2", 75.0, "completed"),
    ]
    shown = kbjobs("status", "1").stdout
    assert re.search(r"steps-2\tcompleted\t100%\t75%\t\S+\t3 steps", shown)
    assert kbjobs("history", "--type", "nightly").stdout.startswith("1\tnightly\ta\tcompleted")


def test_a_chain_of_the_home_runs_by_its_name(home: Home, sources: Path, kbjobs: Kbjobs) -> None:
    (home.path / "chains").mkdir()
    write(home.path / "chains", phases({"count": 1}))
    for name in ("nightly", "nightly.toml"):
        assert "completed" in kbjobs("chain", name, "--source", "a").stdout
    missing = kbjobs("chain", "nihgtly", "--source", "a", check=4)
    assert "Did you mean nightly?" in missing.stderr


def test_several_sources_are_a_job_each_and_end_with_the_worst_code(home: Home, sources: Path, kbjobs: Kbjobs) -> None:
    path = write(sources, phases({"count": 1, "fail": True}, top='sources = ["a", "b"]\n'))
    (home.sources / "a" / "mended").touch()
    ended = kbjobs("chain", path, check=1)
    table = [line.split("\t")[:4] for line in ended.stdout.splitlines() if "\t" in line]
    assert table == [["1", "nightly", "a", "completed"], ["2", "nightly", "b", "failed"]]
    only = kbjobs("chain", path, "--source", "a", "--source", "a")
    assert "job 3 nightly a: completed" in only.stdout
    assert kbjobs("chain", path, "--detach").stdout.split() == ["4", "5"]


def test_nothing_is_queued_where_one_source_is_wrong(sources: Path, kbjobs: Kbjobs) -> None:
    path = write(sources, phases({"count": 1}))
    assert "no source 'ghost'" in kbjobs("chain", path, "--source", "a", "--source", "ghost", check=4).stderr
    assert "needs a source" in kbjobs("chain", path, check=2).stderr
    path.write_text(phases({"cuont": 1}))
    wrong = kbjobs("chain", path, "--source", "a", check=2)
    assert wrong.stderr.startswith(f"{path}:5:24: error:")
    assert "did you mean" in wrong.stderr.lower()
    assert "^" in wrong.stderr
    assert read_json(kbjobs("history", "--json")) == []


def test_failed_documents_let_it_go_on_and_end_with_3(sources: Path, kbjobs: Kbjobs) -> None:
    path = write(sources, phases({"count": 1, "fail_documents": 2}, {"count": 1}))
    ended = kbjobs("chain", path, "--source", "a", check=3)
    assert "2 of 2 phases done; 2 documents could not be processed" in ended.stdout


def test_a_phase_that_may_fail(sources: Path, kbjobs: Kbjobs) -> None:
    path = write(sources, phases({"fail": True, "on_error": "continue", "name": "risky"}, {"count": 1}))
    ended = kbjobs("chain", path, "--source", "a", check=3)
    assert "1 of 2 phases done; risky failed (see the log)" in ended.stdout
    assert "phase risky failed" in ended.stderr
    assert "the source is broken" in ended.stderr
    job = read_json(kbjobs("status", "1", "--json"))
    assert [one["status"] for one in job["phases"]] == ["failed", "completed"]


def test_retries_of_a_phase(sources: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBJOBS_RETRY_SECONDS", "0.1")
    path = write(sources, phases({"fail_first": 1, "retries": 1}, {"fail_first": 2, "retries": 2}))
    kbjobs("chain", path, "--source", "a")
    assert read_json(kbjobs("status", "1", "--json"))["attempt"] == 4
    path = write(sources, phases({"fail_first": 1, "number": 7}))
    assert "the server is busy" in kbjobs("chain", path, "--source", "a", check=1).stderr
    kbjobs("chain", path, "--source", "b", "--retries", "1")


def test_resume_goes_on_and_says_so(home: Home, sources: Path, kbjobs: Kbjobs) -> None:
    path = write(sources, phases({"count": 1}, {"fail": True}, {"count": 1}))
    failed = kbjobs("chain", path, "--source", "a", "--resume", check=1)
    assert "There is no checkpoint of nightly for a: starting from the beginning" in failed.stderr
    assert "Continue with kbjobs resume 1" in failed.stderr
    assert "steps-2" in kbjobs("interrupted").stdout
    (home.sources / "a" / "mended").touch()
    resumed = kbjobs("chain", path, "--source", "a", "--resume")
    assert "Going on from the checkpoint of nightly for a: 1 of 3 phases done" in resumed.stderr
    assert "3 of 3 phases done, 1 of them before" in resumed.stdout
    again = kbjobs("chain", path, "--source", "a")
    assert "checkpoint" not in again.stderr


def test_an_edited_chain_is_not_resumed(sources: Path, kbjobs: Kbjobs) -> None:
    kbjobs("chain", write(sources, phases({"count": 1}, {"fail": True})), "--source", "a", check=1)
    write(sources, phases({"count": 2}, {"fail": True}))
    refused = kbjobs("chain", sources / "nightly.toml", "--source", "a", "--resume", check=2)
    assert "phase 1 (steps): count was 1 and is 2" in refused.stderr
    assert "without --resume" in refused.stderr
    fresh = kbjobs("chain", sources / "nightly.toml", "--source", "a", check=1)
    assert "from the beginning, although it has a checkpoint" in fresh.stderr


def test_a_chain_that_is_not_resumable_goes_on_inside_its_job(home: Home, sources: Path, kbjobs: Kbjobs) -> None:
    path = write(sources, phases({"count": 1}, {"fail": True}, top="resumable = false\n"))
    kbjobs("chain", path, "--source", "a", check=1)
    assert "resumable = false" in kbjobs("chain", path, "--source", "a", "--resume", check=2).stderr
    assert "checkpoint" not in kbjobs("chain", path, "--source", "a", check=1).stderr
    (home.sources / "a" / "mended").touch()
    kbjobs("resume", "1")
    job = read_json(kbjobs("status", "1", "--json"))
    assert (job["attempt"], job["exit_code"]) == (2, 0)


def test_a_time_limit_keeps_what_is_done(sources: Path, kbjobs: Kbjobs) -> None:
    path = write(sources, phases({"count": 1}, {"count": 40, "seconds": 0.1}))
    limited = kbjobs("chain", path, "--source", "a", "--timeout", "1s", check=8)
    assert "Continue with kbjobs resume 1" in limited.stderr
    kbjobs("resume", "--all", "--timeout", "1h")
    job = read_json(kbjobs("status", "1", "--json"))
    assert (job["exit_code"], job["attempt"]) == (0, 2)


def test_events_of_a_chain(sources: Path, kbjobs: Kbjobs) -> None:
    path = write(sources, phases({"count": 2, "seconds": 0.4}, {"count": 2, "seconds": 0.4}))
    lines = [json.loads(line) for line in kbjobs("chain", path, "--source", "a", "--json").stdout.splitlines()]
    events = [line["event"] for line in lines]
    assert (events[0], events[-1]) == ("queued", "finished")
    assert events.count("phase") == 2
    progress = [line["job"]["progress"] for line in lines]
    assert progress == sorted(progress)
    assert progress[-1] == 100.0
    assert all(value < 100 for value in progress[:-1])


def test_the_same_chain_twice(sources: Path, kbjobs: Kbjobs) -> None:
    path = write(sources, phases({"count": 100, "seconds": 0.1}))
    kbjobs("chain", path, "--source", "a", "--detach")
    assert "job 1" in kbjobs("chain", path, "--source", "a", check=5).stderr
    skipped = kbjobs("chain", path, "--source", "a", "--source", "b", "--if-active", "skip", "--detach")
    assert skipped.stdout.split() == ["2"]
    assert "nothing was queued for it" in skipped.stderr
    kbjobs("cancel", "1", "2")


@pytest.mark.full
def test_the_time_left_is_right_from_the_second_run_on(sources: Path, kbjobs: Kbjobs) -> None:
    """The first run knows only weights; the second knows what each phase took, also of two of one type."""
    slow = [{"count": 10, "seconds": 0.1, "weight": 90}, {"count": 10, "seconds": 0.3, "weight": 10}]
    kbjobs("chain", write(sources, phases(*[dict(one) for one in slow])), "--source", "a")
    kbjobs("chain", sources / "nightly.toml", "--source", "a", "--detach")

    def early() -> Any:
        job = read_json(kbjobs("status", "2", "--json"))
        return job if job["eta_seconds"] is not None else None

    job = wait_until(early)
    left = job["eta_seconds"]
    kbjobs("wait", "2")
    took = sum(phase["seconds"] for phase in read_json(kbjobs("status", "1", "--json"))["phases"])
    assert abs(left - (took - job["duration_seconds"])) <= 1, (left, took, job["duration_seconds"])


def test_every_phase_has_its_bar(sources: Path, terminal: OpenTerminal) -> None:
    path = write(sources, phases({"count": 2, "weight": 20}, {"count": 40, "seconds": 0.1, "weight": 80}))
    shown = terminal("chain", path, "--source", "a", columns=120)
    shown.read_until(r"nightly a .*%")
    shown.read_until(r"✓   steps .*100% done \d")
    shown.read_until(r"  steps-2 .*\d+% weight 80%")
    shown.read_until(r"✓ nightly a +job 1, \S+", 60)
    shown.read_until(r"  ✓ steps-2 +\S.* +[\d.]+s")
    assert shown.end() == 0


@pytest.mark.full
def test_on_a_narrow_terminal_what_is_done_and_left_stays(sources: Path, terminal: OpenTerminal) -> None:
    path = write(sources, phases({"count": 2}, {"count": 40, "seconds": 0.1, "name": "a_long_name_of_a_phase"}))
    shown = terminal("chain", path, "--source", "a", columns=60)
    shown.read_until(r"a-long-name-of-a-phase [━╸ ]+\d+%")
    shown.read_until(r"\d+/40 steps · \S+/s · \S+s left +\(job 1\)")
    assert shown.end() == 0


def test_a_chain_file_does_not_hide_a_job_type(home: Home, sources: Path, kbjobs: Kbjobs) -> None:
    (home.path / "chains").mkdir()
    (home.path / "chains" / "metadata.toml").write_text(phases({"count": 1}).replace("nightly", "metadata"))
    kbjobs("run", "metadata", "a", "--force")


def test_built_in_chains_are_types_to_run(kbjobs: Kbjobs) -> None:
    for name in ("generate-source", "regenerate-source", "reindex-online", "reindex-offline"):
        assert "kbjobs chains show" in kbjobs("run", name, "--help").stdout
    assert "Did you mean generate-source?" in kbjobs("run", "generate-sorce", "wiki", check=2).stderr
    known = {one["name"]: one for one in read_json(kbjobs("types", "--json"))}
    assert known["reindex_online"]["label"] == "Reindex (Online)"
    assert known["reindex_online"]["phases"] == ["clear_vectors", "index_online"]
    assert known["regenerate_source"]["resumable"] is False


def test_what_a_later_phase_needs_is_asked_for_before_anything_is_queued(sources: Path, kbjobs: Kbjobs) -> None:
    refused = kbjobs("run", "generate-source", "a", check=6)
    assert "phase index_online: index-online needs OPENAI_API_KEY" in refused.stderr
    assert "set-secret OPENAI_API_KEY" in refused.stderr
    assert read_json(kbjobs("history", "--json")) == []


@pytest.mark.usefixtures("minilm")
def test_an_engine_is_checked_before_anything_is_queued(sources: Path, kbjobs: Kbjobs) -> None:
    assert "--engine" in kbjobs("run", "index-offline", "--help").stdout
    assert "openvino" in kbjobs("run", "index-offline", "a", "--engine", "magic", check=2).stderr
    refused = kbjobs("run", "index-offline", "a", "--engine", "onnxruntime", check=2)
    assert "ships no onnx/model.onnx" in refused.stderr
    assert "use --engine auto" in refused.stderr
    chain = 'name = "nightly"\n\n[[phase]]\njob = "index_offline"\nparams = {{ engine = "{}" }}\n'
    wrong = kbjobs("chain", write(sources, chain.format("openvin")), "--source", "a", check=2)
    assert "nightly.toml:5" in wrong.stderr
    assert "openvino" in wrong.stderr
    assert read_json(kbjobs("history", "--json")) == []
    kbjobs("chain", write(sources, chain.format("openvino")), "--source", "a")
    job = read_json(kbjobs("status", "1", "--json"))
    assert job["phases"][0]["params"]["engine"] == "openvino"
    assert job["phases"][0]["result"]["engine"].startswith("openvino-")


def test_run_names_no_type_that_is_not_for_people(kbjobs: Kbjobs) -> None:
    assert "unknown job type 'python-function'" in kbjobs("run", "python-function", "wiki", check=2).stderr


@pytest.mark.parametrize("name", ["index", "reindex"])
def test_a_name_of_former_times_shows_every_dimension(kbjobs: Kbjobs, name: str) -> None:
    assert "384|768|1024|1536" in kbjobs("run", name, "--help").stdout


def test_help_and_a_chain_that_is_not_there(home: Home, kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "chain")
    refused = kbjobs("chain", "reindex-onlin", "--source", "a", check=4)
    assert (refused.stdout, "Did you mean reindex-online" in refused.stderr) == ("", True)
    assert not home.state_file.exists()
