"""Metadata: read facts about each document, without a model.

Only changed documents are read again, and committed in batches. Removal, links and the marks of the language filter
follow after all documents are read; repeating any of these steps gives the same result.
"""

from __future__ import annotations

from pydantic import Field

from kbjobs.context import Context, PhaseResult
from kbjobs.phases.job_type import JobType, Params, PhaseForecast, PhaseRequest, Plan
from kbjobs.phases.source_checks import check_folders, choose_filter


class MetadataParams(Params):
    """Parameters of metadata."""

    language_filter: str | None = Field(
        None,
        description="Index only documents in these languages (en, or en,be) or in an unknown one. Nothing is"
        " deleted. Without it, the source's own filter, if it has one; otherwise all documents are indexed again.",
    )
    force: bool = Field(False, description="Read every document again, even if it has not changed.")
    allow_delete: bool = Field(False, description="Continue even if more than 20 % of the source's documents are gone.")


def plan(request: PhaseRequest[MetadataParams]) -> Plan[MetadataParams]:
    """Check the source's folders and the language filter, and normalise the filter."""
    params = request.params
    if not request.is_general:
        check_folders(request.source)
    wanted = choose_filter(request, params.language_filter)
    return Plan(params.model_copy(update={"language_filter": wanted}))


def forecast(request: PhaseRequest[MetadataParams]) -> PhaseForecast:
    """Count the documents, and those that must be read."""
    from kbjobs.scanning.scan_forecast import count_documents

    total, changed = count_documents(request.source, request.settings)
    steps = total if request.params.force else changed
    return PhaseForecast(documents=total, steps=steps, unit="documents", note=f"{steps:,} to read")


def run(context: Context, params: MetadataParams) -> PhaseResult:
    """Read the metadata of the source."""
    from kbjobs.scanning.describe import describe_source

    return describe_source(context, params.language_filter, force=params.force, allow_delete=params.allow_delete)


JOB_TYPE = JobType(
    name="metadata",
    label="Metadata",
    description="Read the metadata of a source's documents: title, language, date, authors, headings, links.",
    category="content",
    operation="metadata",
    params=MetadataParams,
    plan=plan,
    run=run,
    shares_worker=True,
    forecast=forecast,
    weight=20.0,
    before=("index_online", "index_offline"),
    after=("scrape",),
)
