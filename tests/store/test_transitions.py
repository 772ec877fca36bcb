"""The life of a job."""

from __future__ import annotations

import pytest

from kbjobs.store.transitions import ENDED, LIVE, TRANSITIONS, Event, InvalidTransition, Status, after, before


def test_every_pair_is_either_in_the_table_or_refused() -> None:
    for status in Status:
        for event in Event:
            if (status, event) in TRANSITIONS:
                assert after(status, event) is TRANSITIONS[status, event]
            else:
                with pytest.raises(InvalidTransition, match=f"a {status} job cannot {event}"):
                    after(status, event)


def test_a_completed_job_stays_completed_unless_the_user_wishes_otherwise() -> None:
    assert [event for status, event in TRANSITIONS if status is Status.COMPLETED] == [Event.RETRY]


def test_only_running_and_pending_jobs_live() -> None:
    assert {Status.PENDING, Status.RUNNING} == LIVE
    assert set(Status) - LIVE == ENDED
    assert set(before(Event.RESUME)) <= ENDED
    assert before(Event.CLAIM) == (Status.PENDING,)
