"""The tools for jobs: their status for every assistant; running and cancelling only if allowed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from tests.assistant.calls import Assistant, open_assistant
from tests.conftest import wait_ended, wait_until, write_pages


@pytest.fixture
def assistant(home: Home, tmp_path: Path) -> Iterator[Assistant]:
    """An assistant that may run jobs, and a source."""
    register(home, "wiki", [write_pages(tmp_path / "pages", 2)])
    with open_assistant(home, allow_jobs=True) as opened:
        yield opened


def test_two_tools_more_and_they_say_that_they_change_things(assistant: Assistant) -> None:
    tools = assistant.tools()
    changing = [name for name, tool in tools.items() if not tool.annotations.read_only_hint]
    assert changing == ["run_job", "cancel_job"] and len(tools) == 7
    assert all(tools[name].annotations.destructive_hint for name in changing)


def test_without_permission_there_is_no_such_tool(home: Home) -> None:
    with open_assistant(home) as assistant, pytest.raises(BaseExceptionGroup) as caught:
        assistant.call("run_job", type="metadata", source="wiki")
    assert "there is no tool 'run_job'" in repr(caught.value)
    assert not home.state_file.exists()


def test_a_job_is_run_and_its_status_shown(assistant: Assistant, home: Home) -> None:
    assert assistant.call("job_status") == {"daemon_is_running": False, "jobs": []}
    job = assistant.call("run_job", type="metadata", source="wiki", params={"force": True})["job"]
    assert (job["type"], job["source"], job["id"]) == ("metadata", "wiki", 1)
    with JobManager(home) as manager:
        wait_ended(manager, 1)
    shown = assistant.call("job_status", job=1)["job"]
    assert (shown["status"], shown["result"]["documents"]) == ("completed", 2)
    assert [one["id"] for one in assistant.call("job_status")["jobs"]] == [1]
    assert "params" not in shown


@pytest.mark.usefixtures("test_types")
def test_a_job_is_cancelled(assistant: Assistant) -> None:
    assistant.call("run_job", type="steps", source="wiki", params={"count": 1_000, "seconds": 0.05})
    wait_until(lambda: assistant.call("job_status", job=1)["job"]["status"] == "running")
    assistant.call("cancel_job", job=1)
    wait_until(lambda: assistant.call("job_status", job=1)["job"]["status"] == "cancelled")


def test_a_source_cannot_be_deleted(assistant: Assistant, home: Home) -> None:
    message = assistant.refusal("run_job", type="delete-source", source="wiki", params={"confirm": "wiki"})
    assert message == "an assistant cannot delete a source\nAt a terminal: kbjobs sources delete wiki"
    home.chains.mkdir(parents=True)
    (home.chains / "tidy.toml").write_text(
        '[[phase]]\njob = "metadata"\n[[phase]]\njob = "delete-source"\nparams = { confirm = "wiki" }\n'
    )
    assert assistant.refusal("run_job", type="tidy", source="wiki").startswith("an assistant cannot delete a source")
    assert assistant.call("job_status")["jobs"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"type": "metadata", "source": "none"}, "there is no source 'none'"),
        ({"type": "nonsense"}, "unknown job type 'nonsense'"),
        ({"type": "metadata", "source": "wiki", "params": {"wrong": 1}}, ""),
        ({"type": "index_online", "source": "wiki"}, ""),
    ],
)
def test_what_cannot_be_queued_is_said(assistant: Assistant, arguments: dict[str, object], message: str) -> None:
    said = assistant.refusal("run_job", **arguments)
    assert said.startswith(message) and "\n" in said
    assert assistant.call("job_status")["jobs"] == []


def test_no_place_of_a_file_in_what_a_job_or_its_refusal_says(assistant: Assistant, home: Home, tmp_path: Path) -> None:
    with JobManager(home) as manager:
        wait_ended(manager, manager.submit("zim_inspect", None, path=str(write_bad_archive(tmp_path))))
    job = assistant.call("job_status", job=1)["job"]
    assert job["status"] == "failed" and "bad.zim" in job["error"]
    (tmp_path / "pages").rename(tmp_path / "moved")
    assert "pages" in assistant.refusal("run_job", type="index_offline", source="wiki")


def write_bad_archive(folder: Path) -> Path:
    archive = folder / "bad.zim"
    archive.write_bytes(b"ZIM\x04" + b"\x00" * 200)
    return archive
