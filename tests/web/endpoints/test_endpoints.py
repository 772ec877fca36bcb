"""The API, as a program asks it: chains, jobs, sources, events; the same answers as the command line."""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kbjobs.config.home import Home
from kbjobs.services.chain_files import check_text, read_draft, write_draft
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from tests.conftest import FACTOR, Kbjobs, read_json, wait_ended, wait_until, write_pages
from tests.web.conftest import Builder, running

MALFORMED = sorted((Path(__file__).parents[2] / "chains" / "file" / "malformed").glob("*.toml"))
CHAIN = 'name = "nightly"\n\n[[phase]]\njob = "metadata"\n\n[[phase]]\njob = "steps"\nparams = { count = 3 }\n'


@pytest.fixture
def wiki(home: Home, tmp_path: Path) -> str:
    register(home, "wiki", [write_pages(tmp_path / "pages", 3)])
    return "wiki"


def post(api: httpx.Client, path: str, status: int = 200, **body: Any) -> Any:
    answer = api.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_chain_is_checked_foreseen_and_run(home: Home, api: httpx.Client, wiki: str) -> None:
    assert post(api, "/api/job-builder/validate", toml=CHAIN, sources=[wiki]) == {"valid": True, "findings": []}
    (found,) = post(api, "/api/job-builder/forecast", toml=CHAIN, sources=[wiki])["forecasts"]
    assert [(one["job"], one["documents"]) for one in found["phases"]] == [("metadata", 3), ("steps", None)]
    answer = post(api, "/api/job-builder/run", 201, toml=CHAIN, sources=[wiki], retries=1, priority=3)
    job = wait_ended(JobManager(home), answer["id"])
    assert (job.type, job.source, job.exit_code, job.priority, job.retries) == ("nightly", "wiki", 0, 3, 1)
    shown = api.get(f"/api/jobs/{job.id}").json()
    assert shown["status"] == "completed" and shown["attempts"][0]["outcome"] == "complete"
    assert api.get(f"/api/jobs/{job.id}/log").json()["text"].count("phase") >= 1
    assert [one["id"] for one in api.get("/api/jobs", params={"type": "nightly"}).json()["jobs"]] == [job.id]
    assert api.get("/api/jobs", params={"text": "no such text"}).json()["jobs"] == []


def test_the_same_job_twice_is_a_conflict_that_names_it(home: Home, api: httpx.Client, wiki: str) -> None:
    slow = CHAIN.replace("count = 3", "count = 500, seconds = 0.1")
    first = post(api, "/api/job-builder/run", 201, toml=slow, sources=[wiki])["id"]
    refused = post(api, "/api/job-builder/run", 409, toml=slow, sources=[wiki])
    assert refused["exit_code"] == 5 and f"job {first}" in refused["detail"]
    assert post(api, f"/api/jobs/{first}/cancel")["id"] == first
    wait_ended(JobManager(home), first)
    assert post(api, f"/api/jobs/{first}/resume")["attempt"] == 1
    done = post(api, "/api/jobs/actions", action="cancel", source=wiki)
    assert [one["id"] for one in done["jobs"]] == [first]
    wait_ended(JobManager(home), first)
    assert post(api, f"/api/jobs/{first}/discard")["status"] == "cancelled"


def test_problems_say_what_happened_and_what_to_do(api: httpx.Client, wiki: str) -> None:
    for answer, status in (
        (api.get("/api/jobs/77"), 404),
        (api.get("/api/chains/nothing"), 404),
        (api.delete("/api/chains/generate_source"), 404),
        (api.get("/api/sources/nothing"), 404),
        (api.get("/api/nothing"), 404),
        (api.put("/api/chains/a", json={"toml": "x ="}), 422),
        (api.put("/api/chains/..%2Fa", json={"toml": CHAIN}), 404),
        (api.get("/api/jobs", params={"days": "many"}), 422),
        (api.get("/api/jobs", params={"unknown": "1"}), 422),
        (api.post("/api/job-builder/run", json={"toml": CHAIN, "sources": ["nothing"]}), 404),
        (api.post("/api/job-builder/run", content=b"{", headers={"Content-Type": "application/json"}), 400),
        (api.patch("/api/jobs"), 405),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] and answer.json()["status"] == status
    key = 'name = "paid"\n[[phase]]\njob = "index_online"\n'
    refused = post(api, "/api/job-builder/run", 424, toml=key, sources=[wiki])
    assert refused["exit_code"] == 6 and "set-secret OPENAI_API_KEY" in refused["hint"]


