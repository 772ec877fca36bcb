"""Longest: the documents of a source with most words."""

from pydantic import Field

from kbjobs.context import Context, PhaseResult
from kbjobs.phases.base import JobType, Params, Plan
from kbjobs.sources import documents
from kbjobs.wording import counted


class LongestParams(Params):
    """Parameters of longest."""

    count: int = Field(10, ge=1, le=1000, description="How many documents are named.")


def plan(home, settings, source, params):
    """Refuse at submit what would fail at night: a source that is not there, a package, a key."""
    source.read()
    return Plan(params)


def run(context: Context, params: LongestParams) -> PhaseResult:
    """Read the ledger; a run that was killed begins again, since it changes nothing."""
    found = []
    for number, document in enumerate(documents(context.home, context.source.id), start=1):
        context.progress(number, 0, "documents", "counting words")
        found.append((document["words"], document["path"]))
    found.sort(reverse=True)
    for words, path in found[: params.count]:
        context.log.info("%8d %s", words, path)
    counts = {"documents": len(found), "longest": found[0][1] if found else None}
    return PhaseResult(counts, f"{counted(len(found), 'document')}, the longest is {counts['longest']}")


JOB_TYPE = JobType(
    name="longest",
    label="Longest",
    description="Name the documents of a source with most words.",
    category="maintenance",
    operation="count",
    params=LongestParams,
    plan=plan,
    run=run,
    after=("metadata",),
)
