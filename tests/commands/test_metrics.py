"""``kbjobs status --metrics``: what a monitoring system reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.metrics import describe_metrics
from kbjobs.store.queue import Queue
from tests.conftest import Kbjobs, write_pages

SAMPLE = re.compile(r'([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? (-?[0-9.e+]+)')


def read(text: str) -> dict[str, float]:
    """The samples of a text by their names and labels; every line must be one of the format's."""
    *lines, end = text.splitlines()
    assert end == "# EOF" and text.endswith("\n")
    described: set[str] = set()
    samples = {}
    for line in lines:
        if line.startswith("#"):
            kind, name = line.split()[1:3]
            assert kind in ("HELP", "TYPE", "UNIT")
            described.add(name)
            continue
        found = SAMPLE.fullmatch(line)
        assert found is not None and found[1] in described, line
        samples[f"{found[1]}{found[2] or ''}"] = float(found[3])
    assert len(samples) == sum(not line.startswith("#") for line in lines)
    return samples


def test_an_empty_home_has_numbers_too(home: Home) -> None:
    found = read(describe_metrics(home))
    assert found["kbjobs_daemon_up"] == 0 and found["kbjobs_oldest_waiting_seconds"] == 0
    assert not home.state_file.exists()


def test_a_night_in_numbers(past: Queue, home: Home, kbjobs: Kbjobs, tmp_path: Path) -> None:
    kbjobs("sources", "add", "docs", write_pages(tmp_path / "pages", 3))
    kbjobs("run", "metadata", "docs", "--quiet")
    found = read(describe_metrics(home))
    assert found['kbjobs_jobs{type="steps",status="failed"}'] >= 1
    assert found['kbjobs_jobs{type="metadata",status="completed"}'] == 1
    assert found['kbjobs_documents{source="docs"}'] == 3
    assert found['kbjobs_documents_failed{source="docs"}'] == 0
    assert found['kbjobs_last_success_timestamp_seconds{type="metadata",source="docs"}'] > 1.7e9
    assert found['kbjobs_run_seconds{type="metadata",status="completed"}'] > 0


def test_a_damaged_source_is_a_number_and_the_others_are_counted(home: Home, kbjobs: Kbjobs, tmp_path: Path) -> None:
    for name in ("good", "bad"):
        kbjobs("sources", "add", name, write_pages(tmp_path / name, 1))
    (home.sources / "bad" / "manifest.json").write_text("{")
    found = read(describe_metrics(home))
    assert found['kbjobs_source_damaged{source="bad"}'] == 1
    assert found['kbjobs_documents{source="good"}'] == 0


def test_the_file_is_written_whole_and_readable_by_others(home: Home, kbjobs: Kbjobs, tmp_path: Path) -> None:
    target = tmp_path / "kbjobs.prom"
    target.write_text("old")
    kbjobs("status", "--metrics", "-o", target)
    assert "kbjobs_daemon_up" in target.read_text() and target.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == ["kbjobs.prom"]
    assert kbjobs("status", "--metrics").stdout.endswith("# EOF\n")
    assert "--metrics" in kbjobs("status", "-o", target, check=2).stderr
    refused = kbjobs("status", "--metrics", "-o", target / "kbjobs.prom", check=2)
    assert "cannot write" in refused.stderr and "its folder" in refused.stderr


@pytest.mark.parametrize("label", ['a"b', "a\\b", "a\nb"])
def test_a_label_cannot_break_the_format(label: str) -> None:
    from kbjobs.services.metrics import Metric, _format

    *_, line = _format(Metric("kbjobs_x", "X.", [({"source": label}, 1)]))
    assert SAMPLE.fullmatch(line) is not None