def test_nothing_that_runs_a_command_can_be_set(home: Home, api: httpx.Client) -> None:
    for text in ('on_finish = ["sh"]\n' + CHAIN, CHAIN + 'on_finish = ["sh"]\n'):
        found = post(api, "/api/job-builder/validate", toml=text)
        assert not found["valid"]
        assert api.put("/api/chains/nightly", json={"toml": text}).status_code == 422
    assert not home.chains.exists() or not list(home.chains.iterdir())


def test_findings_are_tied_to_their_phase(api: httpx.Client, wiki: str) -> None:
    text = '[[phase]]\njob = "suggest_tags"\n\n[[phase]]\njob = "metadata"\nparams = { language_filter = 3 }\n'
    findings = post(api, "/api/job-builder/validate", toml=text, sources=[wiki])["findings"]
    order = next(one for one in findings if one["kind"] == "order")
    assert (order["phase"], order["severity"], order["fix"]) == (0, "warning", {"add": None, "move": 1})
    wrong = next(one for one in findings if one["severity"] == "error")
    assert (wrong["phase"], wrong["path"]) == (1, ["phase", 1, "params", "language_filter"])
    unknown = post(api, "/api/job-builder/validate", toml=CHAIN, sources=["nothing"])
    assert not unknown["valid"] and "nothing" in unknown["findings"][0]["message"]
    alone = post(api, "/api/job-builder/validate", toml='[[phase]]\njob = "suggest_tags"\n', sources=[wiki])
    assert {"add": "metadata", "move": None} in [one["fix"] for one in alone["findings"]]


def test_types_of_other_packages_are_there_with_their_schemas(api: httpx.Client) -> None:
    found = api.get("/api/job-builder/schemas").json()
    steps = next(one for one in found["types"] if one["name"] == "steps")
    assert steps["category"] == "tests" and steps["schema"]["properties"]["count"]["minimum"] == 0
    assert {"content", "indexing", "maintenance", "cloud"} <= set(found["categories"])
    assert {"generate_source", "generate_offline"} <= {one["name"] for one in found["chains"]}


def test_a_source_and_its_indexes(api: httpx.Client, kbjobs: Kbjobs, wiki: str, minilm: None) -> None:
    assert api.get("/api/sources/wiki/indexes").json() == {"source": "wiki", "documents": 0, "indexes": []}
    kbjobs("run", "generate-offline", wiki)
    (index,) = api.get("/api/sources/wiki/indexes").json()["indexes"]
    assert (index["dimension"], index["passages"], index["indexed"], index["missing"]) == (384, 3, 3, 0)
    assert index["store"] == "home"
    hits = api.get("/api/search", params={"words": "kettle", "source": "wiki"}).json()
    assert hits["hits"][0]["source"] == "wiki"
    kbjobs("run", "clear-vectors", wiki)
    assert api.get("/api/sources/wiki/indexes").json()["indexes"][0]["store"] is None
    assert [one["id"] for one in api.get("/api/sources").json()["sources"]] == ["wiki"]
    suggested = read_json(kbjobs("sources", "tags", wiki, "--json"))["suggested_tags"]
    if suggested:
        tag = suggested[0]["tag"]
        assert tag in post(api, "/api/sources/wiki/tags", accept=[tag])["tags"]


class Listener:
    """Reads a stream of events in a thread."""

    def __init__(self, builder: Builder, last_id: str | None = None) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self._client = builder.client()
        headers = {"Last-Event-ID": last_id} if last_id else {}
        self._stream = self._client.stream("GET", "/api/events", headers=headers)
        self._lines = self._stream.__enter__().iter_lines()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            for line in self._lines:
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "event" in fields:
                    self.events.append((fields["id"], fields["event"], json.loads(fields["data"])))
                    fields = {}
        except httpx.HTTPError:
            return

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def listeners() -> Iterator[list[Listener]]:
    opened: list[Listener] = []
    yield opened
    for one in opened:
        one.close()


