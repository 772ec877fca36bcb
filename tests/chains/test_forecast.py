"""The time of a phase in a forecast: at the pace of its last run, or what that took."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kbjobs.chains.chain import ChainPhase
from kbjobs.chains.forecast import _seconds
from kbjobs.phases.job_type import PhaseForecast
from kbjobs.phases.registry import job_type
from kbjobs.store.phase_state import PhaseState
from tests.conftest import phase_state

KIND = job_type("metadata")
PHASE = ChainPhase(KIND, "metadata", KIND.params(), 100.0)
LAST = replace(phase_state("metadata", "metadata"), seconds=8.0, rate=50.0, unit="documents")


@pytest.mark.parametrize(
    ("work", "last", "seconds"),
    [
        (PhaseForecast(seconds=3.0), LAST, 3.0),  # as the phase says itself
        (PhaseForecast(steps=100, unit="documents"), LAST, 2.0),
        (PhaseForecast(steps=100, unit="documents"), None, None),  # it never ran here
        (PhaseForecast(steps=100, unit="passages"), LAST, None),  # another unit has another pace
        (PhaseForecast(), LAST, 8.0),
        (PhaseForecast(is_exact=False), LAST, None),
        (PhaseForecast(steps=0, unit="documents"), replace(LAST, rate=None), 8.0),  # it ran, too short to have a pace
        (PhaseForecast(steps=100, unit="documents"), replace(LAST, rate=None), None),
    ],
)
def test_the_seconds_of_a_phase(work: PhaseForecast, last: PhaseState | None, seconds: float | None) -> None:
    assert _seconds(PHASE, work, last) == seconds
