"""language_download as a job: what it fetches, what it refuses; killed anywhere, on a full disk, two at once."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from kbjobs.chains.file.chain_reading import read_chain
from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.daemon.processes import processes_of_run
from kbjobs.downloads import language_download
from kbjobs.downloads.language_download import download_languages
from kbjobs.errors import (
    ConflictError,
    DownloadError,
    JobCancelled,
    KbjobsError,
    NotFoundError,
    TransientError,
    UnavailableError,
    UsageError,
)
from kbjobs.languages.language_packs import DamagedLanguagePackError, Pair, find_pack, list_packs
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.phases.language_download import LanguageDownloadParams, plan
from kbjobs.services.jobs import JobManager
from kbjobs.store.queue import Queue
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import FACTOR, Kbjobs, fill_disk, rest_full, wait_ended, wait_until
from tests.faults.test_crash_points import finish
from tests.languages.packs import put_hollow
from tests.servers.language_packs import pack_members, zip_up
from tests.servers.languages_server import LanguagesServer

POINTS = ("download.received", "download.checked", "download.renamed", "language.fetched", "language.before_rename")
ES = Pair("en", "es")


class Listener:
    """Hears what a job says of itself."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def report(self, current: int, total: int, unit: str, message: str, *_: object) -> None:
        self.messages.append(message)

    def saved(self, steps: int) -> None: ...


def download(
    home: Home,
    code: str,
    source: str | None = None,
    *,
    force: bool = False,
    stop: bool = False,
    listener: Listener | None = None,
) -> PhaseResult:
    """What the job's run does, in this process."""
    context = Context(home, Settings(home), None, 1, listener or Listener(), lambda: stop, logging.getLogger("test"))
    return download_languages(context, code, source, force)


def names(home: Home) -> list[str]:
    return [pack.pair.name for pack in list_packs(home)]


def check_clean(home: Home) -> None:
    """Nothing is left of what was on its way but locks, and the index."""
    left = [path.name for path in home.downloads.iterdir() if not path.name.endswith(".lock")]
    assert left in ([], ["languages-index.json"])
    assert not list(home.languages.glob(".installing-*"))


def content_of(server: LanguagesServer, path: str) -> str:
    return hashlib.sha256(server.files[path]).hexdigest()


# -- what is fetched ---------------------------------------------------------------------------------


def test_both_directions_are_fetched_once(home: Home, languages_server: LanguagesServer, kbjobs: Kbjobs) -> None:
    paths = [languages_server.offer("en", "es", "1.9"), languages_server.offer("es", "en")]
    languages_server.offer("en", "fr")
    shown = kbjobs("run", "language-download", "Spanish", "--quiet")
    assert (shown.stdout, shown.stderr) == ("", "")
    assert names(home) == ["en_es", "es_en"]
    for path, pack in zip(paths, list_packs(home), strict=True):
        assert pack.record.sha256 == content_of(languages_server, path)
        assert pack.record.size == len(languages_server.files[path])
        assert pack.record.url == languages_server.url + path
    assert "is here already" in kbjobs("run", "language-download", "es").stdout
    assert [len(languages_server.asked_for(path)) for path in paths] == [1, 1]
    check_clean(home)
    job = JobManager(home).get_job_history(1)[0]
    assert job.result is not None
    assert [pack["fetched"] for pack in job.result["packs"]] == [False, False] and job.result["bytes"] == 0
    assert job.params["code"] == "es"


def test_from_narrows_it(home: Home, languages_server: LanguagesServer) -> None:
    for pair in (("en", "es"), ("es", "en"), ("en", "fr")):
        languages_server.offer(*pair)
    download(home, "en", "es")
    assert names(home) == ["es_en"]
    download(home, "fr", "es")
    assert names(home) == ["en_fr", "es_en"]


def test_a_newer_version_takes_the_place(home: Home, languages_server: LanguagesServer) -> None:
    put_hollow(home, "en", "es", "1.9")
    (home.downloads).mkdir(exist_ok=True)
    (home.downloads / "en_es.1.9.argosmodel.part").write_bytes(b"of before")
    languages_server.offer("en", "es", "1.10")
    download(home, "es")
    pack = find_pack(home, ES)
    assert pack is not None and pack.record.version == "1.10"
    check_clean(home)


