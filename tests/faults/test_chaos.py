"""The campaign of bench/chaos.py, small: random kills while quick jobs over several sources run."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from kbjobs.config.home import Home
from tests.conftest import ROOT, rest_full

pytestmark = pytest.mark.processes


def load_chaos() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chaos", ROOT / "bench" / "chaos.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    import sys

    sys.modules["chaos"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("test_types")
def test_nothing_is_lost_or_doubled(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1000")
    monkeypatch.setenv("KBJOBS_STALL_AFTER", "5")
    home.prepare()
    outcome = load_chaos().run_campaign(home, kills=25, seed=7)
    assert sum(outcome.kills.values()) >= 25
    assert (outcome.lost, outcome.doubled, outcome.missing, outcome.meetings) == (0, 0, 0, 0), outcome
    assert max(outcome.recoveries) < 5


@pytest.mark.usefixtures("test_types")
@pytest.mark.parametrize("kills", rest_full((2, 50), 2))
def test_a_daemon_that_is_killed_alone_comes_back(home: Home, monkeypatch: pytest.MonkeyPatch, kills: int) -> None:
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1000")
    home.prepare()
    outcome = load_chaos().run_unattended(home, kills, seed=7)
    assert outcome.kills["daemon"] == kills
    assert (outcome.lost, outcome.doubled, outcome.missing, outcome.meetings) == (0, 0, 0, 0), outcome
    assert max(outcome.recoveries) < 10
