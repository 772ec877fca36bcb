"""Which engine wins: timed in turns, preferred where it suits the processor, measured again when a job runs slowly."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kbjobs.embedding import choose, prepared_model, trial
from kbjobs.embedding.choose import load_embedder, review_choice
from kbjobs.embedding.identity import weights_hash
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.embedding.openvino_engine import OpenVinoEmbedder, has_bf16
from kbjobs.embedding.token_embedder import TokenEmbedder
from kbjobs.embedding.trial import Measurement, Trial

from .conftest import MINILM

KEY = "all-MiniLM-L6-v2-53aa51172d14"
PASSAGE = "the lighthouse keeper wrote down wind and tide every evening " * 40  # more than a window


def measured(**speeds: float) -> Trial:
    return Trial(tuple(Measurement(engine, 1.0, 1.0, speed) for engine, speed in speeds.items()))


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        ({"bf16": 29.0, "f32": 30.0, "onnx": 20.0}, "bf16"),
        ({"bf16": 20.0, "f32": 24.9, "onnx": 21.0}, "bf16"),
        ({"bf16": 20.0, "f32": 25.1, "onnx": 21.0}, "f32"),
        ({"bf16": 20.0, "f32": 26.0, "onnx": 31.0}, "f32"),
        ({"bf16": 20.0, "f32": 26.0, "onnx": 33.0}, "onnx"),
    ],
)
def test_what_suits_the_processor_is_kept_unless_another_is_clearly_faster(
    speeds: dict[str, float], chosen: str
) -> None:
    assert measured(**speeds).choose("auto") == chosen


def test_an_engine_that_gives_wrong_vectors_is_no_measure_of_speed() -> None:
    wrong = Measurement("fast", 0.9, 0.9, 100.0)
    assert Trial((wrong, *measured(slow=10.0).measurements)).choose("auto") == "slow"


class Clock:
    """The time of a machine on which other work starts and ends."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class TimedEmbedder(TokenEmbedder):
    """Computes nothing; takes its time, three times as much while the machine is busy."""

    def __init__(self, clock: Clock, seconds: float, busy: tuple[float, float]) -> None:
        self.clock, self.seconds, self.busy = clock, seconds, busy
        self.max_tokens = 256

    def forward(self, batches: Any) -> Any:
        for batch in batches:
            is_busy = self.busy[0] <= self.clock.now < self.busy[1]
            self.clock.now += self.seconds * (3 if is_busy else 1)
            yield batch

    def close(self) -> None:
        pass