def test_a_damaged_pack_is_fetched_again(home: Home, languages_server: LanguagesServer) -> None:
    path = languages_server.offer("en", "es")
    download(home, "es")
    for lost in list_packs(home):
        (lost.path / "model" / "model.bin").unlink()
    download(home, "es")
    assert names(home) == ["en_es"] and len(languages_server.asked_for(path)) == 2


def test_the_second_link_is_taken_where_the_first_is_gone(home: Home, languages_server: LanguagesServer) -> None:
    path = languages_server.offer("en", "es")
    entry = languages_server.index[0]
    entry["links"] = ["ipfs://x", f"{languages_server.url}/gone", languages_server.url + path]
    download(home, "es")
    pack = find_pack(home, ES)
    assert pack is not None and pack.record.url.endswith(path)


def test_the_next_link_is_taken_where_a_server_is_away(
    home: Home, languages_server: LanguagesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_download, "GIVE_UP_SECONDS_WITH_OTHERS", 0.2)
    path = languages_server.offer("en", "es")
    with LanguagesServer() as gone:
        away = f"{gone.url}/x"
    languages_server.index[0]["links"] = [away, languages_server.url + path]
    download(home, "es")
    assert names(home) == ["en_es"]
    monkeypatch.setattr(language_download, "GIVE_UP_SECONDS", 0.2)
    languages_server.index[0]["links"] = [away, f"{languages_server.url}/gone"]
    with pytest.raises(TransientError, match="English to Spanish cannot be fetched"):  # a later try may succeed
        download(home, "es", force=True)


def test_a_direction_that_the_index_lacks_is_told(home: Home, languages_server: LanguagesServer) -> None:
    languages_server.offer("en", "sw")
    result = download(home, "sw")
    assert "the index has none from Swahili to English" in result.summary
    assert [pair["from"] for pair in result.counts["missing"]] == ["sw"]
    languages_server.offer("sw", "en")
    assert download(home, "sw").counts["missing"] == []


def test_no_path_of_the_home_is_in_the_result(home: Home, languages_server: LanguagesServer) -> None:
    languages_server.offer("en", "es")
    assert str(home.path) not in str(download(home, "es"))


def test_in_a_chain_file(home: Home, languages_server: LanguagesServer, tmp_path: Path, kbjobs: Kbjobs) -> None:
    languages_server.offer("en", "es")
    languages_server.offer("en", "fr")
    chain = tmp_path / "languages.toml"
    phase = '[[phase]]\nname = "to_{0}"\njob = "language_download"\nparams = {{ code = "{0}", from = "en" }}\n'
    chain.write_text('name = "languages"\n' + phase.format("es") + phase.format("fr"))
    assert len(read_chain(chain).phases) == 2
    kbjobs("chain", chain, "--quiet")
    assert names(home) == ["en_es", "en_fr"]


