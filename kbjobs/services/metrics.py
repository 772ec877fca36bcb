"""The state of a home as numbers for a monitoring system, in the OpenMetrics text format.

The format is defined at https://github.com/prometheus/OpenMetrics, version 1.0. Counters are not used, because history
can be deleted, and a counter must never decrease.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.errors import KbjobsError, UsageError
from kbjobs.services import documents, sources
from kbjobs.services.job_state import JobState
from kbjobs.store.job_totals import JobTotals, read_totals
from kbjobs.system.files import write_text
from kbjobs.version import VERSION

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Metric:
    """A named number, with one sample for each set of labels."""

    name: str
    help: str
    samples: list[Sample]
    unit: str = ""


def describe_metrics(home: Home) -> str:
    """Format all metrics of a home as text.

    Args:
        home: the home; one that does not exist yet has no jobs and no sources.

    Raises:
        KbjobsError: the state cannot be read.
    """
    lines = [line for metric in _collect(home) for line in _format(metric)]
    return "\n".join([*lines, "# EOF", ""])


def write_metrics(home: Home, file: Path) -> None:
    """Write all metrics to a file, completely or not at all; everyone may read the file.

    Args:
        home: the home.
        file: the file, in a folder that exists.

    Raises:
        KbjobsError: the state cannot be read.
        UsageError: the file cannot be written.
    """
    text = describe_metrics(home)
    try:
        write_text(file, text)
        file.chmod(0o644)  # the exporter runs as another user
    except OSError as error:
        raise UsageError(
            f"cannot write {file}: {error.strerror}", "Check that its folder is there and writable for you."
        ) from error


def _collect(home: Home) -> Iterator[Metric]:
    yield Metric("kbjobs_build", "Version of kbjobs.", [({"version": VERSION}, 1)])
    yield Metric("kbjobs_daemon_up", "Whether the daemon is running.", [({}, is_running(home))])
    state = JobState(home)
    try:
        queue = state.readable()
        totals = JobTotals() if queue is None else read_totals(queue)
    finally:
        state.close()
    yield from _job_metrics(totals)
    yield from _source_metrics(home)


def _job_metrics(found: JobTotals) -> Iterator[Metric]:
    yield Metric(
        "kbjobs_jobs",
        "Jobs in the state, by type and status.",
        [({"type": one.job_type, "status": one.status}, one.jobs) for one in found.types],
    )
    yield Metric(
        "kbjobs_run_seconds",
        "Seconds that workers have worked on the jobs in the state.",
        [({"type": one.job_type, "status": one.status}, one.seconds) for one in found.types],
        "seconds",
    )
    labels = [({"type": one.job_type, "source": one.source}, one) for one in found.successes]
    yield Metric(
        "kbjobs_last_success_timestamp_seconds",
        "When a job of the type last succeeded on the source, in seconds since 1970.",
        [(names, one.finished_at) for names, one in labels],
        "seconds",
    )
    yield Metric(
        "kbjobs_last_success_run_seconds",
        "Seconds that the last success of the type on the source took.",
        [(names, one.seconds) for names, one in labels],
        "seconds",
    )
    yield Metric(
        "kbjobs_api_tokens",
        "Tokens bought by the jobs in the state.",
        [({"type": one.job_type}, one.tokens) for one in found.spendings],
    )
    yield Metric(
        "kbjobs_api_cost_dollars",
        "List price of the tokens bought by the jobs in the state.",
        [({"type": one.job_type}, one.dollars) for one in found.spendings],
        "dollars",
    )
    waited = 0.0 if found.oldest_pending is None else max(0.0, time.time() - found.oldest_pending)
    yield Metric("kbjobs_oldest_waiting_seconds", "Age of the oldest waiting job.", [({}, waited)], "seconds")


def _source_metrics(home: Home) -> Iterator[Metric]:
    damaged: list[Sample] = []

    def note(source_id: str, error: KbjobsError) -> None:
        damaged.append(({"source": source_id}, 1))

    states = sources.describe_all(home, note)
    of = [({"source": state.source.id}, state) for state in states]
    yield Metric("kbjobs_source_damaged", "Sources that cannot be read.", damaged)
    yield Metric("kbjobs_documents", "Documents of the source.", [(names, one.documents) for names, one in of])
    yield Metric(
        "kbjobs_documents_failed",
        "Documents of the source that could not be read.",
        [(names, _count_failed(home, one.source.id)) for names, one in of],
    )
    yield Metric(
        "kbjobs_passages",
        "Passages of the source for a model.",
        [({**names, "model": model.model}, model.chunks) for names, one in of for model in one.models],
    )
    yield Metric(
        "kbjobs_source_bytes",
        "Size of the source's ledger and indexes.",
        [(names, sources.measure(home, one.source.id)) for names, one in of],
        "bytes",
    )


def _count_failed(home: Home, source_id: str) -> int:
    return sum(one.is_failure for one in documents.list_left_out(home, source_id))


def _format(metric: Metric) -> Iterable[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} gauge"
    if metric.unit and metric.name.endswith(f"_{metric.unit}"):
        yield f"# UNIT {metric.name} {metric.unit}"
    for labels, value in metric.samples:
        named = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
        yield f"{metric.name}{{{named}}} {float(value):.15g}" if named else f"{metric.name} {float(value):.15g}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
