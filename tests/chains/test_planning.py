"""From a chain to a job: every phase is checked before anything is queued; what resume takes up and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kbjobs.chains.chain import Chain, ChainPhase
from kbjobs.chains.planning import Planner
from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import ConflictError, ExitCode, KbjobsError, MissingRequirementError, NotFoundError, UsageError
from kbjobs.phases.job_type import JobType
from kbjobs.phases.registry import job_type
from kbjobs.services.function_jobs import Checkpoint, save_checkpoint
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.jobs import Limits
from kbjobs.store.phase_state import PhaseStatus
from tests.conftest import phase_state, write_pages

pytestmark = pytest.mark.usefixtures("test_types")


@pytest.fixture
def manager(home: Home, tmp_path: Path, test_types: None) -> Iterator[JobManager]:
    for source in ("a", "b"):
        register(home, source, [write_pages(tmp_path / source, 1)])
    opened = JobManager(home)
    yield opened
    opened.close()


def phase(number: int, weight: float = 1.0, kind: JobType[Any] | None = None, **more: Any) -> ChainPhase:
    kind = kind or job_type("steps")
    return ChainPhase(kind, f"p{number}", kind.params.model_validate({"number": number, "count": 1}), weight, **more)


def chain(*phases: ChainPhase, **more: Any) -> Chain:
    return Chain("overnight", phases or (phase(0), phase(1), phase(2)), **more)


def checkpoint_of(manager: JobManager, chain: Chain, done: int, source: str = "a") -> None:
    phases = manager.plan(chain, source).job.phases
    ended: dict[str, Any] = {"status": PhaseStatus.COMPLETED, "result": {"n": 1}, "summary": "one", "seconds": 2.5}
    reached = tuple(replace(one, **(ended if index < done else {})) for index, one in enumerate(phases))
    save_checkpoint(Checkpoint(source, chain.name, reached))


def test_defaults_are_filled_and_weights_normalised(manager: JobManager) -> None:
    planned = manager.plan(chain(phase(0, 1), phase(1, 3)), "a", limits=Limits(retries=2)).job
    assert [one.weight for one in planned.phases] == [25.0, 75.0]
    assert planned.phases[0].params["seconds"] == 0.0
    assert (planned.type, planned.source, planned.dimension, planned.operation) == ("overnight", "a", 384, "step")
    assert planned.resources == ("source:a",)
    assert manager.get_job_history() == []


def test_what_a_later_phase_lacks_is_known_at_once(manager: JobManager) -> None:
    needy = replace(job_type("steps"), secrets=("SOME_API_KEY",))
    with pytest.raises(MissingRequirementError, match=r"phase p1: .*SOME_API_KEY"):
        manager.plan(chain(phase(0), phase(1, kind=needy)), "a")

    def refuse(*_: Any) -> Any:
        raise NotFoundError("the disk is not there", "Mount it.")

    gone = replace(job_type("steps"), plan=refuse)
    with pytest.raises(NotFoundError, match="phase p2: the disk"):
        manager.plan(chain(phase(0), phase(1), phase(2, kind=gone)), "a")
    with pytest.raises(NotFoundError, match="no source"):
        manager.plan(chain(), "ghost")
    with pytest.raises(UsageError, match="needs a source"):
        manager.plan(chain(), None)


def test_several_sources_are_queued_together_or_not_at_all(manager: JobManager) -> None:
    planned = [manager.plan(chain(), source) for source in ("a", "b")]
    first = manager.enqueue([manager.plan(chain(), "b", limits=Limits(not_before=4e9))])[0]
    with pytest.raises(ConflictError, match=f"job {first.id}"):
        manager.enqueue(planned)
    assert len(manager.get_job_history()) == 1
    with pytest.raises(ConflictError, match="twice"):
        manager.enqueue([planned[0], planned[0]])
    assert len(manager.get_job_history()) == 1


def test_resume_takes_up_what_is_done(manager: JobManager) -> None:
    checkpoint_of(manager, chain(), 2)
    planned = manager.plan(chain(), "a", resume=True)
    assert [one.status for one in planned.job.phases] == ["completed", "completed", "pending"]
    assert planned.job.phases[0].is_skipped
    assert planned.job.phases[0].result == {"n": 1}
    assert "2 of 3 phases done" in planned.notes[0]
    assert planned.job.resumed


def test_names_and_weights_may_change_between_a_stop_and_a_resume(manager: JobManager) -> None:
    checkpoint_of(manager, chain(), 1)
    renamed = chain(replace(phase(0, 5), name="other"), phase(1, 7), phase(2))
    assert manager.plan(renamed, "a", resume=True).job.phases[0].is_skipped


@pytest.mark.parametrize(
    ("edited", "output"),
    [
        ((phase, 0), "its phases were steps, steps, steps and are steps"),
        ((phase, 0, 2, 1), r"phase 2 \(p2\): number was 1 and is 2"),
        ((phase, 0, 1, 7), r"phase 3 \(p7\): number was 2 and is 7"),
    ],
)
def test_a_chain_that_was_edited_is_not_resumed(manager: JobManager, edited: Any, output: str) -> None:
    checkpoint_of(manager, chain(), 1)
    make, *numbers = edited
    with pytest.raises(UsageError, match=output) as caught:
        manager.plan(chain(*[make(number) for number in numbers]), "a", resume=True)
    assert "without --resume" in caught.value.hint
    assert "undo the change" in caught.value.hint


def test_resume_without_a_checkpoint_says_that_it_starts_fresh(manager: JobManager) -> None:
    checkpoint_of(manager, chain(), 1, source="b")
    planned = manager.plan(chain(), "a", resume=True)
    assert "no checkpoint of overnight for a: starting from the beginning" in planned.notes[0]
    assert not planned.job.resumed


def test_a_start_where_a_checkpoint_lies_says_so(manager: JobManager) -> None:
    checkpoint_of(manager, chain(), 1)
    planned = manager.plan(chain(), "a")
    assert "1 of 3 phases done" in planned.notes[0]
    assert all(one.status == "pending" for one in planned.job.phases)


def test_a_chain_that_is_not_resumable(manager: JobManager) -> None:
    checkpoint_of(manager, chain(), 1)
    with pytest.raises(UsageError, match="resumable = false") as caught:
        manager.plan(chain(resumable=False), "a", resume=True)
    assert caught.value.exit_code is ExitCode.USAGE
    assert manager.plan(chain(resumable=False), "a").notes == ()


def test_the_hint_of_an_error_is_kept(manager: JobManager) -> None:
    needy = replace(job_type("steps"), secrets=("SOME_API_KEY",))
    with pytest.raises(KbjobsError) as caught:
        manager.plan(chain(phase(0), phase(1, kind=needy)), "a")
    assert "set-secret SOME_API_KEY" in caught.value.hint


def with_another_parameter(kind: JobType[Any]) -> JobType[Any]:
    """The type as a later version may have it, with a parameter more."""

    class Later(kind.params):  # type: ignore[name-defined]
        speed: int = 7

    return replace(kind, params=Later)


def test_a_type_that_gains_a_parameter_is_still_the_same(manager: JobManager) -> None:
    now, later = job_type("steps"), with_another_parameter(job_type("steps"))
    before = manager.plan(chain(phase(0), phase(1)), "a").job
    checkpoint_of(manager, chain(phase(0), phase(1)), 1)
    grown = chain(phase(0, kind=later), phase(1, kind=later))
    resumed = manager.plan(grown, "a", resume=True).job
    assert [one.is_completed for one in resumed.phases] == [True, False]
    assert resumed.phases[1].params["speed"] == 7
    assert resumed.key == before.key
    changed = replace(phase(1, kind=later), params=later.params.model_validate({"number": 1, "count": 1, "speed": 8}))
    with pytest.raises(UsageError, match="speed was None and is 8"):
        manager.plan(chain(phase(0, kind=later), changed), "a", resume=True)
    assert manager.plan(chain(phase(0, kind=now), changed), "a").job.key != before.key


def test_a_job_whose_type_has_lost_a_parameter_is_refused(home: Home) -> None:
    phase = phase_state("metadata", "metadata", {"gone": 1})
    with pytest.raises(UsageError, match="metadata has other parameters now: gone: Extra"):
        Planner(home, Settings(home)).check_phases([phase], None)