# -- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "kind", "message"),
    [
        ({"code": "Spansh"}, NotFoundError, "no language 'Spansh'"),
        ({"code": "es", "from": "Frensh"}, NotFoundError, "no language 'Frensh'"),
        ({"code": "English"}, UsageError, "language packs translate from and to English"),
        ({"code": "es", "from": "Spanish"}, UsageError, "both the source and the target"),
    ],
)
def test_refused_before_anything_is_queued(
    home: Home, params: dict[str, Any], kind: type[KbjobsError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        plan(PhaseRequest(home, Settings(home), LanguageDownloadParams(**params), is_general=True))


def test_names_of_one_language_are_one_job(home: Home) -> None:
    plans = [
        plan(PhaseRequest(home, Settings(home), LanguageDownloadParams(code=code), is_general=True)).params
        for code in ("es", "SPANISH", "spa")
    ]
    assert plans[0] == plans[1] == plans[2]


def test_a_language_that_the_index_lacks(home: Home, languages_server: LanguagesServer, kbjobs: Kbjobs) -> None:
    languages_server.offer("en", "es")
    refused = kbjobs("run", "language-download", "Swahili", check=4)
    assert "the index has no language pack for Swahili (sw)" in refused.stdout + refused.stderr
    assert "kbjobs languages list --available" in refused.stdout + refused.stderr


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_pack_that_cannot_be_had(home: Home, languages_server: LanguagesServer, status: int) -> None:
    path = languages_server.offer("en", "es")
    languages_server.status[path] = status
    with pytest.raises(KbjobsError, match="the language pack English to Spanish cannot be fetched"):
        download(home, "es")
    assert names(home) == []


def test_bytes_that_were_changed_under_one_version(home: Home, languages_server: LanguagesServer) -> None:
    path = languages_server.offer("en", "es")
    download(home, "es")
    before = content_of(languages_server, path)
    (list_packs(home)[0].path / "model" / "model.bin").unlink()
    languages_server.files[path] = zip_up({**pack_members("en", "es"), "translate-en_es-1_0/README.md": b"new"})
    after = content_of(languages_server, path)
    for _ in range(2):
        with pytest.raises(ConflictError) as caught:
            download(home, "es")
        assert before in caught.value.message and after in caught.value.message
        assert "kbjobs run language-download es --from en --force" in caught.value.hint
        assert names(home) == []
    check_clean(home)
    download(home, "es", force=True)
    pack = find_pack(home, ES)
    assert pack is not None and pack.record.sha256 == after
    (pack.path / "model" / "model.bin").unlink()
    download(home, "es")  # what was taken by force is what is known now


@pytest.mark.parametrize("lie", ["codes", "traversal", "no zip file"])
def test_a_hostile_pack_leaves_what_was_here(
    home: Home, languages_server: LanguagesServer, tmp_path: Path, lie: str
) -> None:
    put_hollow(home, "en", "es", "1.0")
    members = pack_members("en", "fr") if lie == "codes" else {**pack_members("en", "es"), "../../../evil": b"evil"}
    languages_server.offer_file("en", "es", b"<html>" if lie == "no zip file" else zip_up(members), "2.0")
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(home.path)}
    with pytest.raises(DamagedLanguagePackError, match="cannot be used"):
        download(home, "es")
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(home.path)} == before
    pack = find_pack(home, ES)
    assert pack is not None and pack.record.version == "1.0"
    check_clean(home)