@pytest.mark.parametrize("busy", [(0.0, 0.6), (0.3, 0.9), (0.6, 1.3), (0.0, 0.0), (0.0, 99.0)])
def test_other_work_on_the_machine_slows_all_engines(
    busy: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(trial, "time", clock)
    engines = {"slow": TimedEmbedder(clock, 0.1, busy), "fast": TimedEmbedder(clock, 0.06, busy)}
    speeds = trial._time_in_turns(engines)
    assert speeds["fast"] / speeds["slow"] == pytest.approx(0.1 / 0.06)


def test_a_large_model_is_not_timed_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(trial, "time", clock)
    engines = {"slow": TimedEmbedder(clock, 4.0, (0.0, 0.0)), "fast": TimedEmbedder(clock, 2.0, (0.0, 0.0))}
    assert trial._time_in_turns(engines) == {"slow": 2.0, "fast": 4.0}
    assert clock.now == 6.0


def run_trial(cache: Path) -> Trial:
    folder = find_model(MINILM, cache)
    prepared = prepared_model.read_prepared(folder, weights_hash(folder, cache), cache / KEY)
    assert prepared is not None
    return trial.run_trial(folder, KEY, prepared, cache / KEY)


def record_rounds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the engines in the order in which they run full batches."""
    rounds: list[str] = []
    real = OpenVinoEmbedder.forward

    def forward(self: OpenVinoEmbedder, batches: Any) -> Any:
        given = list(batches)
        if given[0][0].shape == (8, 256) and (given[0][0] == 5).all():
            rounds.append(self.engine)
        return real(self, given)

    monkeypatch.setattr(OpenVinoEmbedder, "forward", forward)
    return rounds


def test_the_real_engines_take_turns(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_bf16():
        pytest.skip("this processor has one engine only")
    monkeypatch.setattr(trial, "_SECONDS", 0.01)
    monkeypatch.setattr(trial, "_HOPELESS", 1000.0)
    monkeypatch.setattr(trial, "_LONGEST", 1000.0)  # a busy machine is no large model
    rounds = record_rounds(monkeypatch)
    result = run_trial(own_cache)
    assert rounds[2:] == ["openvino-bf16", "openvino-f32"] * 3  # before them one each, to warm up
    assert [one.engine for one in result.measurements] == ["openvino-bf16", "openvino-f32"]
    assert all(one.chunks_per_second > 0 for one in result.measurements)


def test_an_engine_that_cannot_win_is_not_timed(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_bf16():
        pytest.skip("this processor has one engine only")
    monkeypatch.setattr(trial, "_SECONDS", 0.01)
    monkeypatch.setattr(trial, "_HOPELESS", 0.0)
    rounds = record_rounds(monkeypatch)
    # With no rival left, not even the first is one: it is timed all the same.
    result = run_trial(own_cache)
    assert "openvino-f32" not in rounds
    bf16, f32 = result.measurements
    assert bf16.passes and f32.passes
    assert f32.chunks_per_second > 0


def test_an_engine_that_fails_under_load_is_left_out(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = OpenVinoEmbedder.forward

    def forward(self: OpenVinoEmbedder, batches: Any) -> Any:
        given = list(batches)
        if given[0][0].shape == (8, 256) and self.engine == "openvino-f32":
            raise RuntimeError("no memory left")
        return real(self, given)

    monkeypatch.setattr(OpenVinoEmbedder, "forward", forward)
    monkeypatch.setattr(trial, "_SECONDS", 0.01)
    monkeypatch.setattr(trial, "_HOPELESS", 1000.0)
    (f32,) = (one for one in run_trial(own_cache).measurements if one.engine == "openvino-f32")
    assert not f32.passes
    assert "no memory left" in f32.error


def set_measurement(cache: Path, factor: float, age: timedelta) -> None:
    """Make the remembered speeds so many times as high, and the measurement so old."""
    file = cache / KEY / "engine.json"
    content = json.loads(file.read_text())
    for one in content["measurements"]:
        one["chunks_per_second"] *= factor
    content["measured_at"] = f"{datetime.now(UTC) - age:%Y-%m-%dT%H:%M:%SZ}"
    file.write_text(json.dumps(content))


def embed_and_review(cache: Path, passages: list[str]) -> bool:
    """Do a job's work; returns whether the next load will measure again."""
    embedder = load_embedder(MINILM, cache / "no-models", cache)
    embedder.embed(passages)
    review_choice(embedder, cache)
    embedder.close()
    folder = find_model(MINILM, cache)
    return trial.read_trial(cache / KEY, folder, weights_hash(folder, cache)) is None


DAYS = timedelta(days=2)


@pytest.mark.parametrize(
    ("factor", "age", "passages", "is_doubted"),
    [
        (100.0, DAYS, [PASSAGE] * 8, True),
        (0.01, DAYS, [PASSAGE] * 8, False),
        (100.0, timedelta(hours=10), [PASSAGE] * 8, False),
        (100.0, -DAYS, [PASSAGE] * 8, True),  # the clock was wrong then
        (100.0, DAYS, [PASSAGE] * 3, False),  # too little work to judge
        (100.0, DAYS, ["a short text"] * 400, False),  # of another kind than what was measured
    ],
)
def test_a_job_far_below_what_was_measured_puts_it_in_doubt(
    factor: float,
    age: timedelta,
    passages: list[str],
    is_doubted: bool,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(trial, "_JUDGED_CHUNKS", 8)
    set_measurement(own_cache, factor, age)
    with caplog.at_level(logging.WARNING):
        assert embed_and_review(own_cache, passages) is is_doubted
    assert ("measures the engines again" in caplog.text) is is_doubted


def test_a_busy_machine_measures_once_a_day(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job is slow: the first load after the doubt measures, those of the same day do not."""
    monkeypatch.setattr(trial, "_JUDGED_CHUNKS", 8)
    monkeypatch.setattr(trial, "_SECONDS", 0.01)
    monkeypatch.setattr(trial, "_DOUBTED_BELOW", 1000.0)
    set_measurement(own_cache, 1.0, DAYS)
    before = (own_cache / KEY / "engine.json").read_text()
    assert embed_and_review(own_cache, [PASSAGE] * 8)
    kept = json.loads((own_cache / KEY / "engine.json").read_text())
    assert kept["measurements"] == json.loads(before)["measurements"]
    trials = []
    real = trial.run_trial

    def count_trial(*arguments: Any) -> Any:
        trials.append(1)
        return real(*arguments)

    monkeypatch.setattr(choose, "run_trial", count_trial)
    for _ in range(3):
        assert not embed_and_review(own_cache, [PASSAGE] * 8)
    assert len(trials) == 1


def test_what_is_counted_is_full_work(warm_cache: Path) -> None:
    embedder = load_embedder(MINILM, warm_cache / "no-models", warm_cache)
    assert isinstance(embedder, TokenEmbedder)
    embedder.embed(["short"] * 500)
    assert (embedder.timed_tokens, embedder.timed_seconds) == (0, 0.0)
    embedder.embed([PASSAGE] * 16)
    assert embedder.timed_tokens == 16 * 256
    assert embedder.timed_seconds > 0
    embedder.close()


def test_a_doubt_that_cannot_be_written_fails_no_job(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trial, "_JUDGED_CHUNKS", 8)
    set_measurement(own_cache, 100.0, DAYS)
    monkeypatch.setattr(trial, "write_json", refuse)
    assert not embed_and_review(own_cache, [PASSAGE] * 8)
    assert "No space left" in caplog.text