def test_events_go_on_where_a_page_lost_them(
    home: Home, builder: Builder, wiki: str, listeners: list[Listener]
) -> None:
    first = Listener(builder)
    listeners.append(first)
    wait_until(lambda: first.events)
    assert first.events[0][1] == "hello"
    manager = JobManager(home)
    wait_ended(manager, manager.submit("steps", wiki, count=5, seconds=0.2))
    wait_until(lambda: any(data.get("status") == "completed" for _, _, data in first.events))
    names = [name for _, name, _ in first.events]
    assert "progress" in names and names.count("job") >= 2
    middle = first.events[len(first.events) // 2]
    again = Listener(builder, middle[0])
    listeners.append(again)
    wanted = first.events[len(first.events) // 2 + 1 :]
    wait_until(lambda: len(again.events) >= len(wanted))
    assert again.events[: len(wanted)] == wanted
    for unknown in ("nonsense", "0-5", middle[0].partition("-")[0] + "-999999"):
        lost = Listener(builder, unknown)
        listeners.append(lost)
        wait_until(lambda lost=lost: lost.events)
        assert lost.events[0][1] == "reset"


def test_a_builder_that_is_killed_leaves_jobs_and_daemon_alone(home: Home, wiki: str, test_types: None) -> None:
    with running() as started, started.client() as client:
        slow = CHAIN.replace("count = 3", "count = 20, seconds = 0.05")
        number = post(client, "/api/job-builder/run", 201, toml=slow, sources=[wiki])["id"]
        manager = JobManager(home)
        wait_until(lambda: manager.get_status(number).phase is not None)
        started.process.kill()
        started.process.wait()
    assert wait_ended(manager, number).exit_code == 0
    assert manager.get_daemon().running


@pytest.mark.parametrize("path", MALFORMED, ids=lambda path: path.stem)
def test_page_and_command_line_agree_on_malformed_chains(home: Home, path: Path, test_types: None) -> None:
    """What the page's validation says is what ``chains validate`` says of the same text."""
    from kbjobs.chains.file.chain_reading import examine_text

    try:
        text = path.read_text()
    except UnicodeDecodeError:
        return  # it cannot be sent as JSON
    shown = [one.message for one in check_text(JobManager(home), text)]
    said = [one.message for one in examine_text(text, path.name, "unsaved_chain").diagnostics]
    assert shown[: len(said)] == said


JOBS = st.sampled_from(
    ["metadata", "index_offline", "suggest_tags", "clear_vectors", "delete_source", "scrape", "nope"]
)
PARAMS = st.dictionaries(
    st.sampled_from(["force", "limit", "dimension", "provider", "url"]),
    st.sampled_from([True, 0, 5, 384, "local", "x"]),
    max_size=2,
)


@settings(max_examples=60 * FACTOR, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(phases=st.lists(st.tuples(JOBS, PARAMS), min_size=1, max_size=5))
def test_page_and_command_line_agree_on_any_chain(
    home: Home, phases: list[tuple[str, dict[str, Any]]], minilm: None
) -> None:
    draft = {
        "name": "made",
        "phase": [{"job": job, **({"params": params} if params else {})} for job, params in phases],
    }
    text = write_draft("", draft)
    assert read_draft(text) == tomllib.loads(text) == draft
    path = home.path / "made.toml"
    path.write_text(text)
    from typer.testing import CliRunner

    from kbjobs.commands.chains import app

    ended = CliRunner().invoke(app, ["validate", str(path), "--json"])
    said = [(one["message"], one["severity"]) for one in json.loads(ended.stdout)]
    shown = [(one.message, str(one.severity)) for one in check_text(JobManager(home), text)]
    assert shown == said


def test_numbers_for_a_monitoring_system(home: Home, api: httpx.Client, wiki: str) -> None:
    answer = api.get("/metrics")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert 'kbjobs_documents{source="wiki"} 0\n' in answer.text and answer.text.endswith("# EOF\n")
    assert httpx.get(f"{str(api.base_url).rstrip('/')}/metrics").status_code in (401, 403)  # not without the token
    home.state_file.write_bytes(b"no database")
    assert api.get("/metrics").status_code == 503


def test_documents_are_listed_and_shown(home: Home, api: httpx.Client, wiki: str) -> None:
    with JobManager(home) as manager:
        wait_ended(manager, manager.submit("metadata", wiki))
    first = api.get("/api/sources/wiki/documents", params={"count": 2}).json()
    rest = api.get("/api/sources/wiki/documents", params={"count": 2, "start": first["next"]}).json()
    assert [one["number"] for answer in (first, rest) for one in answer["documents"]] == [1, 2, 3]
    assert rest["next"] is None
    assert api.get("/api/sources/wiki/documents", params={"language": "de"}).json()["documents"] == []
    by_number = api.get("/api/sources/wiki/documents/2").json()
    assert by_number == api.get(f"/api/sources/wiki/documents/{by_number['doc_id']}").json()
    assert by_number["title"] == "Page 1" and "for the time number 1." in by_number["text"][-1]["text"]
    assert api.get("/api/sources/wiki/documents/9").json()["detail"] == "source 'wiki' has no document '9'"
    assert api.get("/api/sources/none/documents").status_code == 404
    assert api.get("/api/sources/wiki/documents", params={"count": 0}).status_code == 422