def test_a_pack_that_is_too_large(
    home: Home, languages_server: LanguagesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_LANGUAGES_MAX_MB", "1")
    path = languages_server.offer("en", "es", filler=30_000_000)
    with pytest.raises(DownloadError, match="sends more than"):
        download(home, "es")
    assert languages_server.asked_for(path)[0].sent < 20_000_000


@pytest.mark.parametrize("index", [b"not JSON", {"a": 1}, [], [1, None], [{"from_code": 7, "links": "x"}]])
def test_a_malformed_index(home: Home, languages_server: LanguagesServer, index: object) -> None:
    languages_server.index = index
    with pytest.raises(DownloadError, match="is not an index of language packs"):
        download(home, "es")


def test_a_wish_to_stop(home: Home, languages_server: LanguagesServer) -> None:
    languages_server.offer("en", "es")
    with pytest.raises(JobCancelled):
        download(home, "es", stop=True)


# -- kills -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", rest_full([*POINTS, "language.renamed"], POINTS[0], "language.renamed"))
def test_a_kill_at_each_point(
    home: Home, languages_server: LanguagesServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    put_hollow(home, "en", "es", "0.9")
    path = languages_server.offer("en", "es", filler=1_000_000)
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    manager = JobManager(home)
    job = finish(manager, manager.submit_job("language_download", None, {"code": "es", "from": "en"}).id)
    assert marker.exists(), "the point was never reached"
    assert (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, 0, 2), job
    pack = find_pack(home, ES)
    assert pack is not None and pack.record.sha256 == content_of(languages_server, path)
    assert [folder.name for folder in home.languages.glob("en_es.*")] == [pack.path.name]
    check_clean(home)
    if point != "download.received":  # the index may be what was killed
        sent = sum(asked.sent for asked in languages_server.asked_for(path))
        assert sent <= len(languages_server.files[path]) + 1_000_000


@pytest.mark.full
@pytest.mark.processes
@pytest.mark.long
@pytest.mark.parametrize("seed", range(2 * FACTOR))
def test_kills_at_any_byte(
    home: Home, languages_server: LanguagesServer, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The worker is killed while the server holds the rest back; not a byte that has come is asked for again."""
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "20")  # it dies sooner than its progress is written
    path = languages_server.offer("en", "es", filler=8_000_000)
    size = len(languages_server.files[path])
    random_ = random.Random(seed)
    stops = sorted(random_.sample(range(1, size), 3))
    part = home.downloads / "en_es.1.0.argosmodel.part"
    languages_server.pause_at[path] = stops[0]
    manager = JobManager(home)
    job_id = manager.submit_job("language_download", None, {"code": "es", "from": "en"}).id
    for stop, following in zip(stops, [*stops[1:], 0], strict=True):
        assert languages_server.paused.wait(60)
        wait_until(lambda stop=stop: part.exists() and part.stat().st_size == stop)
        languages_server.paused.clear()
        languages_server.pause_at[path] = following
        gate, languages_server.gate = languages_server.gate, threading.Event()
        kill_worker(manager, job_id)
        gate.set()
    job = finish(manager, job_id)
    assert (job.status, job.exit_code) == (Status.COMPLETED, 0), job
    pack = find_pack(home, ES)
    assert pack is not None and pack.record.sha256 == content_of(languages_server, path)
    ranges = [asked.range for asked in languages_server.asked_for(path)]
    assert ranges == [None, *(f"bytes={stop}-" for stop in stops)]


def kill_worker(manager: JobManager, job_id: int) -> None:
    with Queue(manager.home.state_file) as queue:
        run = wait_until(lambda: next((job.run_id for job in queue.running() if job.id == job_id), None))
    for pid in wait_until(lambda: processes_of_run(run)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_of_run(run))


def test_a_connection_that_breaks_goes_on(home: Home, languages_server: LanguagesServer) -> None:
    path = languages_server.offer("en", "es", filler=3_000_000)
    languages_server.break_after[path] = [1_000_000, 500_000]
    download(home, "es")
    asked = languages_server.asked_for(path)
    assert len(asked) == 3 and asked[1].range and asked[2].range
    pack = find_pack(home, ES)
    assert pack is not None and pack.record.sha256 == content_of(languages_server, path)


# -- a full disk, two at once ------------------------------------------------------------------------


def test_a_full_disk_says_so_and_keeps_what_came(
    small_disk: Path, languages_server: LanguagesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(small_disk / "home")
    monkeypatch.setenv("KBJOBS_HOME", str(home.path))
    home.prepare()
    languages_server.offer("en", "es", filler=40_000_000)
    # Room for the download (40 MB and its reserve), not for what is unpacked beside it.
    filler = fill_disk(small_disk, 64_000_000)
    with pytest.raises(UnavailableError, match=r"MB are free|is full"):
        download(home, "es")
    assert names(home) == []
    filler.unlink()
    sent = sum(asked.sent for asked in languages_server.requests)
    download(home, "es")
    assert names(home) == ["en_es"]
    assert sum(asked.sent for asked in languages_server.requests) - sent < 10_000  # the index; the pack was here
    check_clean(home)


def test_two_at_once_fetch_it_once(home: Home, languages_server: LanguagesServer) -> None:
    path = languages_server.offer("en", "es", filler=2_000_000)
    languages_server.pause_at[path] = 1_000_000
    found: list[PhaseResult] = []
    listener = Listener()

    def run() -> None:
        found.append(download(home, "es", "en", listener=listener))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert languages_server.paused.wait(30)
    wait_until(lambda: "waiting for another job that fetches English to Spanish" in listener.messages)
    languages_server.gate.set()
    for thread in threads:
        thread.join()
    assert sorted(result.counts["packs"][0]["fetched"] for result in found) == [False, True]
    assert len(languages_server.asked_for(path)) == 1
    check_clean(home)


def test_two_jobs_for_two_languages_run_side_by_side(home: Home, languages_server: LanguagesServer) -> None:
    for code in ("es", "fr"):
        languages_server.offer("en", code)
    manager = JobManager(home)
    ids = [manager.submit("language_download", None, code=code) for code in ("es", "fr")]
    assert [wait_ended(manager, job_id).exit_code for job_id in ids] == [0, 0]
    assert names(home) == ["en_es", "en_fr"]
