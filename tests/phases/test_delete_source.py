"""delete_source takes all that is of a source, and nothing else; what comes after is another source."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kbjobs.chains.file.chain_lookup import find_chain
from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.errors import ConflictError, JobCancelled, NotFoundError, UsageError
from kbjobs.phases import delete_source
from kbjobs.phases.delete_source import DeleteSourceParams
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.retrieval import searcher
from kbjobs.retrieval.hits import Query
from kbjobs.retrieval.searcher import Searcher
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import SourceFields, describe_all, register
from kbjobs.store.checkpoints import Checkpoint
from kbjobs.store.queue import DuplicateJobError, Queue
from kbjobs.store.source_deletion import SourceFolderDeletion
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from tests.conftest import phase_state, wait_ended, wait_until, write_pages
from tests.phases.test_index_offline import Silent, index

Ends = list[Any]


def delete(
    home: Home,
    source: str = "docs",
    ends: Ends | None = None,
    checkpoint: Any = None,
    is_stopping: Callable[[], bool] = lambda: False,
    **params: Any,
) -> PhaseResult:
    """Plan and run it without a queue; ``ends`` is given what goes on record."""
    folder = SourceFolder(home.sources, source)
    wishes = DeleteSourceParams(**{"confirm": source, **params})
    if checkpoint is None:
        delete_source.plan(PhaseRequest(home, Settings(home), wishes, folder))
    recorded: Ends = [] if ends is None else ends
    log = logging.getLogger("test")
    context = Context(home, Settings(home), folder, 1, Silent(), is_stopping, log, checkpoint, end=recorded.append)
    return delete_source.run(context, wishes)


@pytest.fixture
def manager(home: Home) -> JobManager:
    return JobManager(home)


@pytest.fixture
def docs(home: Home, tmp_path: Path) -> Path:
    """The source docs, of pages that lie outside the home; returns their folder."""
    pages = write_pages(tmp_path / "pages", 3)
    register(home, "docs", [pages])
    return pages


def test_an_indexed_source_goes_and_its_pages_outside_stay(home: Home, docs: Path, minilm: None) -> None:
    index(home)
    ends: Ends = []
    result = delete(home, ends=ends)
    assert (result.counts["documents"], result.counts["vectors"], result.counts["outside"]) == (3, 3, [str(docs)])
    assert result.counts["freed_bytes"] > 100_000
    assert result.summary.startswith(f"3 documents, 3 vectors and {result.counts['files']} files deleted, ")
    assert result.summary.endswith(f" MB freed; not touched: {docs}")
    assert list(home.sources.iterdir()) == [] and len(list(docs.iterdir())) == 3
    assert [end["vectors"] for end in ends] == [3]


def test_it_is_confirmed_by_the_id_and_by_nothing_else(home: Home, docs: Path) -> None:
    for wrong in ("", "doc", "DOCS", "yes", "docs "):
        with pytest.raises(UsageError, match="would be deleted permanently, and that is not confirmed"):
            delete(home, confirm=wrong)
    folder = SourceFolder(home.sources, "docs")
    context = Context(home, Settings(home), folder, 1, Silent(), lambda: False, logging.getLogger("test"))
    with pytest.raises(UsageError):  # a chain whose earlier phase makes the source is not planned whole
        delete_source.run(context, DeleteSourceParams())
    assert folder.read().id == "docs"


def test_an_unknown_source_is_named_with_the_nearest(home: Home, docs: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no source 'dosc'") as caught:
        delete(home, "dosc")
    assert caught.value.hint == "Did you mean docs?"


@pytest.mark.parametrize("damage", ["{", "", "[]", '{"paths": ["../../x"]}'])
def test_a_source_whose_manifest_is_damaged_can_be_deleted(
    home: Home, manager: JobManager, docs: Path, damage: str
) -> None:
    SourceFolder(home.sources, "docs").manifest.write_text(damage)
    job = wait_ended(manager, manager.submit("delete_source", "docs", confirm="docs"))
    assert (job.status, job.exit_code) == (Status.COMPLETED, 0), job.error
    assert list(home.sources.iterdir()) == []


def test_a_manifest_that_is_a_folder_or_leads_nowhere_can_be_deleted(home: Home, docs: Path) -> None:
    manifest = SourceFolder(home.sources, "docs").manifest
    manifest.unlink()
    manifest.symlink_to("nowhere")
    delete(home)
    register(home, "docs", [docs])
    manifest.unlink()
    manifest.mkdir()
    delete(home)
    assert list(home.sources.iterdir()) == []


def test_files_that_another_source_reads_are_not_taken_from_it(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 2)], copy=True)
    pages = SourceFolder(home.sources, "docs").pages / "1" / "pages"
    register(home, "other", [pages])
    with pytest.raises(ConflictError, match=r"source 'other' reads .*, which is in the folder of 'docs'"):
        delete(home)
    delete(home, keep_files=True)
    assert len(list(pages.iterdir())) == 2
    delete(home, "other")
    assert len(list(pages.iterdir())) == 2


def test_behind_a_link_only_what_is_read_through_it_is_needed(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 2)], copy=True)
    folder = SourceFolder(home.sources, "docs")
    moved = folder.path.rename(tmp_path / "moved")
    folder.path.symlink_to(moved)
    register(home, "through", [folder.pages / "1" / "pages"])
    register(home, "beside", [moved / "pages" / "1" / "pages"])
    with pytest.raises(ConflictError, match="source 'through' reads"):
        delete(home)
    delete(home, "through")
    result = delete(home)
    assert (result.counts["links"], result.counts["files"], result.counts["outside"]) == (1, 0, [str(moved)])
    assert result.summary == f"0 files and 1 link (not what they lead to) deleted, 0.0 MB freed; not touched: {moved}"
    assert len(list((moved / "pages").rglob("*.html"))) == 2 and not (moved / ".deleting-docs").exists()


def test_a_stop_in_the_middle_is_gone_on_with(
    home: Home, docs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = SourceFolder(home.sources, "docs")
    for number in range(250):
        (folder.path / f"file{number}").touch()
    ends: Ends = []
    with pytest.raises(JobCancelled):
        delete(home, ends=ends, is_stopping=lambda: True)
    removal = SourceFolderDeletion(home.sources, "docs")
    assert removal.hidden is not None and 100 <= len(list(removal.hidden.iterdir())) < 200
    with pytest.raises(ConflictError, match="is not completely deleted"):
        register(home, "docs", [docs])
    result = delete(home, checkpoint=ends[0])
    assert (result.counts["files"], len(ends)) == (251, 1)  # what it was before the stop
    assert list(home.sources.iterdir()) == []


def test_the_next_run_finishes_what_is_left_and_keeps_what_was_to_be_kept(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 3)], copy=True)
    SourceFolderDeletion(home.sources, "docs").begin(keep_files=True)
    result = delete(home)  # a new job, which says nothing of keeping
    assert result.counts["kept"] == str(SourceFolder(home.sources, "docs").path)
    assert len(list(SourceFolder(home.sources, "docs").pages.rglob("*.html"))) == 3


def test_a_source_that_came_after_the_end_was_recorded_is_left_alone(home: Home, docs: Path) -> None:
    ends: Ends = []
    delete(home, ends=ends)
    register(home, "docs", [docs])
    delete(home, checkpoint=ends[0])  # its worker died before the job was finished
    assert SourceFolder(home.sources, "docs").read().paths == (str(docs),)


def test_kept_files_are_registered_again_and_nothing_is_lost(home: Home, tmp_path: Path, minilm: None) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 3)], SourceFields(base_url="https://e.org/"), copy=True)
    index(home)
    before = SourceFolder(home.sources, "docs").read()
    result = delete(home, keep_files=True)
    left = [path.name for path in SourceFolder(home.sources, "docs").path.iterdir()]
    assert left == ["pages"]
    assert describe_all(home, lambda source_id, error: None) == []
    assert "registers them again" in result.summary
    register(home, "docs", [Path(path) for path in before.paths], SourceFields(base_url="https://e.org/"))
    assert index(home).counts["documents"] == 3


def test_a_scrape_does_not_mix_with_files_that_were_kept(home: Home, manager: JobManager, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)], copy=True)
    delete(home, keep_files=True)
    with pytest.raises(ConflictError, match="contains files that were kept from an earlier source"):
        manager.submit("scrape", "docs", url="https://e.org/")


def test_a_search_goes_on_without_it_and_finds_the_new_one(
    home: Home, docs: Path, tmp_path: Path, minilm: None
) -> None:
    index(home)
    register(home, "other", [write_pages(tmp_path / "more", 1, "Bread is baked in the oven")])
    index(home, "other")
    with Searcher(home, Settings(home)) as searching:
        assert {hit.source for hit in searching.search(Query("kettle", count=9))} == {"docs", "other"}
        delete(home)
        assert {hit.source for hit in searching.search(Query("kettle", count=9))} == {"other"}
        with pytest.raises(NotFoundError, match="there is no source 'docs'"):
            searching.search(Query("kettle", ("docs",)))
        register(home, "docs", [write_pages(tmp_path / "new", 2, "Rain falls on the roof")])
        index(home)
        found = searching.search(Query("rain", ("docs",)))
        assert len(found) == 2 and all("Rain falls on the roof" in hit.text for hit in found)


def test_a_source_that_goes_while_all_are_searched_stops_no_search(
    home: Home, docs: Path, monkeypatch: pytest.MonkeyPatch, minilm: None
) -> None:
    index(home)
    monkeypatch.setattr(searcher, "list_source_ids", lambda sources: ["docs", "gone"])  # as it was a moment ago
    with Searcher(home, Settings(home)) as searching:
        assert {hit.source for hit in searching.search(Query("kettle"))} == {"docs"}


def test_where_the_end_finds_no_room_before_files_are_gone_it_is_recorded_after(home: Home, docs: Path) -> None:
    class Full(list[Any]):
        def append(self, value: Any) -> None:
            if not self and not SourceFolderDeletion(home.sources, "docs").hidden:
                super().append(value)
                return
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    ends = Full()
    assert delete(home, ends=ends).counts["files"] == 1
    assert [end["files"] for end in ends] == [1]
    assert list(home.sources.iterdir()) == []


# -- the queue ---------------------------------------------------------------------------------------


def test_it_is_refused_while_a_job_of_the_source_waits_or_runs(
    home: Home, manager: JobManager, docs: Path, test_types: None
) -> None:
    running = manager.submit("steps", "docs", count=500, seconds=0.02)
    waiting = manager.submit("steps", "docs", count=1, number=2)
    wait_until(lambda: manager.get_status(running).status is Status.RUNNING)
    with pytest.raises(ConflictError, match=rf"is not deleted while a job of it is running: job {running} \(steps\)"):
        manager.submit("delete_source", "docs", confirm="docs")
    manager.cancel(running)
    wait_ended(manager, running)
    wait_ended(manager, waiting)
    assert wait_ended(manager, manager.submit("delete_source", "docs", confirm="docs")).exit_code == 0


def test_it_is_refused_while_a_job_over_several_sources_waits_for_it(
    home: Home, manager: JobManager, docs: Path, tmp_path: Path, test_types: None
) -> None:
    register(home, "other", [write_pages(tmp_path / "others", 1)])
    for name in ("docs", "other"):
        wait_ended(manager, manager.submit("metadata", name))
    holding = manager.submit("steps", "other", count=500, seconds=0.02)
    waiting = manager.submit("visualisation", None, sources=["docs", "other"])
    with pytest.raises(ConflictError, match=rf"is pending: job {waiting} \(visualisation\)"):
        manager.submit("delete_source", "docs", confirm="docs")
    manager.cancel(waiting)
    assert wait_ended(manager, manager.submit("delete_source", "docs", confirm="docs")).exit_code == 0
    manager.cancel(holding)
    wait_ended(manager, holding)


def test_two_submits_at_the_same_moment_meet_in_the_database(home: Home, manager: JobManager, docs: Path) -> None:
    """Both were planned before either was queued."""
    home.prepare()
    delete_first = manager.plan(manager.find_chain("delete_source", {"confirm": "docs"}), "docs")
    other = manager.plan(manager.find_chain("metadata", {}), "docs")
    queue = Queue(home.state_file)
    waiting = queue.submit(other.job)
    with pytest.raises(ConflictError, match=r"is not deleted while a job of it is pending: job 1 \(metadata\)"):
        queue.submit(delete_first.job)
    queue.cancel(waiting.id)
    ending = queue.submit(delete_first.job)
    with pytest.raises(ConflictError, match=r"is about to be deleted: job 2 \(delete-source\) is pending"):
        queue.submit(other.job)
    with pytest.raises(ConflictError, match="is about to be deleted"):
        queue.resume(waiting.id)
    with pytest.raises(DuplicateJobError):
        queue.submit(delete_first.job)
    queue.cancel(ending.id)
    queue.resume(waiting.id)
    with pytest.raises(ConflictError, match="is not deleted while"):
        queue.resume(ending.id)
    queue.close()


def test_rows_and_checkpoints_are_of_a_deleted_source_and_do_not_mix_with_a_new_one(
    home: Home, manager: JobManager, docs: Path, test_types: None
) -> None:
    failed = wait_ended(manager, manager.submit("steps", "docs", count=1, fail=True))
    queue = Queue(home.state_file)
    queue.save_checkpoint(Checkpoint("docs", "nightly", (phase_state("metadata", "metadata"),)))
    queue.save_checkpoint(Checkpoint("other", "nightly", (phase_state("metadata", "metadata"),)))
    ended = wait_ended(manager, manager.submit("delete_source", "docs", confirm="docs"))
    assert ended.result is not None and ended.result["outside"] == [str(docs)]
    assert queue.load_checkpoint("docs", "nightly") is None and queue.load_checkpoint("other", "nightly") is not None
    assert queue.load_checkpoint("docs", "delete_source") is None
    assert all(job.source_deleted_at for job in manager.get_job_history(source_id="docs"))
    assert manager.get_resumable_jobs() == []
    for again in (manager.resume, manager.retry):
        with pytest.raises(ConflictError, match=r"job 1 was for a source 'docs' that was deleted on 20"):
            again(failed.id)
    with pytest.raises(NotFoundError):
        manager.retry(ended.id)
    register(home, "docs", [docs])
    for job_id in (failed.id, ended.id):
        with pytest.raises(ConflictError, match="that was deleted on") as caught:
            manager.retry(job_id)
        assert "is a new one" in caught.value.hint
    new = wait_ended(manager, manager.submit("steps", "docs", count=1))
    assert (new.exit_code, new.source_deleted_at) == (0, None)
    assert SourceFolder(home.sources, "docs").read().id == "docs"
    queue.close()


def test_nothing_comes_after_it_in_a_chain(home: Home, docs: Path) -> None:
    home.chains.mkdir()
    text = '[[phase]]\njob = "{}"\n[[phase]]\njob = "{}"\n'
    confirmed = 'delete-source"\nparams = { confirm = "docs" }\n#"'
    (home.chains / "wrong.toml").write_text(text.format(confirmed, "metadata"))
    with pytest.raises(UsageError) as caught:
        find_chain(home, "wrong", {})
    assert "Metadata runs after Delete (phase 1)" in str(caught.value)
    assert "nothing after delete-source" in str(caught.value)


def test_a_chain_may_end_with_it(home: Home, manager: JobManager, docs: Path) -> None:
    home.chains.mkdir()
    (home.chains / "last.toml").write_text(
        '[[phase]]\njob = "metadata"\n[[phase]]\njob = "delete-source"\nparams = { confirm = "docs" }\n'
    )
    register(home, "other", [docs])
    chain = find_chain(home, "last", {})
    with pytest.raises(
        UsageError, match="phase delete_source: source 'other' would be deleted permanently, and that is not"
    ):
        manager.plan(chain, "other")
    [job] = manager.enqueue([manager.plan(chain, "docs")])
    with pytest.raises(ConflictError, match=r"is about to be deleted: job 1 \(last\)"):
        manager.submit("metadata", "docs", force=True)
    ended = wait_ended(manager, job.id)
    assert (ended.exit_code, ended.phases[1].result and ended.phases[1].result["documents"]) == (0, 3)
    assert [path.name for path in home.sources.iterdir()] == ["other"]
